"""What a query costs before it runs: https://shopify.dev/docs/api/usage/limits#graphql-admin-api-rate-limits

Scalars are free, an object is a point, a mutation ten. How a connection's price grows with its page is not
published, only that it does; here with the square root, so that a page of 250 is far below 250 times one.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, sqrt
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_composite_type,
    is_interface_type,
    is_object_type,
)

MOST = 1000
"""Of one query, whatever the plan."""
MUTATION = 10


class Cost:
    """Adds up one operation."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._schema, self._variables = schema, variables
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }

    def of(self, operation: OperationDefinitionNode) -> int:
        kind = operation.operation.value
        root = self._schema.mutation_type if kind == "mutation" else self._schema.query_type
        found = self._selection(operation.selection_set, root)
        return max(found, MUTATION) if kind == "mutation" else max(1, found)

    def _selection(self, selection: SelectionSetNode | None, type_: Any) -> int:
        cost = 0
        for one in selection.selections if selection else ():
            if isinstance(one, FieldNode):
                cost += self._field(one, type_)
            elif isinstance(one, InlineFragmentNode):
                inner = self._schema.get_type(one.type_condition.name.value) if one.type_condition else type_
                cost += self._selection(one.selection_set, inner)
            else:
                fragment = self._fragments[one.name.value]  # type: ignore[attr-defined]
                inner = self._schema.get_type(fragment.type_condition.name.value)
                cost += self._selection(fragment.selection_set, inner)
        return cost

    def _field(self, field: FieldNode, parent: Any) -> int:
        known = is_object_type(parent) or is_interface_type(parent)
        definition = parent.fields.get(field.name.value) if known else None
        named = get_named_type(definition.type) if definition else None
        if named is None or not is_composite_type(named):
            return 0
        inner = self._selection(field.selection_set, named)
        if named.name.endswith("Connection"):
            return ceil(2 + inner * sqrt(self._page(field)))
        return inner if named.name.endswith(("Edge", "PageInfo")) else 1 + inner

    def _page(self, field: FieldNode) -> int:
        for one in field.arguments or ():
            if one.name.value in ("first", "last"):
                if isinstance(one.value, IntValueNode):
                    return int(one.value.value)
                if isinstance(one.value, VariableNode):
                    return int(self._variables.get(one.value.name.value) or 0)
        return 1


def of_answer(data: Any) -> int:
    """What an answer really held: its objects."""
    if isinstance(data, dict):
        return 1 + sum(of_answer(one) for one in data.values())
    return sum(of_answer(one) for one in data) if isinstance(data, list) else 0
