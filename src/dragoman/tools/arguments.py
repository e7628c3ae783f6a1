"""Arguments of a call: JSON text that a model wrote, and a schema that it may have broken."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from dragoman.tools.outcomes import ToolFault

MAX_ARGUMENT_BYTES = 1 << 20
MAX_NAMED_ERRORS = 5
MAX_ERROR_CHARS = 300
# Of one compiled pattern.
MAX_PATTERN_BYTES = 1 << 20


def parse_arguments(text: str) -> dict[str, Any]:
    """The object that `text` is; nothing at all is an empty one. Raises `ToolFault`."""
    if not text.strip():
        return {}
    if len(text) > MAX_ARGUMENT_BYTES:
        raise ToolFault("invalid_arguments", "The arguments are too long.")
    try:
        parsed = msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        raise ToolFault("invalid_arguments", "The arguments are not valid JSON.") from None
    if not isinstance(parsed, dict):
        raise ToolFault("invalid_arguments", "The arguments must be a JSON object.")
    return parsed


class _SchemaError(Protocol):
    message: str
    instance_path: list[str | int]


class ArgumentCheck:
    """Checks arguments against a schema that whoever set up the server wrote.

    Nothing is fetched, whatever `$ref` says, and patterns take linear time.
    """

    def __init__(self, schema: bytes) -> None:
        """Raises `ValueError` where `schema` is none."""
        # Not on the way to the server's start.
        import jsonschema_rs  # noqa: PLC0415

        try:
            decoded = msgspec.json.decode(schema)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError("it is not JSON") from error
        self._validator = jsonschema_rs.validator_for(
            decoded,
            retriever=_fetch_nothing,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=MAX_PATTERN_BYTES),
        )

    def check(self, arguments: dict[str, Any]) -> None:
        """Raises `ToolFault`, which names the first errors."""
        try:
            if self._validator.is_valid(arguments):
                return
            errors = [
                _describe(error)
                for error, _ in zip(
                    self._validator.iter_errors(arguments), range(MAX_NAMED_ERRORS), strict=False
                )
            ]
        except ValueError as error:
            # Nested too deeply, or a number beyond what can be compared.
            errors = [str(error)[:MAX_ERROR_CHARS]]
        listed = "; ".join(errors)
        raise ToolFault("invalid_arguments", f"The arguments break the tool's schema: {listed}.")


def _fetch_nothing(uri: str) -> Any:  # noqa: ARG001 - the checker's signature
    raise LookupError("schemas are not fetched")


def _describe(error: _SchemaError) -> str:
    place = ".".join(map(str, error.instance_path))
    text = error.message[:MAX_ERROR_CHARS]
    return f"{place[:MAX_ERROR_CHARS]}: {text}" if place else text
