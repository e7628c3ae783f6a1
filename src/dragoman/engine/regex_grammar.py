"""JSON Schema's `pattern` as a grammar of JSON strings.

The subset that has a grammar at all: no look-around, no back references, no word boundaries. What is
left out is refused by name, never ignored.
Source: https://json-schema.org/understanding-json-schema/reference/regular_expressions
"""

from __future__ import annotations

from dragoman.engine.grammar import (
    Literal,
    Node,
    Ranges,
    Repeat,
    Rule,
    choice,
    complement,
    sequence,
    size,
    union,
)
from dragoman.engine.json_text import string_char

MAX_LENGTH = 512
MAX_DEPTH = 16
MAX_REPEATS = 2000
MAX_SIZE = 4000

_DIGITS: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
# https://tc39.es/ecma262/#prod-WhiteSpace and its line ends
_BLANK_POINTS = "\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff"
_BLANKS: Ranges = union([(0x2000, 0x200A), *((ord(char), ord(char)) for char in _BLANK_POINTS)])
_CLASSES: dict[str, Ranges] = {
    "d": _DIGITS,
    "D": complement(_DIGITS),
    "w": _WORD,
    "W": complement(_WORD),
    "s": _BLANKS,
    "S": complement(_BLANKS),
}
_CONTROLS = {"n": 0x0A, "t": 0x09, "r": 0x0D, "f": 0x0C, "v": 0x0B, "0": 0x00}
# https://tc39.es/ecma262/#prod-LineTerminator
_NOT_LINE_END = complement([(0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029)])
_ANYTHING: Node = Repeat(Rule("char"), 0, None)


class UnsupportedPattern(ValueError):
    """What it is that cannot be honoured, in words that follow the field's name."""


class Pattern:
    """The grammar of strings, without their quotes, that match; and how long those can be."""

    __slots__ = ("longest", "node", "shortest")

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise UnsupportedPattern(f"must be at most {MAX_LENGTH} characters long")
        parsed = _Parser(text).whole()
        if size(parsed.node) > MAX_SIZE:
            raise UnsupportedPattern("repeats too much; use smaller or fewer repeats")
        self.node = parsed.node
        self.shortest = parsed.shortest
        self.longest = parsed.longest


class _Piece:
    """A node with the lengths, in characters, of what it matches."""

    __slots__ = ("longest", "node", "shortest")

    def __init__(self, node: Node, shortest: int, longest: int | None) -> None:
        self.node = node
        self.shortest = shortest
        self.longest = longest


def _in_sequence(pieces: list[_Piece]) -> _Piece:
    longest: int | None = 0
    for piece in pieces:
        longest = None if longest is None or piece.longest is None else longest + piece.longest
    return _Piece(
        sequence(*(piece.node for piece in pieces)),
        sum(piece.shortest for piece in pieces),
        longest,
    )


