"""The GraphQL Admin API of one shop: versions, tokens, points, then the query.

https://shopify.dev/docs/api/admin-graphql
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLResolveInfo,
    OperationDefinitionNode,
    build_schema,
    execute,
    parse,
    validate,
)

from misoflow_sandbox.answers import Answer, answer
from misoflow_sandbox.shopify import bulk, cost, mutations, roots
from misoflow_sandbox.shopify.asking import Asked, refuse_without_scope
from misoflow_sandbox.shopify.connections import MOST, MOST_VARIANTS, Connection, page
from misoflow_sandbox.shopify.fields import FIELDS, TYPES
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.state import SUPPORTED, App, Options, refused

SCHEMA = build_schema(Path(__file__).with_name("schema.graphql").read_text(encoding="utf-8"))
TABLES = (roots.QUERIES, mutations.MUTATIONS, bulk.BULK)
"""Their modules put them into ``FIELDS``."""
UNKNOWN = "[API] Invalid API key or access token (unrecognized login or wrong password)"
CLOSED = {402: "Unavailable Shop", 423: "This shop is unavailable"}


def resolve(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    """Read one field. Raises GraphQLError."""
    asked: Asked = info.context
    type_, name = info.parent_type.name, info.field_name
    refuse_without_scope(asked, type_, name)
    read = FIELDS.get(type_, {}).get(name)
    value = source.get(name) if read is None else read(asked, source, arguments)
    if not isinstance(value, Connection):
        return value
    single = type_ == "Product" and name == "variants" and info.path.prev is not None and info.path.prev.prev is None
    return page(value, arguments, MOST_VARIANTS if single else MOST).fields()


def type_of(value: Any, info: Any, abstract: Any) -> str | None:
    return TYPES.get(type(value))


class Admin:
    """Answers ``/{shop}/admin/api/{version}/graphql.json``."""

    def __init__(self, app: App, options: Options) -> None:
        self._app, self._options = app, options

    def answer(self, shop: Shop, version: str, token: str, body: bytes, operations: bulk.Operations) -> Answer:
        """Raises Refusal."""
        access = shop.tokens.good(token)
        if access is None or shop.installed_at is None:
            raise refused(401, UNKNOWN)
        if shop.frozen is not None:
            raise refused(shop.frozen, CLOSED.get(shop.frozen, "Unavailable Shop"))
        served = version if version in SUPPORTED else SUPPORTED[0]
        asked = Asked(shop, self._app, access.scopes, served, operations)
        with shop.lock:
            made = self._run(asked, body)
        made.headers.append((b"x-shopify-api-version", served.encode()))
        made.headers.append((b"date", formatdate(shop.clock.now() // 1000, usegmt=True).encode()))
        return made

    def _run(self, asked: Asked, body: bytes) -> Answer:
        try:
            given = orjson.loads(body)
            document, wrong = _read(given["query"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise refused(400, {"query": "Required parameter missing or invalid"}) from error
        variables = given.get("variables") or {}
        operation = _operation(document, given.get("operationName"))
        if wrong or operation is None or document is None:
            return answer(200, {"errors": wrong or [{"message": "An operation name is required"}]})
        price = cost.Cost(SCHEMA, document, variables).of(operation)
        stopped = self._stopped(asked.shop, price)
        if stopped is not None:
            return stopped
        result = execute(
            SCHEMA,
            document,
            context_value=asked,
            variable_values=variables,
            operation_name=given.get("operationName"),
            field_resolver=resolve,
            type_resolver=type_of,
        )
        assert isinstance(result, ExecutionResult)
        return self._answered(asked.shop, price, result)

    def _stopped(self, shop: Shop, price: int) -> Answer | None:
        """Take the points; the answer where there are not enough, which is a 200."""
        if price > cost.MOST:
            text = f"Query cost is {price}, which exceeds the single query max cost limit ({cost.MOST})."
            code = {"code": "MAX_COST_EXCEEDED", "cost": price, "maxCost": cost.MOST}
            return answer(200, {"errors": [{"message": text, "extensions": code}]})
        if not self._options.throttle:
            return None
        if shop.points() < price:
            error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return answer(200, {"errors": [error], "extensions": _costs(shop, price, None)})
        shop.take(price)
        return None

    def _answered(self, shop: Shop, price: int, result: ExecutionResult) -> Answer:
        actual = min(price, max(1, cost.of_answer(result.data)))
        if self._options.throttle:
            shop.take(actual - price)
        body: dict[str, Any] = {"data": result.data, "extensions": _costs(shop, price, actual)}
        if result.errors:
            body["errors"] = [one.formatted for one in result.errors]
        return answer(200, body)


def _costs(shop: Shop, price: int, actual: int | None) -> dict[str, Any]:
    status = {
        "maximumAvailable": float(shop.bucket),
        "currentlyAvailable": int(shop.points()),
        "restoreRate": float(shop.rate),
    }
    return {"cost": {"requestedQueryCost": price, "actualQueryCost": actual, "throttleStatus": status}}


@lru_cache(512)
def _read(query: str) -> tuple[DocumentNode | None, list[Mapping[str, Any]]]:
    """The query, and what is wrong with it."""
    try:
        document = parse(query)
    except GraphQLError as error:
        return None, [error.formatted]
    return document, [_invalid(one) for one in validate(SCHEMA, document)]


def _invalid(error: GraphQLError) -> Mapping[str, Any]:
    return {
        **error.formatted,
        "extensions": {"code": "undefinedField" if "Cannot query" in error.message else "invalid"},
    }


def _operation(document: DocumentNode | None, name: str | None) -> OperationDefinitionNode | None:
    found = [one for one in (document.definitions if document else ()) if isinstance(one, OperationDefinitionNode)]
    named = [one for one in found if name is None or (one.name is not None and one.name.value == name)]
    return named[0] if len(named) == 1 else None


def name_of(body: bytes) -> str:
    """For the record of calls: the operation's name, else its first field."""
    try:
        document, _ = _read(orjson.loads(body)["query"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    operation = _operation(document, None)
    if operation is None:
        return ""
    if operation.name is not None:
        return operation.name.value
    first = operation.selection_set.selections[0]
    return first.name.value if isinstance(first, FieldNode) else ""
