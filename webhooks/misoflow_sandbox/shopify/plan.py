"""A bulk operation's query, checked by the rules of bulk operations and made into a plan that runs line by line.

https://shopify.dev/docs/api/usage/bulk-operations/queries
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    parse,
    validate,
)
from graphql.execution.values import get_argument_values
from msgspec import Struct, field

from misoflow_sandbox.shopify.asking import Asked, refuse_without_scope
from misoflow_sandbox.shopify.connections import Connection
from misoflow_sandbox.shopify.fields import FIELDS, TYPES

CONNECTIONS, DEPTH = 5, 2


class Refused(Exception):
    """A query that cannot be run in bulk; the text says why."""


class Step(Struct):
    """One field of an object. ``inner``: what is read of it, if it is an object, a list of them, or a connection."""

    name: str
    parent: str
    field: str
    arguments: dict[str, Any]
    inner: Selection | None
    connection: bool


class Selection(Struct):
    """What is read of an object: per type, since it may be behind an interface. None: of every type."""

    steps: list[tuple[str | None, Step]] = field(default_factory=list)
    type: str = ""


class Line(Struct):
    """A node, and where it stands."""

    data: dict[str, Any]
    root: bool


class Planner:
    """Reads one query. Raises Refused."""

    def __init__(self, schema: GraphQLSchema, text: str) -> None:
        self._schema = schema
        document = self._parsed(text)
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
        if len(operations) != 1 or operations[0].operation.value != "query":
            raise Refused("Bulk queries must contain one query operation.")
        self._connections = 0
        self.selection = self._selection(operations[0].selection_set, schema.query_type, 0, listed=False)
        self._check()

    def _parsed(self, text: str) -> DocumentNode:
        try:
            document = parse(text)
        except GraphQLError as error:
            raise Refused(f"Invalid bulk query: {error.message}") from error
        wrong = validate(self._schema, document)
        if wrong:
            raise Refused(f"Invalid bulk query: {wrong[0].message}")
        return document

    def _check(self) -> None:
        tops = [step for _, step in self.selection.steps]
        if any(step.field in ("node", "nodes") for step in tops):
            raise Refused("Bulk queries cannot contain top-level `node` or `nodes` fields.")
        if len(tops) != 1 or not tops[0].connection:
            raise Refused("Bulk queries must contain at least one connection field, at the top.")
        if self._connections > CONNECTIONS:
            raise Refused(f"Bulk queries cannot contain more than {CONNECTIONS} connections.")

    def _selection(self, given: SelectionSetNode | None, type_: Any, depth: int, *, listed: bool) -> Selection:
        found = Selection(type=type_.name)
        self._add(found, given, type_, None, depth, listed)
        return found

    def _add(
        self, found: Selection, given: SelectionSetNode | None, type_: Any, only: str | None, depth: int, listed: bool
    ) -> None:
        for one in given.selections if given else ():
            if isinstance(one, FieldNode):
                found.steps.append((only, self._step(one, type_, depth, listed)))
                continue
            if isinstance(one, InlineFragmentNode):
                chosen, condition = one.selection_set, one.type_condition
            else:
                fragment = self._fragments[one.name.value]  # type: ignore[attr-defined]
                chosen, condition = fragment.selection_set, fragment.type_condition
            target: Any = self._schema.get_type(condition.name.value) if condition else type_
            narrowed = target.name if isinstance(target, GraphQLObjectType) else only
            self._add(found, chosen, target, narrowed, depth, listed)

    def _step(self, node: FieldNode, type_: Any, depth: int, listed: bool) -> Step:
        name = node.name.value
        answer = node.alias.value if node.alias else name
        if name == "__typename":
            return Step(answer, type_.name, name, {}, None, False)
        assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        definition = type_.fields[name]
        arguments = get_argument_values(definition, node)
        named = get_named_type(definition.type)
        if is_leaf_type(named):
            return Step(answer, type_.name, name, arguments, None, False)
        if named.name.endswith("Connection"):
            return self._connection(node, Step(answer, type_.name, name, arguments, None, True), named, depth, listed)
        many = isinstance(get_nullable_type(definition.type), GraphQLList)
        inner = self._selection(node.selection_set, named, depth, listed=listed or many)
        return Step(answer, type_.name, name, arguments, inner, False)

    def _connection(self, node: FieldNode, step: Step, named: Any, depth: int, listed: bool) -> Step:
        if listed:
            raise Refused(f"Bulk queries cannot contain a connection field inside a list: {step.field}.")
        if depth >= DEPTH:
            raise Refused(f"Bulk queries cannot contain connections nested more than {DEPTH} levels deep.")
        self._connections += 1
        item = get_named_type(named.fields["nodes"].type)
        step.inner = Selection(type=item.name)
        for edges in _fields(node.selection_set):
            inner = _fields(edges.selection_set) if edges.name.value == "edges" else [edges]
            for one in inner:
                if one.name.value in ("node", "nodes"):
                    self._add(step.inner, one.selection_set, item, None, depth + 1, False)
        return step


def _fields(given: SelectionSetNode | None) -> list[FieldNode]:
    return [one for one in (given.selections if given else ()) if isinstance(one, FieldNode)]


def lines(asked: Asked, selection: Selection) -> Iterator[Line]:
    """All lines, children right after their parent. Raises GraphQLError for a scope that is missing."""
    _refuse(asked, selection)
    for _, step in selection.steps:
        for node in FIELDS[step.parent][step.field](asked, None, step.arguments):
            assert step.inner is not None
            yield from _node(asked, step.inner, node, None)


def _refuse(asked: Asked, selection: Selection) -> None:
    """Once for all rows. Raises GraphQLError."""
    for _, step in selection.steps:
        refuse_without_scope(asked, step.parent, step.field)
        if step.inner is not None:
            _refuse(asked, step.inner)


def _node(asked: Asked, selection: Selection, node: Any, parent: str | None) -> Iterator[Line]:
    children: list[tuple[Step, Connection]] = []
    data = _object(asked, selection, node, children)
    if parent is not None:
        data["__parentId"] = parent
    yield Line(data, parent is None)
    if not children:
        return
    own: str = FIELDS[selection.type]["id"](asked, node, {})
    for step, connection in children:
        assert step.inner is not None
        for child in connection:
            yield from _node(asked, step.inner, child, own)


def _object(asked: Asked, selection: Selection, value: Any, children: list[tuple[Step, Connection]]) -> dict[str, Any]:
    type_ = TYPES.get(type(value), selection.type)
    table = FIELDS.get(type_, {})
    data: dict[str, Any] = {}
    for only, step in selection.steps:
        if only not in (None, type_):
            continue
        if step.field == "__typename":
            data[step.name] = type_
            continue
        read = table.get(step.field)
        found = value[step.field] if read is None else read(asked, value, step.arguments)
        if step.connection:
            children.append((step, found))
        elif step.inner is None or found is None:
            data[step.name] = found
        elif isinstance(found, list):
            data[step.name] = [_object(asked, step.inner, one, children) for one in found]
        else:
            data[step.name] = _object(asked, step.inner, found, children)
    return data
