"""What a document costs, found out before it is validated, let alone executed.

    its text        length, tokens, comments          while it is read
    its shape       definitions, depth, selections,   once for a document
                    aliases, comparisons
    its answer      entries of lists, values          once; again for each operation whose
                                                      variables decide

A fragment is measured once, however often it is spread, so that measuring takes time in proportion
to the text. What validation does takes the square of some of these numbers, or doubles with each
level of fragments; the bounds leave nothing that lasts. Nothing here knows the schema but `LISTS`.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSyntaxError,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Source,
    SourceLocation,
    ValueNode,
    VariableNode,
    parse,
)

from graphql_app.errors import DocumentTooCostlyError


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a document may have of each. What the standard introspection has, in brackets.

    Args:
        length: characters; any legal message fits in, however it is escaped.
        tokens: of the grammar (183).
        comments: they cost as much as tokens.
        operations: all are validated, also those that are not meant.
        fragments: definitions (3).
        depth: selection sets inside each other, those of fragments included (18).
        selections: fields, spreads and inline fragments, with each fragment counted wherever it is
            spread (239).
        aliases: counted in the same way.
        comparisons: pairs of fields that answer under one name, which validation compares (0).
        entries: of all lists of the answer, estimated by `LISTS` (1,136).
        values: of all fields of the answer (31,729).
    """

    length: int = 6 * 32_768 + 4_096
    tokens: int = 800
    comments: int = 800
    operations: int = 50
    fragments: int = 50
    depth: int = 40
    selections: int = 500
    aliases: int = 50
    comparisons: int = 1_000
    entries: int = 10_000
    values: int = 150_000


BOUNDS = Bounds()


class Amount(NamedTuple):
    """How many there are of something, below so many parents: `fixed + each * parents`."""

    fixed: int = 0
    each: int = 0

    def plus(self, other: "Amount") -> "Amount":
        return Amount(self.fixed + other.fixed, self.each + other.each)

    def below(self, parents: "Amount") -> "Amount":
        """How many there are, if there are so many parents themselves."""
        return Amount(self.fixed + self.each * parents.fixed, self.each * parents.each)

    @property
    def at_the_top(self) -> int:
        return self.fixed + self.each


NONE = Amount()
ONE = Amount(each=1)

LONGEST = 1_000
"""The longest list, and how long it is if nobody says."""

LISTS: dict[str, tuple[str | None, Amount]] = {
    "messages": ("last", Amount(each=LONGEST)),
    "conversations": ("first", Amount(each=LONGEST)),
    # One message may have 1,000 replies; of a thousand, most have one.
    "replies": (None, Amount(LONGEST, 3)),
    # Of introspection, about as in our schema; it is executed in one go, while everybody waits.
    "types": (None, Amount(each=40)),
    "fields": (None, Amount(each=6)),
    "args": (None, Amount(each=2)),
    "inputFields": (None, Amount(each=2)),
    "enumValues": (None, Amount(each=8)),
    "possibleTypes": (None, Amount(each=2)),
    "interfaces": (None, Amount(each=2)),
    "directives": (None, Amount(each=8)),
}
"""The lists of the schema by field: the argument that says their length, and how long they get."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a selection set costs, with all that its fragments stand for."""

    depth: int = 0
    selections: int = 0
    aliases: int = 0
    entries: Amount = NONE
    values: Amount = NONE

    def plus(self, other: "Cost") -> "Cost":
        return Cost(
            max(self.depth, other.depth),
            self.selections + other.selections,
            self.aliases + other.aliases,
            self.entries.plus(other.entries),
            self.values.plus(other.values),
        )


NOTHING = Cost()

Size: TypeAlias = Callable[[FieldNode], Amount]
"""How many objects a field answers with, for so many parents."""


LINE_END = re.compile(r"\r\n|[\n\r]")


class Text(Source):
    """The text of a document. Its lines are looked for once, however many errors are in them."""

    @cached_property
    def _ends(self) -> "tuple[array[int], array[int]]":
        """Where line ends begin, and where they end."""
        starts, ends = array("I"), array("I")
        for match in LINE_END.finditer(self.body):
            starts.append(match.start())
            ends.append(match.end())
        return starts, ends

    def get_location(self, position: int) -> SourceLocation:
        starts, ends = self._ends
        before = bisect_left(starts, position)
        return SourceLocation(before + 1, position + 1 - (ends[before - 1] if before else 0))


