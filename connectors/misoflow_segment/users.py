"""identify, group, alias and delete: what is known of a person, and which ids are one person.

https://segment.com/docs/connections/spec/identify/, …/group/, …/alias/
"""

from __future__ import annotations

from typing import Any

from misoflow import Custom, ForgetUser, Reject, Skip, User, merge, once, privacy, values

from misoflow_segment.call import Call, mapping
from misoflow_segment.keys import Json
from misoflow_segment.orders import Outputs
from misoflow_segment.times import moment_of, parse, written

SOURCE = "traits"
OLDEST = 150
MAX_DESCRIPTION = 2000


def identify(call: Call) -> Outputs:
    """The user's part from traits; and the pair of ids, once, as Miso links what it sees together."""
    user, anonymous = _ids(call)
    if user is None:
        return [Skip("an identify without a userId: there is no user yet")]
    fields, removed = traits_of(call)
    made: Outputs = [_part(call, user, fields, removed)]
    if anonymous is not None and call.plan.config.link != "never":
        made.append(_link(call, user, anonymous))
    return made


def group(call: Call) -> Outputs:
    """The group of a known user."""
    user, _ = _ids(call)
    if user is None:
        return [Skip("a group of an anonymous visitor: there is no user yet")]
    group_id = _id_text(call.data.get("groupId"))
    if group_id is None:
        raise Reject("the group call has no groupId", "$.groupId")
    return [_part(call, user, {"group_id": group_id}, [])]


def alias(call: Call) -> Outputs:
    """previousId is taken for the anonymous id of userId; Miso cannot merge two users."""
    user = call.plan.user_id(call.data.get("userId"))
    previous = call.plan.clean_id(call.data.get("previousId"))
    if user is None or previous is None:
        path = "$.userId" if user is None else "$.previousId"
        raise Reject("an alias needs userId and previousId", path)
    if user == previous:
        return [Skip("an alias of an id to itself")]
    if privacy.has_mail(previous):
        return [Skip("the alias is of a former user id, and Miso cannot merge two users")]
    if call.plan.config.link == "never":
        return [Skip("this instance links no ids")]
    return [_link(call, user, previous)]


def delete(call: Call) -> Outputs:
    """Segment's request to forget a user. https://segment.com/docs/privacy/user-deletion-and-suppression/"""
    user = call.plan.user_id(call.data.get("userId"))
    if user is None:
        raise Reject("a delete needs a userId", "$.userId")
    return [ForgetUser(user_id=user)]


def _ids(call: Call) -> tuple[str | None, str | None]:
    user = call.plan.user_id(call.data.get("userId"))
    anonymous = call.plan.anonymous_id(call.data.get("anonymousId"))
    if user is None and anonymous is None:
        raise Reject("no_identity: neither userId nor anonymousId names anybody", "$.userId")
    return user, anonymous


def _part(call: Call, user: str, fields: Json, removed: list[str]) -> Any:
    moment = moment_of(call.data, call.received)
    version = int(moment.timestamp() * 1000)
    return merge(user, SOURCE, User(user_id=user, **fields), version=version, remove=tuple(removed))


def _link(call: Call, user: str, anonymous: str) -> Any:
    """A record that carries both ids, once for each pair."""
    common = call.common() | {"user_id": user, "anonymous_id": anonymous}
    record = Custom(custom_action_name="identify_link", **common)
    return once(f"link:{len(user)}:{user}:{anonymous}", record)


def traits_of(call: Call) -> tuple[Json, list[str]]:
    """(fields of a Miso user, fields to clear); only traits on the list, and null clears one."""
    traits = call.plan.traits.canonical(mapping(call.data.get("traits")))
    fields: Json = {}
    removed: list[str] = []
    address = call.plan.traits.canonical(mapping(traits.get("address")))
    for field, read in FIELDS.items():
        place = address if field in PLACES and field in address else traits
        if field in place:
            _put(fields, removed, field, place[field], read)
    _group_of(call, traits, fields)
    _customs(call, traits, fields, removed)
    return fields, removed


def _put(fields: Json, removed: list[str], field: str, value: Any, read: Any) -> None:
    if value is None:
        removed.append(field)
    elif (kept := read(value)) is not None:
        fields[field] = kept


def _group_of(call: Call, traits: Json, fields: Json) -> None:
    if "group_id" not in fields:
        found = _id_text(mapping(traits.get("company")).get("id")) or _id_text(call.context.get("groupId"))
        if found is not None:
            fields["group_id"] = found


def _customs(call: Call, traits: Json, fields: Json, removed: list[str]) -> None:
    custom: Json = {}
    for name in call.plan.config.traits:
        if name not in traits or name in FIELDS:
            continue
        if traits[name] is None:
            removed.append(f"custom_attributes.{name}")
        elif (kept := privacy.scalar(traits[name])) is not None:
            custom[name] = kept
    if custom:
        fields["custom_attributes"] = custom


def _short(value: Any) -> str | None:
    return privacy.text_of(value, privacy.MAX_VALUE)


def _long(value: Any) -> str | None:
    return privacy.text_of(value, MAX_DESCRIPTION)


def _age(value: Any) -> int | None:
    number = values.number_of(value)
    return int(number) if number is not None and 0 <= number <= OLDEST else None


def _created(value: Any) -> str | None:
    moment = parse(value)
    return written(moment) if moment is not None and 1900 <= moment.year <= 9000 else None


def _id_text(value: Any) -> str | None:
    if type(value) is int:
        return str(value)[: privacy.MAX_VALUE]
    return privacy.text_of(value, privacy.MAX_VALUE)


PLACES = ("city", "state", "country")
FIELDS = {
    "created_at": _created,
    "age": _age,
    "gender": _short,
    "city": _short,
    "state": _short,
    "country": _short,
    "description": _long,
    "group_id": _id_text,
}
