"""What an exported row of each kind looks like: templates in bytes, one ``%`` operation a row.

Properties and their names: https://docs.mixpanel.com/docs/data-structure/property-reference/reserved-properties
"""

from __future__ import annotations

import random

from msgspec import Struct

from misoflow_sandbox.mixpanel.world import (
    FLOAT_TIME,
    HOT,
    IMPORTED,
    LINKED,
    SLOTS,
    MixpanelWorld,
    flags_of_slots,
    slots,
)

SKIP = "%.0a"
"""Takes an argument and writes nothing: every template takes the same ones."""
DEVICE = "5b0f1c3e-7a52-4d6b-9c11-%012x"
VISITOR = "c49d02aa-1f3b-4e07-8a5d-%012x"
HOT_USER = "hot-user"
JUNK = "undefined"
CONTEXT = (
    '"$browser":"Chrome","$browser_version":141,"$city":"Berlin","$region":"Land Berlin","mp_country_code":"DE",'
    '"$os":"Mac OS X","$screen_height":1117,"$screen_width":1728,"$lib_version":"2.71.0","mp_lib":"web",'
    '"$current_url":"https://shop.example/","$referrer":"https://www.google.com/","$mp_event_size":742,'
    '"$mp_api_endpoint":"api.mixpanel.com"'
)
PRODUCT = '"product_id":"p-%d","title":"Walking shoe","category":"Shoes > Walking","price":%d.%02d'
SUBJECT = "p-%d"
ORDINARY = [
    ("Product Viewed", PRODUCT, SUBJECT, 16),
    ("Products Searched", f'"query":"shoes %d","results":%d{SKIP}', "shoes %d", 6),
    ("Product Added", PRODUCT + ',"quantity":2', SUBJECT, 4),
    (
        "Order Completed",
        '"products":[{"product_id":"p-%d","quantity":2,"price":%d.%02d},{"product_id":"p-1","quantity":1,"price":5}],'
        '"total":105.5,"currency":"EUR"',
        SUBJECT,
        2,
    ),
    ("Newsletter Opened", f'"issue":%d{SKIP}{SKIP}', "", 1),
]
"""(event, its own properties, what it is about, how often); arguments: product, whole and hundredths of a price."""
SYSTEM = ["$session_start", "$mp_web_page_view", "$mp_click", "$ae_session", "$hotshard_record"]


class Kind(Struct, frozen=True):
    """How the rows of one slot look. ``after`` is the template once the person's ids are joined, ``hot`` the one
    beyond the hot-shard limit. Of the truth: ``user`` tracked it, on ``device``; ``person`` is who it was; each is a
    pattern that takes the person's number.
    """

    name: str
    before: bytes
    after: bytes
    hot: bytes
    flags: int
    user: str | None = None
    device: str | None = None
    person: str | None = None
    insert_id: str = ""
    """A pattern that takes the day's number and the event's."""
    subject: str = ""
    """What the event is about; a pattern that takes the product's number."""


class Ids(Struct, frozen=True):
    """How a row names its person. Patterns take the person's number four times."""

    before: str
    after: str = ""
    user: str | None = None
    device: str | None = None
    person: str | None = None


