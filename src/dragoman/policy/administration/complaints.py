"""What msgspec says of a value, in words for whoever sent it: what it must be, and not which type it is checked with."""

from __future__ import annotations

import re

_NAMES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_UNITS = {"str": "characters", "array": "entries", "object": "entries"}
_PATTERNS = {
    "[a-z0-9][a-z0-9_-]{0,63}": "1 to 64 lower-case letters, digits, '-' and '_', with a letter or digit first",
    "[A-Za-z0-9_.-]{1,64}": "1 to 64 letters, digits, '_', '.' and '-'",
    "[A-Za-z0-9_-]{1,32}": "1 to 32 letters, digits, '_' and '-'",
}
_TYPES = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_LENGTH = re.compile(r"Expected `(\w+)(?: \| null)?` of length (<=|>=|==) (\d+)")
_BOUND = re.compile(r"Expected `(?:int|float)(?: \| null)?` (<=|>=|<|>) (-?[\d.e+]+)")
_PATTERN = re.compile(r"Expected `str(?: \| null)?` matching regex '\^?(.*?)(?:\\+Z|\$)?'")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`")
_COMPARED = {"<=": "at most", ">=": "at least", "==": "exactly", "<": "less than", ">": "more than"}


def told_of(field: str | None, complaint: str) -> str:
    """The whole refusal. `None`: it is of all that was sent."""
    words = in_words(complaint)
    if field is None:
        return words
    return f"{field}: {words}" if words == complaint else f"{field} {words}"


def in_words(complaint: str) -> str:
    """Goes behind the field's name; as it is, where there are no better words."""
    if match := _TYPES.fullmatch(complaint):
        wanted = [name for name in match[1].split(" | ") if name != "null"]
        return f"must be {' or '.join(map(_named, wanted))}, not {_named(match[2])}"
    if match := _LENGTH.fullmatch(complaint):
        return f"must have {_COMPARED[match[2]]} {match[3]} {_UNITS.get(match[1], 'entries')}"
    if match := _BOUND.fullmatch(complaint):
        return f"must be {_COMPARED[match[1]]} {match[2].removesuffix('.0')}"
    if match := _PATTERN.fullmatch(complaint):
        return f"must be {_PATTERNS.get(match[1], f'of the form {match[1]}')}"
    if match := _MISSING.fullmatch(complaint):
        return f"must have {match[1]!r}"
    if match := _UNKNOWN.fullmatch(complaint):
        return f"has no field {match[1]!r}; leave it out, or see how it is spelt"
    return complaint


def _named(name: str) -> str:
    return _NAMES.get(name, name)