def parsed(query: str, bounds: Bounds = BOUNDS) -> DocumentNode:
    """The document of a text, if text and shape are within bounds.

    Raises:
        DocumentTooCostlyError: one is not.
        GraphQLError: a syntax error, or a fragment that spreads itself.
    """
    if len(query) > bounds.length:
        raise DocumentTooCostlyError("characters", bounds.length)
    text = Text(query)
    try:
        document = parse(text, max_lexical_tokens=bounds.tokens, max_comments=bounds.comments)
    except RecursionError:
        raise GraphQLSyntaxError(text, 0, "The document is nested too deeply.") from None
    except GraphQLSyntaxError as error:
        for bound, limit in (("tokens", bounds.tokens), ("comments", bounds.comments)):
            if f"more than {limit} {bound}" in error.message:
                raise DocumentTooCostlyError(bound, limit) from None
        raise
    check_shape(document, bounds)
    return document


def check_shape(document: DocumentNode, bounds: Bounds = BOUNDS) -> None:
    """Refuses a document that takes long to validate.

    Raises:
        DocumentTooCostlyError: it is beyond one of the bounds.
        GraphQLError: a fragment spreads itself.
    """
    operations, fragments = _definitions(document)
    _check("operations", len(operations), bounds.operations)
    _check("fragments", len(fragments), bounds.fragments)
    measure = Measure(fragments, bounds.depth)
    cost = NOTHING
    roots = [operation.selection_set for operation in operations]
    for root in roots:
        cost = cost.plus(measure.cost(root))
    for fragment in fragments:
        # It counts where it is spread; what nobody spreads is validated all the same.
        if not measure.has_met(fragment):
            roots.append(fragment.selection_set)
            cost = cost.plus(measure.cost(fragment.selection_set))
    _check("selections", cost.selections, bounds.selections)
    _check("aliases", cost.aliases, bounds.aliases)
    # There are few selections now, so that they may all be walked through.
    pairs = sum(_comparisons([root], measure.fragments) for root in roots)
    _check("fields of the same name", pairs, bounds.comparisons)


def is_always_cheap(
    document: DocumentNode, operation: OperationDefinitionNode, bounds: Bounds = BOUNDS
) -> bool:
    """Whether an operation's answer is within bounds whatever its variables are."""
    cost = _answer(document, operation, _unknown)
    return cost.entries.at_the_top <= bounds.entries and cost.values.at_the_top <= bounds.values


def check_answer(
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
    bounds: Bounds = BOUNDS,
) -> None:
    """Refuses an operation whose answer would be gigantic. Its document's shape is within bounds.

    Raises:
        DocumentTooCostlyError: entries or values are beyond their bound.
    """
    defaults = {
        definition.variable.name.value: definition.default_value
        for definition in operation.variable_definitions or ()
    }

    def variable(name: str) -> object:
        return variables[name] if name in variables else _literal(defaults.get(name), _unknown)

    cost = _answer(document, operation, variable)
    _check("entries in the lists of its answer", cost.entries.at_the_top, bounds.entries)
    _check("values in its answer", cost.values.at_the_top, bounds.values)


