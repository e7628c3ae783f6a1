"""Ids: unguessable, unique, and cheap.

The kernel is asked for many random bytes at once, because asking costs more than the bytes.
"""

from __future__ import annotations

import os

BYTES_AT_ONCE = 8192
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdefABCDEF"}


class RandomHex:
    """Hexadecimal digits, none of which is ever given out twice. Belongs to one thread."""

    __slots__ = ("_at", "_digits")

    def __init__(self) -> None:
        self._digits = ""
        self._at = 0

    def draw(self, count: int) -> str:
        """`count` digits, at most 16,384: four random bits each."""
        end = self._at + count
        if end > len(self._digits):
            self._digits = os.urandom(BYTES_AT_ONCE).hex()
            self._at, end = 0, count
        digits = self._digits[self._at : end]
        self._at = end
        return digits


def request_id(unix_s: float, noise: str) -> str:
    """`req_`, eight digits that rise 256 times a second, and `noise`: 16 random digits.

    What comes together lies together in the indexes of what is kept, so that many records dirty few
    of their pages. The random part is what nobody guesses; the rest returns after half a year.
    """
    return f"req_{int(unix_s * 256) & 0xFFFFFFFF:08x}{noise}"


def uuid4(noise: str) -> str:
    """A version 4 UUID (RFC 9562, 5.4) of 32 random hexadecimal digits."""
    variant = _VARIANTS[noise[16]]
    return f"{noise[:8]}-{noise[8:12]}-4{noise[13:16]}-{variant}{noise[17:20]}-{noise[20:]}"
