"""JSON Schema as a grammar: every text that the grammar allows is valid against the schema.

The engine has a converter of its own, which silently ignores what it does not know and can be frozen
by what it does. This one is sound instead: a constraint is honoured, or its keyword is refused by name.
It need not be complete. Where a schema leaves a choice that a grammar cannot express, the grammar takes
the part of it that it can: properties come in the order they are declared in, undeclared ones are not
invented, and long repeats are cut. Nothing is ever fetched; nothing recurses without a bound.
Source: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dragoman.engine.grammar import (
    Choice,
    Grammar,
    Literal,
    Node,
    Repeat,
    Rule,
    Sequence,
    choice,
    optional,
    sequence,
    size,
)
from dragoman.engine.json_text import COMMA, SHARED_RULES, SPACE
from dragoman.engine.schema_merging import SchemaReader
from dragoman.engine.schema_scalars import number_node, string_node
from dragoman.engine.schema_text import (
    ANNOTATIONS,
    MAX_DEPTH,
    Schema,
    Unsatisfiable,
    UnsupportedSchema,
    count,
    is_local,
    is_of,
    join,
    kinds_of,
    text_of,
    type_list,
    values_of,
)

MAX_SIZE = 60_000
"""What a whole grammar may cost the engine: see `grammar.size`."""
MAX_VALUES = 1000
"""How many values an `enum` may list."""
MAX_PROPERTIES = 500
MAX_ITEMS = 1000
"""How many items of an array are counted; more are never written."""


def compile_schema(schema: Schema | bool) -> Grammar:
    """The grammar of compact JSON texts that are valid against `schema`."""
    rules = schema_rules(schema, "root")
    return complete_grammar(rules)


def schema_rules(schema: Schema | bool, name: str) -> dict[str, Node]:
    """Rules for `schema` under `name`, without those of plain JSON that they refer to."""
    rules: dict[str, Node] = {}
    root = _Compiler(schema, name, rules).root()
    return {name: root, **rules}


def complete_grammar(rules: dict[str, Node]) -> Grammar:
    """The rules that `root` needs, those of plain JSON added; raises where the whole costs too much."""
    used: dict[str, Node] = {}
    needed = ["root"]
    while needed:
        name = needed.pop()
        if name in used:
            continue
        node = rules.get(name) or SHARED_RULES.get(name)
        if node is None:
            raise UnsupportedSchema("", "refers to a part that allows no value at all")
        used[name] = node
        needed += _named_rules((node,))
    if sum(map(size, used.values())) > MAX_SIZE:
        raise UnsupportedSchema("", "is too large; use fewer properties, values or repeats")
    return Grammar(used)


def _named_rules(nodes: Iterable[Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Rule):
            yield node.name
        elif isinstance(node, Repeat):
            yield from _named_rules((node.item,))
        elif isinstance(node, Sequence | Choice):
            yield from _named_rules(node.items)


class _Compiler:
    def __init__(self, root: Schema | bool, prefix: str, rules: dict[str, Node]) -> None:
        self._reader = SchemaReader(root)
        self._prefix = prefix
        self._rules = rules
        self._by_pointer: dict[str, str] = {}

    def root(self) -> Node:
        return self._value(self._reader.root, "", 0, frozenset())

    # --- Any schema ---

    def _value(self, schema: object, path: str, depth: int, chasing: frozenset[str]) -> Node:
        """`chasing`: the references followed since the last bracket, to find those that turn in
        circles."""
        if schema is True:
            return Rule("value")
        if schema is False:
            raise Unsatisfiable(path, "allows no value at all")
        if not isinstance(schema, dict):
            raise UnsupportedSchema(path, "must be a schema: an object or a boolean")
        if depth > MAX_DEPTH:
            raise UnsupportedSchema(path, f"is nested more than {MAX_DEPTH} deep")
        self._reader.spend(1, path)
        self._reader.check_shape(schema, path)
        if "$ref" in schema:
            return self._reference(schema, path, depth, chasing)
        if "allOf" in schema:
            return self._value(self._reader.merged_all_of(schema, path), path, depth + 1, chasing)
        if "const" in schema or "enum" in schema:
            return self._listed(schema, path)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._alternatives(schema, keyword, path, depth, chasing)
        return self._typed(schema, path, depth)

    def _reference(self, schema: Schema, path: str, depth: int, chasing: frozenset[str]) -> Node:
        pointer = schema["$ref"]
        path = join(path, "$ref")
        if not is_local(pointer):
            raise UnsupportedSchema(path, "must point into the schema itself: '#/…'")
        rest = {key: value for key, value in schema.items() if key not in ANNOTATIONS | {"$ref"}}
        target = self._reader.resolve(pointer, path)
        if pointer in chasing:
            raise UnsupportedSchema(path, "refers to itself")
        if rest:
            merged = self._reader.merge(self._reader.plain(target, path), rest, path)
            return self._value(merged, path, depth + 1, chasing | {pointer})
        name = self._by_pointer.get(pointer)
        if name is None:
            name = self._by_pointer[pointer] = self._new_rule()
            # The path that is told is where the reference leads, which is what must be mended.
            where = pointer[2:].replace("/", ".")
            try:
                self._rules[name] = self._value(target, where, depth + 1, chasing | {pointer})
            except Unsatisfiable:
                del self._by_pointer[pointer]
                raise
        return Rule(name)

    def _new_rule(self) -> str:
        self._reader.spend(1, "")
        return f"{self._prefix}-{self._reader.spent}"

    def _alternatives(
        self, schema: Schema, keyword: str, path: str, depth: int, chasing: frozenset[str]
    ) -> Node:
        alternatives = schema[keyword]
        here = join(path, keyword)
        if not isinstance(alternatives, list) or not alternatives:
            raise UnsupportedSchema(here, "must be a list of schemas")
        self._reader.spend(len(alternatives), here)
        rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS | {keyword}}
        combined: list[tuple[str, object]] = []
        missing: Unsatisfiable | None = None
        for i, alternative in enumerate(alternatives):
            place = f"{here}[{i}]"
            if alternative is False:
                continue
            try:
                plain = alternative
                if rest:
                    plain = self._reader.merge(self._reader.plain(alternative, place), rest, place)
                combined.append((place, plain))
            except Unsatisfiable as error:
                missing = error
        if keyword == "oneOf" and not self._reader.are_apart([each for _, each in combined], here):
            raise UnsupportedSchema(
                here,
                "has alternatives that overlap, which cannot be kept apart; use anyOf, or give each "
                "a required property with a const of its own",
            )
        nodes = []
        for place, each in combined:
            try:
                nodes.append(self._value(each, place, depth + 1, chasing))
            except Unsatisfiable as error:
                missing = error
        if not nodes:
            raise missing or UnsupportedSchema(here, "allows no value at all")
        return choice(nodes)

    # --- Values ---

    def _listed(self, schema: Schema, path: str) -> Node:
        """`const` and `enum`: those of the values that the schema's other keywords allow too."""
        values = values_of(schema)
        assert values is not None
        if len(values) > MAX_VALUES:
            raise UnsupportedSchema(join(path, "enum"), f"must list at most {MAX_VALUES} values")
        self._reader.spend(len(values), path)
        rest = {k: v for k, v in schema.items() if k not in ANNOTATIONS | {"enum", "const"}}
        if rest.keys() & {"anyOf", "oneOf", "properties", "items", "prefixItems"}:
            raise UnsupportedSchema(path, "combines a list of values with other schemas")
        if rest.keys() - {"type"}:
            values = [value for value in values if self._is_valid(value, rest, path)]
        elif "type" in rest:
            kinds = type_list(rest["type"], path)
            values = [value for value in values if is_of(value, kinds)]
        if not values:
            raise Unsatisfiable(path, "allows no value at all")
        return choice(Literal(text_of(value)) for value in values)

    @staticmethod
    def _is_valid(value: object, schema: Schema, path: str) -> bool:
        import jsonschema_rs  # noqa: PLC0415  # not on the way to the server's start

        try:
            return bool(jsonschema_rs.is_valid(schema, value))
        except (ValueError, TypeError) as error:
            raise UnsupportedSchema(path, "is not a valid schema") from error

    def _typed(self, schema: Schema, path: str, depth: int) -> Node:
        kinds = kinds_of(schema, path)
        nodes = []
        missing: Unsatisfiable | None = None
        for kind in kinds:
            try:
                nodes.append(self._of_type(kind, schema, path, depth))
            except Unsatisfiable as error:
                missing = error
        if not nodes:
            raise missing or UnsupportedSchema(path, "allows no value at all")
        return choice(nodes)

    def _of_type(self, kind: str, schema: Schema, path: str, depth: int) -> Node:
        if kind == "object":
            return self._object(schema, path, depth)
        if kind == "array":
            return self._array(schema, path, depth)
        if kind == "string":
            return string_node(schema, path)
        if kind in ("number", "integer"):
            return number_node(kind, schema, path)
        return Rule(kind)

    # --- Objects ---

    def _object(self, schema: Schema, path: str, depth: int) -> Node:
        if schema.get("patternProperties"):
            raise UnsupportedSchema(
                join(path, "patternProperties"), "is not supported by this model; leave it out"
            )
        properties = schema.get("properties", {})
        required = list(dict.fromkeys(schema.get("required", [])))
        if len(properties) + len(required) > MAX_PROPERTIES:
            raise UnsupportedSchema(
                join(path, "properties"), f"must name at most {MAX_PROPERTIES} properties"
            )
        least = count(schema, "minProperties", path) or 0
        most = count(schema, "maxProperties", path)
        others = schema.get("additionalProperties", True)
        if not properties and not required:
            return self._map(others, least, most, path, depth)
        missing = [name for name in required if name not in properties]
        if missing and False in (others, schema.get("unevaluatedProperties")):
            raise Unsatisfiable(
                join(path, "required"), f"names '{missing[0][:60]}', which properties does not"
            )
        members = [
            *properties.items(),
            *((name, others) for name in missing),
        ]
        return self._members(members, set(required), (least, most), path, depth)

    def _members(
        self,
        members: list[tuple[str, object]],
        required: set[str],
        bounds: tuple[int, int | None],
        path: str,
        depth: int,
    ) -> Node:
        least, most = bounds
        nodes: list[tuple[str, Node]] = []
        for name, schema in members:
            try:
                value = self._value(schema, join(path, f"properties.{name[:60]}"), depth + 1, _NONE)
            except Unsatisfiable:
                if name in required:
                    raise
                continue
            nodes.append((name, sequence(Literal(text_of(name) + ":"), SPACE, value)))
        # More than are required are needed, or fewer than are declared are allowed: decide which.
        for name, _ in nodes:
            if len(required) < least:
                required = required | {name}
        if len(required) < least or (most is not None and len(required) > most):
            raise Unsatisfiable(path, "asks for a number of properties that cannot be had")
        room = None if most is None else most - len(required)
        kept: list[tuple[Node, bool]] = []
        for name, node in nodes:
            if name in required:
                kept.append((node, True))
            elif room is None or room > 0:
                kept.append((node, False))
                room = None if room is None else room - 1
        return sequence(Literal("{"), self._listing(kept), Literal("}"))

    def _listing(self, members: list[tuple[Node, bool]]) -> Node:
        """Members in order, any of the optional ones left out, and commas only in between."""
        start: Node | None = None
        tail: Node | None = None
        for member, is_required in reversed(members):
            rule = self._rule(member)
            first = rule if tail is None else sequence(rule, tail)
            if is_required:
                start = first
            else:
                start = self._rule(optional(first) if start is None else choice([first, start]))
            more: Node = sequence(COMMA, rule)
            more = more if is_required else optional(more)
            # A rule of its own, lest every start repeat it.
            tail = self._rule(more if tail is None else sequence(more, tail))
        return start or sequence()

    def _separated(self, rule: Rule, least: int, most: int | None) -> Node:
        """`rule` between `least` and `most` times, with commas."""
        if most is not None:
            most = min(most, MAX_ITEMS)
        # A rule of its own: the engine bounds what is repeated times how often.
        following = self._rule(sequence(COMMA, rule))
        more = Repeat(following, max(0, least - 1), None if most is None else most - 1)
        node = sequence(rule, more)
        return node if least else optional(node)

    def _rule(self, node: Node) -> Rule:
        rule = Rule(self._new_rule())
        self._rules[rule.name] = node
        return rule

    def _map(self, others: object, least: int, most: int | None, path: str, depth: int) -> Node:
        """An object of any names; the grammar cannot keep a name from coming twice."""
        if least > 1:
            raise UnsupportedSchema(
                join(path, "minProperties"), "is not supported by this model without properties"
            )
        if others is False or most == 0:
            if least:
                raise Unsatisfiable(path, "allows no properties and asks for some")
            return Literal("{}")
        if others is True and least == 0 and most is None:
            return Rule("object")
        try:
            value = self._value(others, join(path, "additionalProperties"), depth + 1, _NONE)
        except Unsatisfiable:
            if least:
                raise
            return Literal("{}")
        rule = self._rule(sequence(Rule("string"), Literal(":"), SPACE, value))
        # Twice the same name must not matter: the last one counts, and all are valid.
        return sequence(Literal("{"), self._separated(rule, least, most), Literal("}"))

    # --- Arrays ---

    def _array(self, schema: Schema, path: str, depth: int) -> Node:
        if schema.get("uniqueItems"):
            raise UnsupportedSchema(
                join(path, "uniqueItems"), "is not supported by this model; leave it out"
            )
        least = count(schema, "minItems", path) or 0
        most = count(schema, "maxItems", path)
        first = schema.get("prefixItems", [])
        rest: object = schema.get("items", True)
        if isinstance(rest, list):  # before 2020-12
            first, rest = rest, schema.get("additionalItems", True)
        if not isinstance(first, list):
            raise UnsupportedSchema(join(path, "prefixItems"), "must be a list of schemas")
        if most is not None and least > most:
            raise Unsatisfiable(path, "asks for more items than it allows")
        if max(least, len(first)) > MAX_ITEMS:
            raise UnsupportedSchema(join(path, "minItems"), f"must be at most {MAX_ITEMS}")
        if first:
            return self._tuple(first, rest, (least, most), path, depth)
        if rest is True and least == 0 and most is None:
            return Rule("array")
        if most == 0:
            return Literal("[]")
        try:
            item = self._value(rest, join(path, "items"), depth + 1, _NONE)
        except Unsatisfiable:
            if least:
                raise
            return Literal("[]")
        return sequence(Literal("["), self._separated(self._rule(item), least, most), Literal("]"))

    def _tuple(
        self,
        first: list[object],
        rest: object,
        bounds: tuple[int, int | None],
        path: str,
        depth: int,
    ) -> Node:
        """The leading items all stand there, as far as the bounds allow."""
        least, most = bounds
        count = len(first) if most is None else min(len(first), most)
        items = [
            self._value(schema, join(path, f"prefixItems[{i}]"), depth + 1, _NONE)
            for i, schema in enumerate(first[:count])
        ]
        nodes: list[Node] = []
        for i, item in enumerate(items):
            nodes += [COMMA, item] if i else [item]
        needed = max(0, least - count)
        room = None if most is None else most - count
        if needed or (room != 0 and rest not in (True, False)):
            other = self._value(rest, join(path, "items"), depth + 1, _NONE)
            rule = self._rule(sequence(COMMA, other))
            nodes.append(Repeat(rule, needed, None if room is None else min(room, MAX_ITEMS)))
        return sequence(Literal("["), *nodes, Literal("]"))


_NONE: frozenset[str] = frozenset()