def _in_choice(pieces: list[_Piece]) -> _Piece:
    longest: int | None = 0
    for piece in pieces:
        longest = None if longest is None or piece.longest is None else max(longest, piece.longest)
    return _Piece(
        choice(piece.node for piece in pieces), min(piece.shortest for piece in pieces), longest
    )


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> _Piece:
        """Alternatives, each of which may be anchored; where it is not, anything may stand there."""
        pieces = []
        while True:
            starts = self._accept("^")
            piece = self._sequence(0)
            ends = self._accept("$")
            anything = _Piece(_ANYTHING, 0, None)
            pieces.append(
                _in_sequence(
                    [*([] if starts else [anything]), piece, *([] if ends else [anything])]
                )
            )
            if not self._accept("|"):
                break
        if self._at < len(self._text):
            raise self._unsupported()
        return _in_choice(pieces)

    def _alternatives(self, depth: int) -> _Piece:
        if depth > MAX_DEPTH:
            raise UnsupportedPattern("is nested too deeply")
        pieces = [self._sequence(depth)]
        while self._accept("|"):
            pieces.append(self._sequence(depth))
        return _in_choice(pieces)

    def _sequence(self, depth: int) -> _Piece:
        pieces = []
        while self._at < len(self._text) and self._text[self._at] not in "|)$":
            pieces.append(self._repeated(self._atom(depth)))
        return _in_sequence(pieces)

    def _repeated(self, piece: _Piece) -> _Piece:
        bounds = self._bounds()
        if bounds is None:
            return piece
        least, most = bounds
        self._accept("?")  # lazy or not, the same strings match
        if self._at < len(self._text) and self._text[self._at] in "*+?{":
            raise UnsupportedPattern("repeats a repeat")
        if piece.shortest == 0:
            # The engine's search through what may come next grows without bound over these.
            raise UnsupportedPattern("repeats something that may be empty")
        if max(least, most or 0) > MAX_REPEATS:
            raise UnsupportedPattern(f"repeats more than {MAX_REPEATS} times")
        if most is not None and most < least:
            raise UnsupportedPattern("has a repeat whose bounds are the wrong way round")
        longest = None if piece.longest is None or most is None else piece.longest * most
        return _Piece(Repeat(piece.node, least, most), piece.shortest * least, longest)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._accept(sign):
                return bounds
        if not self._accept("{"):
            return None
        least = self._number()
        if least is None:
            raise UnsupportedPattern("has a '{' that starts no repeat; write '\\{'")
        most: int | None = least
        if self._accept(","):
            most = self._number()
        if not self._accept("}"):
            raise UnsupportedPattern("has a repeat that is not closed")
        return least, most

    def _number(self) -> int | None:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] in "0123456789":
            self._at += 1
        return int(self._text[start : self._at]) if self._at > start else None

    def _atom(self, depth: int) -> _Piece:
        char = self._next()
        if char == "(":
            if self._accept("?") and not self._accept(":"):
                raise UnsupportedPattern("uses look-around or a named group")
            piece = self._alternatives(depth + 1)
            if not self._accept(")"):
                raise (
                    self._unsupported()
                    if self._at < len(self._text)
                    else UnsupportedPattern("has a group that is not closed")
                )
            return piece
        if char == "[":
            return self._one_of(self._character_class())
        if char == ".":
            return self._one_of(_NOT_LINE_END)
        if char == "\\":
            return self._one_of(self._escape())
        if char in "^*+?{}])":
            raise UnsupportedPattern(
                f"has a '{char}' that means nothing in its place; write '\\{char}'"
            )
        return self._one_of(((ord(char), ord(char)),))

    def _one_of(self, ranges: Ranges) -> _Piece:
        try:
            node = string_char(ranges)
        except ValueError:
            raise UnsupportedPattern("asks for a character that JSON cannot hold plainly") from None
        return _Piece(node, 1, 1)

    def _escape(self) -> Ranges:
        char = self._next()
        if char in _CLASSES:
            return _CLASSES[char]
        if char in _CONTROLS:
            point = _CONTROLS[char]
        elif char in "xu":
            point = self._hexadecimal(2 if char == "x" else 4)
        elif char.isalnum():
            raise UnsupportedPattern(f"uses '\\{char}'")
        else:
            point = ord(char)
        return ((point, point),)

    def _hexadecimal(self, digits: int) -> int:
        text = self._text[self._at : self._at + digits]
        self._at += digits
        if len(text) < digits or any(char not in "0123456789abcdefABCDEF" for char in text):
            raise UnsupportedPattern("has an escape whose digits are not hexadecimal")
        return int(text, 16)

    def _character_class(self) -> Ranges:
        is_negated = self._accept("^")
        ranges: list[tuple[int, int]] = []
        while not self._accept("]"):
            low = self._class_item()
            if len(low) > 1 or low[0][0] != low[0][1]:
                ranges += low
            elif self._text[self._at : self._at + 1] == "-" and (
                self._text[self._at + 1 : self._at + 2] not in ("]", "")
            ):
                self._at += 1
                high = self._class_item()
                if len(high) > 1 or high[0][0] != high[0][1] or high[0][0] < low[0][0]:
                    raise UnsupportedPattern("has a range whose ends are the wrong way round")
                ranges.append((low[0][0], high[0][0]))
            else:
                ranges += low
        if not ranges:
            raise UnsupportedPattern("has an empty character class")
        return complement(ranges) if is_negated else union(ranges)

    def _class_item(self) -> Ranges:
        char = self._next()
        if char == "\\":
            if self._accept("b"):
                return ((0x08, 0x08),)
            return self._escape()
        return ((ord(char), ord(char)),)

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise UnsupportedPattern("ends too early")
        self._at += 1
        return self._text[self._at - 1]

    def _accept(self, char: str) -> bool:
        if self._text[self._at : self._at + 1] != char:
            return False
        self._at += 1
        return True

    def _unsupported(self) -> UnsupportedPattern:
        if self._text[self._at] == "$":
            return UnsupportedPattern("has a '$' before its end")
        return UnsupportedPattern(f"has a '{self._text[self._at]}' that means nothing in its place")


def string_of(pattern: Pattern) -> Node:
    return sequence(Literal('"'), pattern.node, Literal('"'))
