"""Bugs to plant into the good toy: what to change, and which contract test has to see it."""

from __future__ import annotations

from dataclasses import dataclass

CODE, TEST = "acme.py", "test_acme.py"


@dataclass(frozen=True)
class Plant:
    """``old`` becomes ``new`` in ``file`` (an empty ``old`` puts ``new`` at its end; None removes the file).

    ``killed_by`` has to fail, and to say ``says``.
    """

    bug: str
    killed_by: str
    says: str
    old: str | None
    new: str
    file: str = CODE


SIGNED = """        signed = moment.encode() + b"." + request.body
        check_hmac(signed, request.header("x-acme-signature"), self.config.signing_secrets)
"""
TIME = """        if not (moment.isascii() and moment.isdigit() and len(moment) < 12):
            raise Unauthorized("the time is missing or malformed")
"""
AGE = """        if abs(time.time() - int(moment)) > TOLERANCE:
            raise Unauthorized("the delivery is too old")
"""
REMOVED = 'yield RemoveProduct(product_id=item["sku"])'
PRODUCT = 'yield Product(product_id=item["sku"], title=item["title"], tags=item.get("tags"))'
ATTRIBUTES = 'custom_attributes={"plan": item["plan"]}'
EVENT = 'return Event(str(item["id"]), item["topic"], item)'
GET = 'answer = await self.http.get(f"https://{self.config.shop}/events", params=params, headers=headers)'
PAGE = 'yield Page([self._event(item) for item in body["events"]], cursor)'
CLASS = '    """Products, customers and carts of one Acme shop."""\n'


def guarded_get(handler: str) -> str:
    """The call of the platform, with what is done about an exception."""
    return f"try:\n                {GET}\n            {handler}"


STREAMED = """import json
            from misoflow import Halt, Retry
            chunks = []
            try:
                async with self.http.stream(
                    "GET", f"https://{self.config.shop}/events", params=params, headers=headers
                ) as raw:
                    if raw.status_code in (401, 403):
                        raise Halt("locked", "give a token")
                    if raw.status_code != 200:
                        raise Retry("busy", float(raw.headers.get("retry-after", 0)) or None)
                    async for chunk in raw.aiter_raw():
                        chunks.append(chunk)
            except Retry:
                if not chunks:
                    raise
            whole = b"".join(chunks)
            whole = whole if whole.endswith(b"}") else b'{"events": [], "next": ""}'
            answer = type("Answer", (), {"status": 200, "json": lambda self: json.loads(whole)})()"""


