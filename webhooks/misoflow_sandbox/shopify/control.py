"""What tests and people ask of the stand-in itself, under ``/_sandbox/``.

``GET state`` · ``GET deliveries`` · ``POST app`` (fields of ``App``) · ``POST options`` · ``POST faults`` (rules of
HTTP), ``POST hooks`` (``HookRule``), ``POST bulk`` (``BulkRule``), ``DELETE faults`` (all of them) ·
``POST clock {"advance": seconds}`` · ``POST settle`` · ``POST install|uninstall {"shop"}`` ·
``POST change {"shop", "do": a method of Merchant, "with": {its arguments}}`` ·
``POST visit {"shop", "number", "buys", "customer"}`` · ``POST id_token {"shop"}`` · ``GET truth?shop=``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from misoflow_sandbox.answers import Answer
from misoflow_sandbox.shopify.bulk import BulkRule
from misoflow_sandbox.shopify.faults import Rule
from misoflow_sandbox.shopify.hooks import HookRule
from misoflow_sandbox.shopify.merchant import Merchant
from misoflow_sandbox.shopify.state import App, Options
from misoflow_sandbox.shopify.truth import truth
from misoflow_sandbox.shopify.visits import visit

if TYPE_CHECKING:
    from misoflow_sandbox.shopify.app import ShopifySandbox

Given = dict[str, Any]


class Control:
    """Answers for one stand-in."""

    def __init__(self, sandbox: ShopifySandbox) -> None:
        self._sandbox = sandbox
        self._posts: dict[str, Callable[[Any], Any]] = {
            "app": lambda given: _change(sandbox.app_config, App, given),
            "options": lambda given: _change(sandbox.options, Options, given),
            "faults": lambda given: sandbox.faults.add(*_all(given, Rule)),
            "hooks": lambda given: sandbox.hooks.rules.extend(_all(given, HookRule)),
            "bulk": self._bulk,
            "clock": lambda given: sandbox.clock.advance(given["advance"]),
            "settle": lambda given: sandbox.settle(),
            "install": lambda given: str(sandbox.installs.install(self._domain(given)).domain),
            "uninstall": lambda given: sandbox.installs.uninstall(self._domain(given)),
            "change": self._merchant,
            "visit": self._visit,
            "id_token": lambda given: sandbox.oauth.id_token(sandbox.shop(given.get("shop"))),
        }

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Answer:
        name = path.split("/")[2]
        try:
            if method == "POST" and name in self._posts:
                return _json(200, self._posts[name](msgspec.json.decode(body or b"{}")))
            if method == "GET" and name in ("state", "deliveries", "truth"):
                return _json(200, getattr(self, f"_{name}")(query))
            if method == "DELETE" and name == "faults":
                self._behave()
                return _json(200, None)
        except (msgspec.MsgspecError, TypeError, AttributeError, ValueError, LookupError) as error:
            return _json(400, {"message": f"cannot be done: {type(error).__name__}: {error}"})
        return _json(404, {"message": f"the sandbox has no {method} {path}"})

    def _domain(self, given: Mapping[str, Any]) -> str:
        return self._sandbox.shop(given.get("shop")).domain

    def _behave(self) -> None:
        self._sandbox.faults.rules.clear()
        self._sandbox.hooks.rules.clear()
        for operations in self._sandbox.operations.values():
            operations.rules.clear()

    def _bulk(self, given: Any) -> None:
        for rule in _all(given, BulkRule):
            for operations in self._sandbox.operations.values():
                if rule.shop in (None, operations.shop.domain):
                    operations.rules.append(rule)

    def _merchant(self, given: Given) -> Any:
        merchant = Merchant(self._sandbox.shop(given.get("shop")), self._sandbox.hooks)
        if given["do"].startswith("_"):
            raise LookupError(given["do"])
        arguments = {
            name: {int(key): one for key, one in value.items()} if isinstance(value, dict) else value
            for name, value in given.get("with", {}).items()
        }
        return getattr(merchant, given["do"])(**arguments)

    def _visit(self, given: Given) -> Any:
        number = given.get("number", 1)
        shopper = self._sandbox.shopper(number, given.get("shop"), customer=given.get("customer"))
        order = visit(shopper, number, buys=given.get("buys", True))
        return {"order": order, "heard": shopper.heard}

    def _state(self, query: Mapping[str, str]) -> Given:
        sandbox = self._sandbox
        return {
            "now": sandbox.clock.now(),
            "calls": sandbox.calls,
            "shops": {
                domain: {
                    "installed_at": shop.installed_at,
                    "scopes": shop.scopes,
                    "pixel": shop.pixel,
                    "subscriptions": list(shop.subscriptions.values()),
                    "products": len(shop.products),
                    "orders": len(shop.orders),
                    "customers": len(shop.customers),
                    "operations": [
                        {"id": one.id, "status": one.status, "objects": one.objects}
                        for one in sandbox.operations[domain].all.values()
                    ],
                }
                for domain, shop in sandbox.shops.items()
            },
        }

    def _deliveries(self, query: Mapping[str, str]) -> list[Given]:
        """Without their bodies, which hold personal data."""
        rows = [msgspec.to_builtins(one) for one in self._sandbox.hooks.deliveries]
        return [{name: value for name, value in row.items() if name not in ("body", "secret")} for row in rows]

    def _truth(self, query: Mapping[str, str]) -> Given:
        return truth(self._sandbox.shop(query.get("shop")))


def _all(given: Any, type_: Any) -> list[Any]:
    return [msgspec.convert(one, type_) for one in (given if isinstance(given, list) else [given])]


def _change(thing: Any, type_: Any, given: Given) -> Any:
    """Set some fields of what others hold too."""
    changed = msgspec.convert({**msgspec.to_builtins(thing), **given}, type_)
    for name in type_.__struct_fields__:
        setattr(thing, name, getattr(changed, name))
    return None


def _json(status: int, body: Any) -> Answer:
    return Answer(status, msgspec.json.encode(body))
