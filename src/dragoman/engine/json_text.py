"""Pieces of JSON as grammar: strings, numbers, keys and values without constraint."""

from __future__ import annotations

from fractions import Fraction

from dragoman.engine.grammar import (
    Chars,
    Choice,
    Literal,
    Node,
    Ranges,
    Repeat,
    Rule,
    choice,
    complement,
    contains,
    optional,
    sequence,
    without,
)

DIGIT = Chars(((ord("0"), ord("9")),))
NONZERO = Chars(((ord("1"), ord("9")),))
SPACE = optional(Literal(" "))
COMMA = sequence(Literal(","), SPACE)

# https://www.rfc-editor.org/rfc/rfc8259#section-7; \u is left out: nothing needs it, and half of a
# surrogate pair would not be text.
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\f": "\\f",
    "\b": "\\b",
}
_MUST_ESCAPE = ((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F))
_ANY_CHARACTER: Ranges = complement(())

MAX_DIGITS = 15
"""Integers of so many digits survive every reader of JSON that keeps numbers as doubles."""
MAX_DECIMALS = 6


def string_char(ranges: Ranges) -> Node:
    """One character of `ranges` as it stands within a JSON string."""
    plain = without(ranges, _MUST_ESCAPE)
    nodes: list[Node] = [Chars(plain)] if plain else []
    nodes += [Literal(text) for char, text in _ESCAPES.items() if contains(ranges, ord(char))]
    if not nodes:
        raise ValueError("no such character can stand in a JSON string")
    return choice(nodes)


ANY_STRING_CHAR = string_char(_ANY_CHARACTER)

_INTEGER_PART = choice([Literal("0"), sequence(NONZERO, Repeat(DIGIT, 0, MAX_DIGITS - 1))])
INTEGER = sequence(optional(Literal("-")), _INTEGER_PART)
NUMBER = sequence(INTEGER, optional(sequence(Literal("."), Repeat(DIGIT, 1, MAX_DECIMALS))))

SHARED_RULES: dict[str, Node] = {
    "char": ANY_STRING_CHAR,
    "string": sequence(Literal('"'), Repeat(Rule("char"), 0, None), Literal('"')),
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": Choice((Literal("true"), Literal("false"))),
    "null": Literal("null"),
    "member": sequence(Rule("string"), Literal(":"), SPACE, Rule("value")),
    "object": sequence(
        Literal("{"),
        optional(sequence(Rule("member"), Repeat(sequence(COMMA, Rule("member")), 0, None))),
        Literal("}"),
    ),
    "array": sequence(
        Literal("["),
        optional(sequence(Rule("value"), Repeat(sequence(COMMA, Rule("value")), 0, None))),
        Literal("]"),
    ),
    "value": Choice(
        (
            Rule("object"),
            Rule("array"),
            Rule("string"),
            Rule("number"),
            Rule("boolean"),
            Rule("null"),
        )
    ),
}
"""Values without constraint; numbers with no exponent, which nothing needs."""


def integers(low: int | None, high: int | None) -> Node | None:
    """Every integer within the bounds, as far as digits go; `None`: there is none."""
    return _decimals(low, high, 0)


def numbers(
    low: Fraction | None, high: Fraction | None, *, above: bool, below: bool
) -> Node | None:
    """Numbers within the bounds (`above`, `below`: without the bound itself), in steps fine enough.

    The same number may be written with fewer or more decimals, so each count has its own grammar.
    """
    decimals = max(2, _decimals_of(low), _decimals_of(high))
    nodes = []
    for places in range(min(decimals, MAX_DECIMALS) + 1):
        step = 10**places
        least = None if low is None else -((-low * step) // 1)
        most = None if high is None else (high * step) // 1
        if above and low is not None and least == low * step:
            least = None if least is None else least + 1
        if below and high is not None and most == high * step:
            most = None if most is None else most - 1
        node = _decimals(
            None if least is None else int(least), None if most is None else int(most), places
        )
        if node is not None:
            nodes.append(node)
    return choice(nodes) if nodes else None


def _decimals_of(bound: Fraction | None) -> int:
    places = 0
    while bound is not None and places < MAX_DECIMALS and (bound * 10**places).denominator != 1:
        places += 1
    return places


def _decimals(low: int | None, high: int | None, places: int) -> Node | None:
    """Numbers n / 10^places for n from `low` to `high`, always written with that many decimals."""
    digits = MAX_DIGITS + places
    for bound in (low, high):
        digits = max(digits, len(str(abs(bound))) + 1 if bound is not None else 0)
    largest = 10**digits - 1
    least = -largest if low is None else low
    most = largest if high is None else high
    if least > most:
        return None
    nodes = []
    if least < 0:
        negative = _unsigned(max(1, -most), -least, places)
        nodes.append(sequence(Literal("-"), negative))
    if most >= 0:
        nodes.append(_unsigned(max(0, least), most, places))
    return choice(nodes)


def _unsigned(low: int, high: int, places: int) -> Node:
    """`low` ≤ n ≤ `high`, one alternative for each number of digits before the point."""
    nodes = []
    whole = 1
    while True:
        width = whole + places
        first = 0 if whole == 1 else 10 ** (width - 1)
        last = 10**width - 1
        if first > high:
            break
        if last >= low:
            text = str(max(low, first)).zfill(width), str(min(high, last)).zfill(width)
            nodes.append(_between(text[0], text[1], whole))
        whole += 1
    return choice(nodes)


def _between(low: str, high: str, point: int) -> Node:
    """Digit strings from `low` to `high`, equally long, with a point after `point` more digits."""
    if not low:
        return sequence()
    if set(low) == {"0"} and set(high) == {"9"}:
        if point <= 0 or point >= len(low):
            return Repeat(DIGIT, len(low), len(low)) if point else _pointed(len(low))
        return sequence(Repeat(DIGIT, point, point), _pointed(len(low) - point))
    dot: Node = Literal(".") if point == 0 else sequence()
    first, last = int(low[0]), int(high[0])
    rest = len(low) - 1
    if first == last:
        return sequence(dot, Literal(low[0]), _between(low[1:], high[1:], point - 1))
    nodes = []
    if set(low[1:]) - {"0"}:
        nodes.append(sequence(Literal(low[0]), _between(low[1:], "9" * rest, point - 1)))
        first += 1
    tail: Node | None = None
    if set(high[1:]) - {"9"}:
        tail = sequence(Literal(high[0]), _between("0" * rest, high[1:], point - 1))
        last -= 1
    if first <= last:
        digit = Chars(((ord("0") + first, ord("0") + last),))
        nodes.append(sequence(digit, _between("0" * rest, "9" * rest, point - 1)))
    if tail is not None:
        nodes.append(tail)
    return sequence(dot, choice(nodes))


def _pointed(digits: int) -> Node:
    return sequence(Literal("."), Repeat(DIGIT, digits, digits))
