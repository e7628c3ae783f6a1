"""Columns of JSON text."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from dragoman.errors import InvalidRequest
from dragoman.stores.connection import translated

T = TypeVar("T")


class JsonColumn(Generic[T]):
    """Values of one type. What is written can be read again: else a row would stand in the way of all
    that are listed with it."""

    def __init__(self, type_: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(type_)

    def text(self, value: T) -> str:
        """Raises `InvalidRequest` for what is no JSON: lone surrogates, infinite numbers."""
        with translated():
            text = msgspec.json.encode(value).decode()
        try:
            self._decoder.decode(text)
        except msgspec.ValidationError as error:
            raise InvalidRequest(
                f"A value cannot be stored as JSON: {error}; numbers must be finite."
            ) from error
        return text

    def value(self, text: str) -> T:
        return self._decoder.decode(text)


def raw_text(value: msgspec.Raw | None) -> str | None:
    """JSON as it came."""
    with translated():
        return None if value is None else bytes(value).decode()


def raw_value(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
