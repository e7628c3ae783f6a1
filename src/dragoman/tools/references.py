"""Values of headers and environment variables, secret ones found by reference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dragoman.tools.outcomes import ToolFault

ResolveSecret = Callable[[str], str]
"""Returns what a reference (`env:NAME`, `file:PATH`) refers to; raises `LookupError`, whose message
names the reference and never its content."""

HIDDEN = "[secret]"
# Shorter values are no secrets that a text could be searched for.
MIN_HIDDEN_CHARS = 6
REREAD_S = 1.0

Pairs = tuple[tuple[str, str], ...]


class ReferredValues:
    """Named values of one tool server. Files are read in a thread, at most once a second."""

    def __init__(self, pairs: Pairs, resolve: ResolveSecret) -> None:
        self._pairs = pairs
        self._resolve = resolve
        self._values: Pairs = ()
        self._secrets: tuple[str, ...] = ()
        self._read_s: float | None = None
        self._has_files = any(value.startswith("file:") for _, value in pairs)

    def __repr__(self) -> str:
        return f"ReferredValues({[name for name, _ in self._pairs]!r})"

    async def read(self) -> Pairs:
        """Every name with its value. Raises `ToolFault` where a reference leads nowhere."""
        now_s = asyncio.get_running_loop().time()
        if self._read_s is not None and (not self._has_files or now_s - self._read_s < REREAD_S):
            return self._values
        try:
            found = await asyncio.to_thread(self._find) if self._has_files else self._find()
        except LookupError as error:
            if self._read_s is not None:
                # Between two steps of a rotation the last value holds.
                return self._values
            raise NotSetUp(str(error)) from error
        self._values = found
        self._secrets = secrets_of(self._pairs, found)
        self._read_s = now_s
        return found

    def _find(self) -> Pairs:
        return tuple(
            [
                (name, self._resolve(value) if is_reference(value) else value)
                for name, value in self._pairs
            ]
        )

    def scrub(self, text: str) -> str:
        """`text` without our secrets: servers repeat what they were sent."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


class NotSetUp(ToolFault):
    """A reference leads nowhere. `reason` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__("unreachable", "The tool's server is not set up.")
        self.reason = reason


def secrets_of(pairs: Sequence[tuple[str, str]], found: Pairs) -> tuple[str, ...]:
    """The values that were referred to, longest first."""
    secrets = [
        value
        for (_, given), (_, value) in zip(pairs, found, strict=True)
        if is_reference(given) and len(value) >= MIN_HIDDEN_CHARS
    ]
    return tuple(sorted(secrets, key=len, reverse=True))


def is_reference(value: str) -> bool:
    """Whether `value` refers to a secret rather than being a plain value."""
    return value.startswith(("env:", "file:"))