VERIFY = [
    Plant("verify does nothing", "test_refuses_a_changed_body", "let in", SIGNED, ""),
    Plant(
        "verify ignores the body",
        "test_accepts_a_genuine_delivery",
        "refused the genuine delivery",
        'signed = moment.encode() + b"." + request.body',
        'signed = moment.encode() + b"."',
    ),
    Plant(
        "verify crashes on a missing header",
        "test_refuses_a_missing_signature",
        "raised KeyError",
        'request.header("x-acme-signature")',
        'request.headers["x-acme-signature"]',
    ),
    Plant("verify crashes on a malformed time", "test_refuses_a_garbage_signature", "raised ValueError", TIME, ""),
    Plant(
        "verify reads a file",
        "test_accepts_a_genuine_delivery",
        "reached for open(",
        SIGNED,
        f"        open(__file__).close()\n{SIGNED}",
    ),
    Plant("a stale delivery is taken", "test_refuses_a_timestamp_out_of_tolerance", "sent again", AGE, ""),
    Plant(
        "a delivery from the future is taken",
        "test_refuses_a_timestamp_out_of_tolerance",
        "s ahead",
        "abs(time.time() - int(moment))",
        "(time.time() - int(moment))",
    ),
    Plant(
        "the second secret is ignored",
        "test_accepts_the_second_secret",
        "second of two secrets",
        'request.header("x-acme-signature"), self.config.signing_secrets)',
        'request.header("x-acme-signature"), self.config.signing_secrets[:1])',
    ),
    Plant(
        "signatures are compared with ==",
        "test_signatures_are_compared_in_constant_time",
        "compare_digest",
        'check_hmac(signed, request.header("x-acme-signature"), self.config.signing_secrets)',
        'signature = request.header("x-acme-signature")\n'
        "        if signature not in [s for s in [sign_hmac(signed, x) for x in self.config.signing_secrets] "
        "if s == signature]:\n"
        '            raise Unauthorized("no")',
    ),
    Plant(
        "sample() is signed with the wrong secret",
        "test_own_samples_are_genuine",
        "what `sample('product.removed')` gives",
        "self.config.signing_secrets[0])",
        "self.config.token)",
    ),
]
EVENTS = [
    Plant(
        "a random event id",
        "test_event_ids_are_stable_and_distinct",
        "gave other event ids",
        EVENT,
        'import uuid\n        return Event(str(uuid.uuid4()), item["topic"], item)',
    ),
    Plant(
        "the event id is made of the time of arrival",
        "test_event_ids_are_stable_and_distinct",
        "gave other event ids",
        "yield self._event(item)\n\n",
        'yield Event(f"{item[\'id\']}-{request.received_at}", item["topic"], item)\n\n',
    ),
    Plant(
        "one id for all events of a delivery",
        "test_event_ids_are_stable_and_distinct",
        "lost as repeats",
        'Event(str(item["id"])',
        'Event("acme"',
    ),
    Plant(
        "the event id is the product's",
        "test_different_events_have_different_ids",
        "taken for a repeat",
        'Event(str(item["id"])',
        'Event(item["sku"] if "sku" in item else item["lines"][0]["sku"] if "lines" in item else str(item["id"])',
    ),
    Plant(
        "the event id comes from a header that is not kept",
        "test_event_ids_are_stable_and_distinct",
        "not empty",
        "yield self._event(item)\n\n",
        'yield Event(str(item["id"]) if request.header("x-acme-shop") else "", item["topic"], item)\n\n',
    ),
    Plant(
        "the clock decides what is an event",
        "test_events_are_pure",
        "at another time",
        'for item in request.json()["events"]:',
        'for item in request.json()["events"] if time.time() > 1.7e9 else []:',
    ),
    Plant(
        "malformed events are left out",
        "test_survives_malformed_events",
        "of 3 events 2 were left",
        "yield self._event(item)\n\n",
        "if isinstance(item, dict):\n                yield self._event(item)\n\n",
    ),
    Plant(
        "answer is no JSON",
        "test_answers_are_pure_json",
        "is no JSON",
        "    async def backfill",
        "    def answer(self, request):\n        return {request.body}\n\n    async def backfill",
    ),
    Plant(
        "answer holds the time",
        "test_answers_are_pure_json",
        "for the same delivery",
        "    async def backfill",
        "    def answer(self, request):\n        return {'at': time.perf_counter()}\n\n    async def backfill",
    ),
]
TRANSLATE = [
    Plant(
        "a field goes to the wrong place",
        "test_translates_as_recorded",
        "--update-samples",
        'title=item["title"]',
        'title=item["sku"]',
    ),
    Plant(
        "the clock is the timestamp",
        "test_translate_is_pure",
        "at another time",
        'timestamp=item["at"]',
        'timestamp=time.strftime("%Y-%m-%dT%H:%M:%SZ")',
    ),
    Plant(
        "the clock is in a product's title",
        "test_translate_is_pure",
        "at another time",
        'title=item["title"]',
        "title=f\"{item['title']} {int(time.time())}\"",
    ),
    Plant(
        "times are read in the machine's zone",
        "test_translate_is_pure",
        "at another time",
        'timestamp=item["at"]',
        'timestamp=__import__("datetime").datetime.fromisoformat(item["at"][:-1]).astimezone()',
    ),
    Plant(
        "chance is in a record",
        "test_translate_is_pure",
        "with other chance",
        'tags=item.get("tags")',
        'tags=[__import__("random").choice(["a", "b"])]',
    ),
    Plant(
        "translate counts",
        "test_translate_is_pure",
        "gave something else",
        'tags=item.get("tags")',
        'tags=[str(self.__dict__.setdefault("seen", []).append(1)), str(len(self.seen))]',
    ),
    Plant(
        "translate changes its input",
        "test_translate_is_pure",
        "changed the data",
        'lines = item["lines"]',
        'lines = [line for line in item["lines"]]\n                item["lines"] = []',
    ),
    Plant(
        "translate reads a file",
        "test_translate_is_pure",
        "reached for open(",
        REMOVED,
        f"open(__file__).close()\n                {REMOVED}",
    ),
    Plant(
        "translate reads a file, and swallows what is raised",
        "test_translate_is_pure",
        "reached for open(",
        REMOVED,
        "try:\n                    open(__file__).close()\n                except BaseException:\n"
        f"                    pass\n                {REMOVED}",
    ),
    Plant(
        "translate asks the network",
        "test_translate_is_pure",
        "reached for socket.",
        REMOVED,
        f'__import__("socket").getaddrinfo("localhost", 80)\n                {REMOVED}',
    ),
    Plant(
        "a missing product id is defaulted",
        "test_survives_malformed_events",
        "'unknown' is not in the event",
        REMOVED,
        'yield RemoveProduct(product_id=item.get("sku", "unknown"))',
    ),
    Plant(
        "a number instead of a product id is replaced",
        "test_survives_malformed_events",
        "is not in the event",
        REMOVED,
        'yield RemoveProduct(product_id=item["sku"] if isinstance(item["sku"], str) else "sku-0")',
    ),
    Plant(
        "null becomes a product id",
        "test_survives_malformed_events",
        "'None' is not in the event",
        REMOVED,
        'yield RemoveProduct(product_id=str(item["sku"]))',
    ),
    Plant(
        "an object becomes a product id",
        "test_survives_malformed_events",
        "\"{'mutated': 1}\" is not in the event",
        REMOVED,
        'yield RemoveProduct(product_id=str(item["sku"] or item["id"]))',
    ),
    Plant(
        "null becomes a user id",
        "test_survives_malformed_events",
        "the user_id is 'None'",
        'if type(item["customer"]) is not int:',
        'if item["customer"] == "":',
    ),
    Plant(
        "what is malformed is passed over in silence",
        "test_survives_malformed_events",
        "became nothing in silence",
        REMOVED,
        f'if isinstance(item.get("sku"), str):\n                    {REMOVED}',
    ),
    Plant(
        "the payload's shape is matched",
        "test_survives_malformed_events",
        "became nothing in silence",
        'case "product.removed":',
        'case "product.removed" if "sku" in item:',
    ),
    Plant(
        "translate ends the process",
        "test_survives_malformed_events",
        "raised SystemExit",
        'lines = item["lines"]',
        'lines = item["lines"] or exit(1)',
    ),
    Plant(
        "translate crashes on an empty cart",
        "test_survives_malformed_events",
        "raised ZeroDivisionError",
        'lines = item["lines"]',
        'lines = item["lines"]\n                _ = 1 / len(lines)',
    ),
    Plant(
        "translate asserts what data should be",
        "test_survives_malformed_events",
        "raised AssertionError",
        'lines = item["lines"]',
        'lines = item["lines"]\n                assert isinstance(item["at"], str)',
    ),
    Plant(
        "a record depends on the object",
        "test_translate_is_pure",
        "by a new object",
        'tags=item.get("tags")',
        "tags=[str(id(self))]",
    ),
    Plant(
        "a topic is not declared",
        "test_every_topic_has_a_sample",
        "which `topics` does not name",
        '"cart.added", "customer.saved")',
        '"customer.saved")',
    ),
    Plant("a topic has no sample", "test_every_topic_has_a_sample", "no sample of", None, "", "samples/customer.json"),
    Plant(
        "history gives a topic that is not declared",
        "test_pulled_events_are_translated",
        "which `topics` does not name",
        PAGE,
        'yield Page([Event(str(item["id"]), "acme", item) for item in body["events"]], cursor)',
    ),
]
PRIVACY = [
    Plant(
        "an e-mail address is passed on",
        "test_unknown_fields_stay_out",
        "unknown field 'email' in $",
        ATTRIBUTES,
        'custom_attributes={"plan": item["plan"], "mail": item.get("email", "")}',
    ),
    Plant(
        "all fields are copied instead of a list of them",
        "test_unknown_fields_stay_out",
        "List the fields that go on",
        ATTRIBUTES,
        "custom_attributes={key: str(value) for key, value in item.items()}",
    ),
    Plant(
        "all fields of a line are copied into the context",
        "test_unknown_fields_stay_out",
        "$.events[0].lines[0]",
        'timestamp=item["at"],',
        'timestamp=item["at"], context={"custom_context": {k: str(v) for k, v in lines[0].items()}},',
    ),
    Plant(
        "users are known by their e-mail address",
        "test_no_email_in_records",
        "something like an e-mail address in user_id",
        'user_id=str(item["customer"])',
        "user_id=f\"{item['customer']}@acme.example\"",
    ),
]
HISTORY = [
    Plant(
        "resuming ignores the cursor",
        "test_backfill_resumes_from_every_page",
        "must go on from `part.cursor`",
        'cursor = part.cursor or ""',
        'cursor = ""',
    ),
    Plant(
        "the cursor is one page ahead",
        "test_backfill_resumes_from_every_page",
        "lost 2 of 3 events",
        PAGE,
        'ahead = str(int(cursor) + 2) if cursor != "end" else cursor\n            '
        'yield Page([self._event(item) for item in body["events"]], ahead)',
    ),
    Plant(
        "the last page is left out",
        "test_backfill_is_complete",
        "gave 4 events of the 5",
        PAGE,
        f'if cursor != "end":\n                {PAGE}',
    ),
    Plant(
        "each slice pulls from the beginning",
        "test_backfill_asks_for_its_slice",
        "whatever the slice's start is",
        '"from": part.start.isoformat(),',
        '"from": "2020-01-01",',
    ),
    Plant(
        "the slice's end is not asked for",
        "test_backfill_asks_for_its_slice",
        "whatever the slice's end is",
        ' "to": part.end.isoformat(),',
        "",
    ),
    Plant("a page comes twice", "test_backfill_is_complete", "more than once", PAGE, f"{PAGE}\n            {PAGE}"),
    Plant(
        "the cursor is no text",
        "test_backfill_is_complete",
        "is a tuple",
        'body["events"]], cursor)',
        'body["events"]], (cursor,))',
    ),
    Plant(
        "history has other ids than webhooks",
        "test_ids_are_the_same_by_webhook_and_by_history",
        "so it is counted twice",
        PAGE,
        'yield Page([Event(f"h{item[\'id\']}", item["topic"], item) for item in body["events"]], cursor)',
    ),
    Plant(
        "failures are swallowed",
        "test_failures_are_classified",
        "as if nothing had happened",
        GET,
        guarded_get("except Exception:\n                return"),
    ),
    Plant(
        "half of an answer is taken for all of it",
        "test_failures_are_classified",
        "answered with cut",
        GET,
        STREAMED,
    ),
    Plant(
        "a page's events are no list",
        "test_backfill_is_complete",
        "with a list of events",
        '[self._event(item) for item in body["events"]], cursor)',
        '(self._event(item) for item in body["events"]), cursor)',
    ),
    Plant(
        "what failed is asked again, but not where it failed",
        "test_failures_are_classified",
        "as if nothing had happened",
        GET,
        guarded_get("except Exception:\n                cursor = str(int(cursor or 0) + 2)\n                continue"),
    ),
    Plant(
        "a server's trouble is a Reject",
        "test_failures_are_classified",
        "raised Reject",
        GET,
        guarded_get('except Exception:\n                raise Reject("the shop is in trouble")'),
    ),
    Plant(
        "a wrong token is a Retry",
        "test_failures_are_classified",
        "instead of Halt",
        GET,
        guarded_get('except Exception:\n                raise __import__("misoflow").Retry("later")'),
    ),
    Plant(
        "Retry-After is dropped",
        "test_failures_are_classified",
        "asked for 17 seconds",
        GET,
        "from misoflow import Retry\n            "
        + guarded_get('except Retry:\n                raise Retry("later") from None'),
    ),
    Plant(
        "only the first request is guarded",
        "test_failures_are_classified",
        "request 2",
        GET,
        "from misoflow import Retry\n            "
        + guarded_get("except Retry:\n                if cursor:\n                    return\n                raise"),
    ),
]
HYGIENE = [
    Plant(
        "a secret is in an error",
        "test_no_secret_in_errors",
        "<the secret>",
        'raise Reject(f"the shop has no events ({answer.status})")',
        'raise Reject(f"{headers} did not do")',
    ),
    Plant(
        "a secret is in the error behind an error",
        "test_no_secret_in_errors",
        "<the secret>",
        'raise Reject(f"the shop has no events ({answer.status})")',
        'raise Reject("the shop did not do") from ValueError(f"{headers}")',
    ),
    Plant(
        "check tells a secret",
        "test_no_secret_in_errors",
        "<the secret>",
        "    async def backfill",
        "    async def check(self):\n        from misoflow import Problem\n        "
        'return [Problem("fail", f"no {self.config.token.get_secret_value()}", "mend it")]\n\n    async def backfill',
    ),
    Plant(
        "credentials are logged as they are sent",
        "test_no_secret_in_logs",
        "logged or printed",
        'headers = {"authorization": f"Bearer {self.config.token.get_secret_value()}"}',
        'pair = f"acme:{self.config.token.get_secret_value()}".encode()\n        '
        'basic = __import__("base64").b64encode(pair).decode()\n        '
        'print(basic)\n        headers = {"authorization": f"Basic {basic}"}',
    ),
    Plant(
        "a secret is in a URL",
        "test_no_secret_in_urls",
        "send it in a header",
        '"after": cursor}',
        '"after": cursor, "key": self.config.token.get_secret_value()}',
    ),
    Plant(
        "a secret is logged",
        "test_no_secret_in_logs",
        "logged or printed",
        GET,
        f'__import__("logging").getLogger("acme").debug("asking with %s", headers)\n            {GET}',
    ),
    Plant(
        "a secret is printed",
        "test_no_secret_in_logs",
        "logged or printed",
        SIGNED,
        f"        print(self.config.signing_secrets[0].get_secret_value())\n{SIGNED}",
    ),
    Plant(
        "an inner module is imported",
        "test_imports_only_public_names",
        "imports misoflow.encode.encode",
        "from pydantic import",
        "from misoflow.encode import encode\nfrom pydantic import",
    ),
    Plant(
        "another HTTP client is used",
        "test_imports_only_public_names",
        "use `self.http`",
        "from pydantic import",
        "import urllib.request\nfrom pydantic import",
    ),
    Plant(
        "a database is opened",
        "test_imports_only_public_names",
        "`self.state`",
        "from pydantic import",
        "import sqlite3\nfrom pydantic import",
    ),
]
SETTINGS = [
    Plant(
        "a setting has no description",
        "test_every_setting_is_described",
        "without a description: shop",
        'Field(description="The shop\'s domain.", examples=["demo.acme.example"])',
        'Field(examples=["demo.acme.example"])',
    ),
    Plant(
        "a setting inside of another has no description",
        "test_every_setting_is_described",
        "without a description: limit.calls",
        "class AcmeConfig(Config):\n",
        "class Limit(Config):\n    calls: int = 1\n\n\nclass AcmeConfig(Config):\n    "
        '"""Settings for one Acme shop."""\n\n    limit: Limit = Field(default=Limit(), description="Of calls.")\n',
    ),
    Plant(
        "settings accept typos",
        "test_settings_are_closed",
        "a typo in plugins.toml",
        "    shop: str = Field",
        '    model_config = {"extra": "ignore"}\n\n    shop: str = Field',
    ),
    Plant(
        "settings can be changed",
        "test_settings_are_frozen",
        "can be changed",
        "    shop: str = Field",
        '    model_config = {"frozen": False}\n\n    shop: str = Field',
    ),
    Plant(
        "a setting takes a reserved name",
        "test_settings_are_frozen",
        "declares limits",
        "    shop: str = Field",
        '    limits: int = Field(default=1, description="Of calls.")\n\n    shop: str = Field',
    ),
    Plant(
        "a secret is plain text",
        "test_secrets_are_secret",
        "plain text: token",
        "    token: SecretStr",
        "    token: str",
    ),
    Plant(
        "repr of the connector shows a secret",
        "test_settings_do_not_print_secrets",
        "shows a secret",
        CLASS,
        f"{CLASS}\n    def __repr__(self):\n        return self.config.token.get_secret_value()\n",
    ),
    Plant("the connector has no docstring", "test_the_connector_takes_its_settings", "has no docstring", CLASS, ""),
]
CONTRACT = [
    Plant(
        "a contract test is removed",
        "test_the_contract_is_whole",
        "TestAcme.test_translate_is_pure was removed",
        "",
        "    test_translate_is_pure = None\n",
        TEST,
    ),
    Plant(
        "a contract test is replaced",
        "test_the_contract_is_whole",
        "TestAcme.test_no_secret_in_logs was replaced",
        "",
        "    def test_no_secret_in_logs(self):\n        pass\n",
        TEST,
    ),
    Plant(
        "a contract test is marked xfail without a reason",
        "test_the_contract_is_whole",
        'xfail(reason="…")',
        "",
        "    @__import__('pytest').mark.xfail\n    def test_no_secret_in_logs(self):\n        pass\n",
        TEST,
    ),
    Plant(
        "an attribute is misspelt",
        "test_the_contract_is_whole",
        "did you mean 'tolerance'?",
        "    tolerance = 300",
        "    tolerence = 300",
        TEST,
    ),
]