@dataclass(slots=True, eq=False)
class Measure:
    """Measures selection sets; each fragment once."""

    definitions: Iterable[FragmentDefinitionNode]
    most_depth: int
    size: Size = field(default=lambda node: _size(node, _unknown))
    fragments: dict[str, FragmentDefinitionNode] = field(init=False)
    _costs: dict[str, Cost | None] = field(init=False, default_factory=dict)
    """By the names of fragments; None while one is being measured."""

    def __post_init__(self) -> None:
        self.fragments = {}
        for definition in self.definitions:
            self.fragments.setdefault(definition.name.value, definition)

    def has_met(self, fragment: FragmentDefinitionNode) -> bool:
        name = fragment.name.value
        return name in self._costs and self.fragments[name] is fragment

    def cost(self, selection_set: SelectionSetNode, level: int = 1) -> Cost:
        """What a selection set costs that is so deep inside of others."""
        if level > self.most_depth:
            raise DocumentTooCostlyError("levels", self.most_depth)
        depth = selections = aliases = 0
        entries = values = NONE
        for node in selection_set.selections:
            selections += 1
            size = ONE
            if isinstance(node, FieldNode):
                values = values.plus(ONE)
                aliases += node.alias is not None
                size = self.size(node)
                if size is not ONE:
                    entries = entries.plus(size)
                inner = NOTHING
                if node.selection_set is not None:
                    inner = self.cost(node.selection_set, level + 1)
            elif isinstance(node, FragmentSpreadNode):
                inner = self._of_fragment(node.name.value, level + 1)
            else:
                assert isinstance(node, InlineFragmentNode)
                inner = self.cost(node.selection_set, level + 1)
            if inner is NOTHING:
                continue
            depth = max(depth, inner.depth)
            selections += inner.selections
            aliases += inner.aliases
            entries = entries.plus(inner.entries.below(size))
            values = values.plus(inner.values.below(size))
        return Cost(depth + 1, selections, aliases, entries, values)

    def _of_fragment(self, name: str, level: int) -> Cost:
        fragment = self.fragments.get(name)
        if fragment is None:
            return NOTHING  # Validation says so.
        if name not in self._costs:
            self._costs[name] = None
            self._costs[name] = self.cost(fragment.selection_set, level)
        cost = self._costs[name]
        if cost is None:
            raise GraphQLError(f"Cannot spread fragment '{name}' within itself.", fragment)
        if level - 1 + cost.depth > self.most_depth:
            raise DocumentTooCostlyError("levels", self.most_depth)
        return cost


def _comparisons(
    selection_sets: list[SelectionSetNode], fragments: Mapping[str, FragmentDefinitionNode]
) -> int:
    """How many pairs of fields, and of spreads, are compared by validation below these sets."""
    spreads = 0
    inner: dict[str, list[SelectionSetNode]] = {}
    named: dict[str, int] = {}
    waiting = list(selection_sets)
    for selection_set in waiting:
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                name = (node.alias or node.name).value
                named[name] = named.get(name, 0) + 1
                if node.selection_set is not None:
                    inner.setdefault(name, []).append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                spreads += 1
                if (fragment := fragments.get(node.name.value)) is not None:
                    waiting.append(fragment.selection_set)
            else:
                assert isinstance(node, InlineFragmentNode)
                waiting.append(node.selection_set)
    pairs = sum(count * (count - 1) // 2 for count in (spreads, *named.values()))
    return pairs + sum(_comparisons(sets, fragments) for sets in inner.values())


def _answer(
    document: DocumentNode, operation: OperationDefinitionNode, variable: "Variable"
) -> Cost:
    _, fragments = _definitions(document)
    measure = Measure(fragments, BOUNDS.depth, lambda node: _size(node, variable))
    return measure.cost(operation.selection_set)


Variable: TypeAlias = Callable[[str], object]
"""The value of a variable by its name, as it came, unchecked; None: nobody knows."""


def _unknown(_: str) -> None:
    return None


def _size(node: FieldNode, variable: Variable) -> Amount:
    if (known := LISTS.get(node.name.value)) is None:
        return ONE
    argument_name, longest = known
    for argument in node.arguments or ():
        if argument.name.value == argument_name:
            asked = _literal(argument.value, variable)
            # Whatever is no such number is refused later, or means the longest list.
            if type(asked) is int and 0 < asked < LONGEST:
                return Amount(each=asked)
    return longest


def _literal(node: ValueNode | None, variable: Variable) -> object:
    """The value of a variable, or of a number that is not too long to be read."""
    if isinstance(node, VariableNode):
        return variable(node.name.value)
    if isinstance(node, IntValueNode) and len(node.value) <= len(str(LONGEST)):
        return int(node.value)
    return None


def _definitions(
    document: DocumentNode,
) -> tuple[list[OperationDefinitionNode], list[FragmentDefinitionNode]]:
    operations, fragments = [], []
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            operations.append(definition)
        elif isinstance(definition, FragmentDefinitionNode):
            fragments.append(definition)
    return operations, fragments


def _check(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise DocumentTooCostlyError(what, limit)
