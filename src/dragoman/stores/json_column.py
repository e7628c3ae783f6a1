"""Columns of JSON text."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from dragoman.errors import InvalidRequest
from dragoman.stores.connection import translated

T = TypeVar("T")

_labels = msgspec.json.Decoder(dict[str, str])
_tags = msgspec.json.Decoder(tuple[str, ...])


class JsonColumn(Generic[T]):
    """Values of one type. What is written can be read again: else a row would stand in the way of all
    that are listed with it."""

    def __init__(self, type_: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(type_)

    def text(self, value: T) -> str:
        """Raises `InvalidRequest` for what is no JSON: lone surrogates, infinite numbers."""
        with translated():
            text = msgspec.json.encode(value).decode()
        if not self._is_read_as(text, value):
            raise InvalidRequest(
                "A value cannot be stored as JSON as it is: numbers must be finite."
            )
        return text

    def value(self, text: str) -> T:
        return self._decoder.decode(text)

    def _is_read_as(self, text: str, value: T) -> bool:
        try:
            return self._decoder.decode(text) == value
        except msgspec.DecodeError:
            return False


def raw_text(value: msgspec.Raw | None) -> str | None:
    """JSON as it came."""
    return None if value is None else bytes(value).decode()


def raw_value(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())


def labels_of(text: str | None) -> tuple[tuple[str, str], ...]:
    """From a JSON object of strings."""
    return () if text is None else tuple(_labels.decode(text).items())


def tags_of(text: str | None) -> tuple[str, ...]:
    """From a JSON array of strings."""
    return () if text is None else _tags.decode(text)
