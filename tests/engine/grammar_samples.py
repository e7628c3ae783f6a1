"""Texts that a grammar allows, drawn at random: what a model without any sense would write."""

from __future__ import annotations

import random

from dragoman.engine.grammar import Chars, Choice, Grammar, Literal, Node, Repeat, Rule, Sequence

DEEP = 25


class Sampler:
    """Short texts mostly; deep recursion is cut where the grammar lets it be."""

    def __init__(self, grammar: Grammar, seed: int) -> None:
        self._rules = grammar.rules
        self._random = random.Random(seed)

    def text(self) -> str:
        return self._draw(self._rules["root"], 0)

    def _draw(self, node: Node, depth: int) -> str:
        match node:
            case Literal(text):
                return text
            case Chars(ranges):
                low, high = self._random.choice(ranges)
                return chr(self._random.randint(low, min(high, low + 200)))
            case Rule(name):
                if depth > DEEP and name == "value":
                    return "null"
                return self._draw(self._rules[name], depth + 1)
            case Sequence(items):
                return "".join(self._draw(item, depth) for item in items)
            case Choice(items):
                return self._draw(self._random.choice(items), depth)
            case Repeat(item, least, most):
                longest = least + (0 if depth > DEEP else 4)
                count = self._random.randint(least, longest if most is None else min(most, longest))
                return "".join(self._draw(item, depth) for _ in range(count))