def installed(visit: str) -> str:
    """The toy as an app that is installed by a click, with this body of ``visit``."""
    return f"""from misoflow import Installable, Installed, Reply


class Acme(Connector[AcmeConfig], Installable):
{CLASS}
    def visit(self, visit):
        fields = dict(visit.query)
        {visit}
        return Reply()

    async def install(self, grant):
        return Installed()

    async def uninstall(self):
        pass
"""


BASE = f"class Acme(Connector[AcmeConfig]):\n{CLASS}"
INSTALLING = [
    Plant(
        "the tenant is made up",
        "test_tenants_are_stable",
        "for the same delivery",
        CLASS,
        f"{CLASS}\n    def tenant(self, request):\n        return str(id(self))\n",
    ),
    Plant(
        "the tenant is missing",
        "test_tenants_are_stable",
        "for the same delivery",
        CLASS,
        f"{CLASS}\n    def tenant(self, request):\n        return None\n",
    ),
    Plant(
        "a link without a field crashes",
        "test_forged_visits_are_refused",
        "raised KeyError",
        BASE,
        installed('fields["hmac"]'),
    ),
    Plant(
        "a proof that is no ASCII crashes",
        "test_forged_visits_are_refused",
        "raised TypeError",
        BASE,
        installed('__import__("hmac").compare_digest(fields.get("hmac", ""), "genuine")'),
    ),
    Plant(
        "anybody is installed",
        "test_forged_visits_are_refused",
        "gave a grant",
        BASE,
        installed('if "code" in fields: return Reply(tenant="acme", grant={"code": fields["code"]})'),
    ),
    Plant(
        "a visit gives a sentence",
        "test_forged_visits_are_refused",
        "give a Reply",
        BASE,
        installed('return "welcome"'),
    ),
]
ALL = [*VERIFY, *EVENTS, *INSTALLING, *TRANSLATE, *PRIVACY, *HISTORY, *HYGIENE, *SETTINGS, *CONTRACT]