USER = "user-%d"
FOUR = SKIP * 4
SIMPLIFIED = {
    "known": Ids(f'"distinct_id":"{USER}","$device_id":"{DEVICE}","$user_id":"{USER}"{SKIP}', "", USER, DEVICE, USER),
    "server": Ids(f'"distinct_id":"{USER}","$user_id":"{USER}"{SKIP}{SKIP}', "", USER, None, USER),
    "unlinked": Ids(
        f'"distinct_id":"$device:{DEVICE}","$device_id":"{DEVICE}"{SKIP}{SKIP}',
        f'"distinct_id":"{USER}","$device_id":"{DEVICE}","$distinct_id_before_identity":"$device:{DEVICE}"{SKIP}',
        None,
        DEVICE,
        USER,
    ),
    "visitor": Ids(f'"distinct_id":"$device:{VISITOR}","$device_id":"{VISITOR}"{SKIP}{SKIP}', "", None, VISITOR),
}
ORIGINAL = {
    "known": Ids(
        f'"distinct_id":"{USER}","$device_id":"{DEVICE}","$user_id":"{USER}"{SKIP}',
        f'"distinct_id":"{DEVICE}","$distinct_id_before_identity":"{USER}","$device_id":"{DEVICE}","$user_id":"{USER}"',
        USER,
        DEVICE,
        USER,
    ),
    "server": Ids(
        f'"distinct_id":"{USER}"{SKIP}{SKIP}{SKIP}',
        f'"distinct_id":"{DEVICE}","$distinct_id_before_identity":"{USER}"{SKIP}{SKIP}',
        USER,
        None,
        USER,
    ),
    "unlinked": Ids(f'"distinct_id":"{DEVICE}","$device_id":"{DEVICE}"{SKIP}{SKIP}', "", None, DEVICE, USER),
    "visitor": Ids(f'"distinct_id":"{VISITOR}","$device_id":"{VISITOR}"{SKIP}{SKIP}', "", None, VISITOR),
}
INSERT_ID = '"$insert_id":"mx-%05d-%09d",'
SHARED_ID = f'"$insert_id":"shared-%05d{SKIP}",'


def kind(
    name: str,
    ids: Ids,
    own: str,
    *,
    flags: int = 0,
    time: str = "%d",
    insert: str = INSERT_ID,
    subject: str = "",
) -> Kind:
    """Put a kind together: ``own`` are the properties of its own, ``time`` and ``insert`` the patterns of those.

    ``subject`` follows from ``own`` where that names a product the usual way.
    """

    def row(event: str, identity: str) -> bytes:
        return (
            f'{{"event":"{event}","properties":{{"time":{time},{identity},{insert}{CONTEXT},'
            f'"mp_processing_time_ms":%d,"$mp_api_timestamp_ms":%d,{own}}}}}\n'
        ).encode()

    hot = f'"distinct_id":"","mp_original_event_name":"{name}","mp_original_distinct_id":"{HOT_USER}"{FOUR}'
    return Kind(
        name,
        row(name, ids.before),
        row(name, ids.after or ids.before),
        row("$hotshard_events", hot),
        flags | (LINKED if ids.after else 0),
        ids.user,
        ids.device,
        ids.person,
        insert.removeprefix('"$insert_id":"').removesuffix('",'),
        subject or (SUBJECT if own.startswith(PRODUCT) else ""),
    )


VERBS = {
    "$identify": f'"distinct_id":"{USER}","$identified_id":"{USER}","$anon_id":"{DEVICE}"{SKIP}',
    "$create_alias": f'"distinct_id":"{DEVICE}","alias":"{USER}"{SKIP}{SKIP}',
    "$merge": f'"distinct_id":"{DEVICE}","$distinct_ids":["{DEVICE}","{USER}"]{SKIP}',
}
"""The identity events of Original ID Merge."""


def identity_kinds(known: Ids) -> list[Kind]:
    """The three verbs of Original ID Merge: https://docs.mixpanel.com/docs/tracking-methods/id-management."""
    nothing = SKIP * 3
    return [
        kind(name, Ids(text, "", known.user, known.device, known.person), f'"$source":"sdk"{nothing}')
        for name, text in VERBS.items()
    ]


