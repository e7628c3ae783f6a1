"""Strings and numbers within a schema's bounds, as grammar."""

from __future__ import annotations

from fractions import Fraction

from dragoman.engine.grammar import Literal, Node, Repeat, Rule, choice, sequence
from dragoman.engine.json_text import integers, numbers
from dragoman.engine.regex_grammar import MAX_REPEATS, Pattern, UnsupportedPattern, string_of
from dragoman.engine.schema_text import (
    Schema,
    Unsatisfiable,
    UnsupportedSchema,
    bound,
    ceiling,
    count,
    floor,
    join,
    number,
)

MAX_MULTIPLES = 1000

_DAYS = (
    "(((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01]))|((0[469]|11)-(0[1-9]|[12][0-9]|30))"
    "|(02-(0[1-9]|1[0-9]|2[0-8])))"
)
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+\\-](0[0-9]|1[0-4]):[0-5]0)"
FORMATS = {
    "date": f"^[12][0-9]{{3}}-{_DAYS}$",
    "time": f"^{_TIME}$",
    "date-time": f"^[12][0-9]{{3}}-{_DAYS}T{_TIME}$",
    "uuid": "^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
    "ipv4": "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}"
    "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$",
    "email": "^[a-z0-9]{1,20}([._\\-][a-z0-9]{1,20}){0,2}@[a-z0-9]{1,20}(\\.[a-z]{2,10}){1,2}$",
    "uri": "^https?://[a-z0-9]{1,30}(\\.[a-z0-9]{1,30}){1,3}(/[a-zA-Z0-9._\\-]{1,40}){0,5}/?$",
}
"""Forms that are worth the trouble. Any other `format` is an annotation, as the standard has it:
https://json-schema.org/draft/2020-12/json-schema-validation#name-format-annotation-vocabular"""


def string_node(schema: Schema, path: str) -> Node:
    least = count(schema, "minLength", path) or 0
    most = count(schema, "maxLength", path)
    if least > MAX_REPEATS:
        raise UnsupportedSchema(join(path, "minLength"), f"must be at most {MAX_REPEATS}")
    if most is not None and least > most:
        raise Unsatisfiable(path, "asks for a longer string than it allows")
    if "pattern" in schema:
        return _patterned(schema["pattern"], least, most, join(path, "pattern"))
    form = FORMATS.get(str(schema.get("format")))
    if form is not None and not least and most is None:
        return string_of(Pattern(form))
    if not least and most is None:
        return Rule("string")
    chars = Repeat(Rule("char"), least, None if most is None else min(most, MAX_REPEATS))
    return sequence(Literal('"'), chars, Literal('"'))


def _patterned(text: object, least: int, most: int | None, path: str) -> Node:
    if not isinstance(text, str):
        raise UnsupportedSchema(path, "must be a string")
    try:
        pattern = Pattern(text)
    except UnsupportedPattern as error:
        raise UnsupportedSchema(path, str(error)) from None
    if pattern.shortest < least or (
        most is not None and (pattern.longest is None or pattern.longest > most)
    ):
        raise UnsupportedSchema(
            path, "allows lengths that minLength or maxLength do not; put the bound into it"
        )
    return string_of(pattern)


def number_node(kind: str, schema: Schema, path: str) -> Node:
    low, above = bound(schema, "minimum", "exclusiveMinimum", path, max)
    high, below = bound(schema, "maximum", "exclusiveMaximum", path, min)
    step = schema.get("multipleOf")
    if step is not None:
        return _multiples(step, (low, above), (high, below), path)
    if low is None and high is None:
        return Rule(kind)
    node: Node | None
    if kind == "number":
        node = numbers(low, high, above=above, below=below)
    else:
        node = integers(ceiling(low, above), floor(high, below))
    if node is None:
        raise Unsatisfiable(path, "leaves no number between its bounds")
    return node


def _multiples(
    step: object,
    low: tuple[Fraction | None, bool],
    high: tuple[Fraction | None, bool],
    path: str,
) -> Node:
    """All of them, where they are integers and few; there is no grammar of division."""
    path = join(path, "multipleOf")
    value = number(step, path)
    first, last = ceiling(*low), floor(*high)
    if value == 1:
        node = integers(first, last)
        if node is None:
            raise Unsatisfiable(path, "leaves no number between the bounds")
        return node
    if not isinstance(value, int) or value < 1 or first is None or last is None:
        raise UnsupportedSchema(
            path, "is only supported as an integer, with both a minimum and a maximum"
        )
    start = -(-first // value)
    end = last // value
    if end - start >= MAX_MULTIPLES:
        raise UnsupportedSchema(path, f"leaves more than {MAX_MULTIPLES} numbers to choose from")
    if end < start:
        raise Unsatisfiable(path, "leaves no number between the bounds")
    return choice(Literal(str(n * value)) for n in range(start, end + 1))
