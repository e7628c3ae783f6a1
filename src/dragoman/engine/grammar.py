"""Grammars as values: what a text may look like, rule by rule, and how the engine is told of it.

Characters are kept as ranges of code points. `size` is what a grammar costs the engine, repeats
multiplied out: the engine really does build that many rules, and freezes over too many.
Source: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec

MAX_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)

Ranges = tuple[tuple[int, int], ...]
"""Inclusive, ascending, apart from one another."""


class Literal(msgspec.Struct, frozen=True):
    text: str


class Chars(msgspec.Struct, frozen=True):
    """One character of these."""

    ranges: Ranges


class Sequence(msgspec.Struct, frozen=True):
    items: tuple[Node, ...]


class Choice(msgspec.Struct, frozen=True):
    items: tuple[Node, ...]


class Repeat(msgspec.Struct, frozen=True):
    item: Node
    least: int
    most: int | None


class Rule(msgspec.Struct, frozen=True):
    """Whatever the rule of this name says."""

    name: str


Node = Literal | Chars | Sequence | Choice | Repeat | Rule

EMPTY = Sequence(())


class Grammar(msgspec.Struct, frozen=True):
    """`rules["root"]` is the whole text."""

    rules: dict[str, Node]

    def to_gbnf(self) -> str:
        return "\n".join(f"{name} ::= {_write(node)}" for name, node in self.rules.items())


def sequence(*items: Node) -> Node:
    """One after another; neighbouring literals are joined."""
    flat: list[Node] = []
    for item in items:
        for node in item.items if isinstance(item, Sequence) else (item,):
            if isinstance(node, Literal) and flat and isinstance(flat[-1], Literal):
                flat[-1] = Literal(flat[-1].text + node.text)
            else:
                flat.append(node)
    return flat[0] if len(flat) == 1 else Sequence(tuple(flat))


def choice(items: Iterable[Node]) -> Node:
    """Any one; the same one twice is one."""
    different = tuple(dict.fromkeys(items))
    return different[0] if len(different) == 1 else Choice(different)


def optional(item: Node) -> Node:
    return Repeat(item, 0, 1)


def size(node: Node) -> int:
    match node:
        case Literal(text):
            return 1 + len(text)
        case Chars(ranges):
            return 1 + len(ranges)
        case Rule():
            return 1
        case Sequence(items) | Choice(items):
            return 1 + sum(map(size, items))
        case Repeat(item, least, most):
            return 1 + size(item) * max(1, least if most is None else most)
        case _:
            assert_never(node)


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Every character but these, surrogates left out: they are no characters."""
    gaps = []
    start = 0
    for low, high in union([*ranges, SURROGATES]):
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= MAX_CODE_POINT:
        gaps.append((start, MAX_CODE_POINT))
    return tuple(gaps)


def without(ranges: Ranges, taken: Iterable[tuple[int, int]]) -> Ranges:
    return complement(union([*complement(ranges), *taken]))


def contains(ranges: Ranges, point: int) -> bool:
    return any(low <= point <= high for low, high in ranges)


def _write(node: Node) -> str:
    match node:
        case Literal(text):
            return '"' + "".join(map(_write_literal_char, text)) + '"'
        case Chars(ranges):
            return "[" + "".join(map(_write_range, ranges)) + "]"
        case Rule(name):
            return name
        case Sequence(items):
            return "(" + " ".join(map(_write, items)) + ")" if items else '""'
        case Choice(items):
            return "(" + " | ".join(map(_write, items)) + ")"
        case Repeat(item, least, most):
            inner = f"({_write(item)})" if isinstance(item, Repeat) else _write(item)
            return inner + _write_bounds(least, most)
        case _:
            assert_never(node)


def _write_bounds(least: int, most: int | None) -> str:
    match least, most:
        case 0, None:
            return "*"
        case 1, None:
            return "+"
        case 0, 1:
            return "?"
        case _:
            return f"{{{least},{'' if most is None else most}}}"


def _write_literal_char(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if " " <= char <= "~" else _write_point(ord(char))


def _write_range(bounds: tuple[int, int]) -> str:
    low, high = bounds
    return _write_class_char(low) + (f"-{_write_class_char(high)}" if high > low else "")


def _write_class_char(point: int) -> str:
    char = chr(point)
    return char if char.isascii() and char.isalnum() else _write_point(point)


def _write_point(point: int) -> str:
    if point < 0x100:
        return f"\\x{point:02X}"
    return f"\\u{point:04X}" if point < 0x10000 else f"\\U{point:08X}"