def odd_kinds(ids: dict[str, Ids]) -> list[Kind]:
    """Rows that trip a careless reader."""
    known, unlinked = ids["known"], ids["unlinked"]
    # ids are joined in part only: some rows get the new id without a trace of the old one
    bare = Ids(unlinked.before, unlinked.after.partition(',"$distinct_id_before')[0] + SKIP * 2, None, DEVICE, USER)
    viewed = "Product Viewed"
    return [
        kind(viewed, known, f'{PRODUCT},"note":"one\u2028two\u2029three\u0085four"'),
        kind(viewed, known, f'{PRODUCT},"note":"cut \\ud83d here","$city":"\\udc00"'),
        kind(viewed, known, '"product_id":%d.0,"price":%d.%02d,"rate":0.1,"tiny":1e-9,"none":null', subject="%d"),
        kind(viewed, known, f'"product_id":98765432109876543%d{SKIP}{SKIP}', subject="98765432109876543%d"),
        kind(viewed, known, PRODUCT, time="%.3f", flags=FLOAT_TIME),
        kind(viewed, known, PRODUCT, time='"%d"'),
        kind(viewed, known, PRODUCT, insert=SKIP * 2),
        kind(viewed, known, PRODUCT, insert=SHARED_ID),
        kind("Product Added", ids["server"], PRODUCT, insert=SHARED_ID),
        kind(viewed, Ids(f'"distinct_id":"{JUNK}"{FOUR}'), PRODUCT),
        kind(viewed, Ids(f'"$lib":"none"{FOUR}'), PRODUCT),
        kind(viewed, Ids(f'"distinct_id":"$device:$device:{VISITOR}"{SKIP * 3}', "", None, VISITOR), PRODUCT),
        kind(viewed, known, f'{PRODUCT},"deep":{{"a":{{"b":[1,null,"x",{{"c":true}}]}}}},"empty":{{}},"list":[]'),
        kind(viewed, known, f'{PRODUCT},"note":"\\"quoted\\" \\\\ \\n \\u0000 \U0001f600 {"x" * 200}"'),
        kind("Produkt angesehen \u2713", known, PRODUCT),
        kind(viewed, ids["server"], PRODUCT),
        kind(viewed, bare if unlinked.after else unlinked, PRODUCT),
    ]


def kinds_of_slots(world: MixpanelWorld) -> list[Kind]:
    """What happens in each of the slots."""
    ids = SIMPLIFIED if world.id_merge == "simplified" else ORIGINAL
    people = [ids["known"]] * 5 + [ids["unlinked"]] * 3 + [ids["visitor"]] * 2 + [ids["server"]]
    ordinary = [
        kind(name, who, own, subject=subject)
        for name, own, subject, often in ORDINARY
        for _ in range(often)
        for who in people
    ]
    nothing = SKIP * 3
    system = [kind(name, ids["known"], f'"$mp_autocapture":true{nothing}') for name in SYSTEM]
    if world.id_merge == "original":
        verbs = identity_kinds(ids["known"])
        system = [one for pair in zip(system, (verbs * 2)[: len(system)], strict=True) for one in pair]
    odd = odd_kinds(ids)
    hot_ids = Ids(f'"distinct_id":"{HOT_USER}"{FOUR}', "", HOT_USER, None, HOT_USER)
    hot = kind("Product Viewed", hot_ids, PRODUCT, flags=HOT)
    found = [odd[n % len(odd)] for n in range(slots(world.odd_share))]
    found += [system[n % len(system)] for n in range(slots(world.system_share))]
    found += [hot] * slots(world.hot_share)
    found += [ordinary[n % len(ordinary)] for n in range(max(0, SLOTS - len(found)))]
    dice = random.Random(world.seed + 1)  # noqa: S311
    chosen = dice.sample(found[:SLOTS], SLOTS)
    return [_flagged(one, more) for one, more in zip(chosen, flags_of_slots(world), strict=True)]


def _flagged(one: Kind, more: int) -> Kind:
    """A kind with the flags of its slot; what came by ``/import`` says so."""
    rows = [one.before, one.after, one.hot]
    if more & IMPORTED:
        rows = [row.replace(b'"mp_processing_time_ms"', b'"$import":true,"mp_processing_time_ms"') for row in rows]
    before, after, hot = rows
    flags = one.flags | more
    return Kind(one.name, before, after, hot, flags, one.user, one.device, one.person, one.insert_id, one.subject)
