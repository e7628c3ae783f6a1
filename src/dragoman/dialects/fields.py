"""Decoding a body into its wire type, with errors that name the field and the remedy.

A wire type is a `msgspec.Struct` with `forbid_unknown_fields=True` and `T | None = None` for each
optional field, so that an explicit `null` means "absent". Unknown fields are no error: the strict
decoder is only the fast path, and finding one leads to the tolerant path, which lists them.
"""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar, cast

import msgspec

from dragoman.errors import InvalidRequest, MalformedBody

T = TypeVar("T", bound=msgspec.Struct)

MAX_IGNORED_FIELDS = 64
MAX_SHOWN_CHARS = 100

_AT_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `([^`]+)`")
_JSON_TYPES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_QUOTED = re.compile(r"`([^`]+)`")

_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class BodyDecoder(Generic[T]):
    """Decodes JSON bodies of one wire type.

    `strict_type` forbids unknown fields at its top; `tolerant_type` is the same type without that.
    """

    __slots__ = ("_known", "_strict", "_tolerant")

    def __init__(self, wire_type: type[T]) -> None:
        self._strict = msgspec.json.Decoder(wire_type)
        tolerant = msgspec.defstruct(
            wire_type.__name__, [], bases=(wire_type,), forbid_unknown_fields=False
        )
        self._tolerant = msgspec.json.Decoder(cast("type[T]", tolerant))
        self._known = frozenset(wire_type.__struct_encode_fields__)

    def decode(self, body: bytes) -> tuple[T, tuple[tuple[str, msgspec.Raw], ...]]:
        """The value, and the top-level fields that its type does not know.

        Raises `MalformedBody` where `body` is no JSON object, and `InvalidRequest` with `param`
        where a field breaks its type.
        """
        try:
            return self._strict.decode(body), ()
        except msgspec.ValidationError as error:
            if "unknown field" not in str(error):
                raise invalid_field(error) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _no_json(error) from None
        try:
            value = self._tolerant.decode(body)
            unknown = [
                (name, raw.copy())
                for name, raw in _raw_fields.decode(body).items()
                # `null` means that the field is absent.
                if name not in self._known and bytes(raw) != b"null"
            ]
        except msgspec.ValidationError as error:
            raise invalid_field(error) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _no_json(error) from None
        return value, tuple(unknown)


def _no_json(error: msgspec.DecodeError | UnicodeError | RecursionError) -> MalformedBody:
    """Say where the text stops being JSON; what stands there is not repeated."""
    match error:
        case UnicodeError():
            reason = "its text is not UTF-8"
        case RecursionError():
            reason = "it is nested too deeply"
        case _:
            reason = str(error).removeprefix("JSON is malformed: ")
            if reason == "Input data was truncated":
                reason = "it ends too early, or a \\u escape lacks the other half of its pair"
    return MalformedBody(f"The body is not valid JSON: {reason}.")


def invalid_field(error: msgspec.ValidationError, prefix: str = "") -> InvalidRequest:
    """Say what msgspec says in the words of the wire: ``messages[0].role is required``.

    `prefix` is the path of the value that was decoded, where it is not the whole body.
    """
    text = str(error)
    at = _AT_PATH.search(text)
    path = prefix
    if at is not None:
        text = text[: at.start()]
        inner = at.group(1)
        path = f"{prefix}.{inner}" if prefix and not inner.startswith("[") else prefix + inner
    missing = _MISSING.match(text)
    if missing is not None:
        path = f"{path}.{missing.group(1)}" if path else missing.group(1)
        return InvalidRequest(f"{path} is required", param=path)
    if not path:
        return MalformedBody()
    if text.startswith("Expected `"):
        names = [
            " or ".join(
                _JSON_TYPES.get(t.strip(), t.strip())
                for t in quoted.split("|")
                if t.strip() != "null"
            )
            for quoted in _QUOTED.findall(text)
        ]
        if len(names) == 2 and ", got " in text:
            got = names[1] or "null"
            return InvalidRequest(f"{path} must be {names[0]}, not {got}", param=path)
    if len(text) > MAX_SHOWN_CHARS:
        # It repeats the client's own value, of any length.
        text = text[:MAX_SHOWN_CHARS] + "…"
    return InvalidRequest(f"{path}: {text[:1].lower()}{text[1:]}", param=path)


def require_range(
    path: str, value: float | None, lowest: float, highest: float | None = None
) -> None:
    """Raise `InvalidRequest` unless `value` is absent or within both bounds; NaN never is."""
    if value is None:
        return
    if highest is None:
        if not value >= lowest:
            raise InvalidRequest(f"{path} must be at least {lowest:.12g}", param=path)
    elif not lowest <= value <= highest:
        bounds = f"between {lowest:.12g} and {highest:.12g}"
        raise InvalidRequest(f"{path} must be {bounds}", param=path)


def require_json_object(path: str, raw: Any) -> None:
    """Raise `InvalidRequest` unless the JSON text `raw` holds an object."""
    if not bytes(raw).lstrip().startswith(b"{"):
        raise InvalidRequest(f"{path} must be an object", param=path)
