"""Checks a table of settings against its type, with messages that a person can act on."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import msgspec

from dragoman.config.settings import ConfigError

MAX_SHOWN_CHARS = 60
_SECRET_WORDS = ("api_key", "authorization", "cookie", "password", "secret", "token", "key")
_NOT_SECRET = frozenset({"max_tokens_field", "context_tokens", "max_output_tokens"})

_PATTERNS = {
    r"^[a-z0-9][a-z0-9_-]{0,63}\Z": "up to 64 lower-case letters, digits, - and _, no - or _ first",
    r"^[A-Za-z0-9_.-]{1,64}\Z": "up to 64 letters, digits, _, . and -",
}
"""What texts look like that match."""


def check_table(table: dict[str, Any], section: type[msgspec.Struct], path: str = "") -> None:
    """Raise `ConfigError` at the first key of `table` that `section` does not know or allow."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(section)}
    for key, value in table.items():
        where = f"{path}.{key}" if path else key
        field = fields.get(key)
        if field is None:
            raise ConfigError(f"{where} is not a setting; {suggest(key, fields)}")
        _check_value(value, field.type, where)
    for name, field in fields.items():
        if field.required and name not in table:
            raise ConfigError(f"{path}.{name} is missing; add it" if path else f"{name} is missing")


def _check_value(value: Any, wanted: Any, where: str) -> None:
    section = section_of(wanted)
    if section is not None and isinstance(value, dict):
        # What is wrong within is told first: the brackets are mended along with it.
        check_table(value, section, where)
        if is_list_of_sections(wanted):
            raise ConfigError(f"{where} must be a list of tables; write [[{where}]]")
        return
    if section is not None and isinstance(value, list) and is_list_of_sections(wanted):
        _check_length(value, wanted, where)
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                raise ConfigError(f"{where}[{index}] must be a table, [[{where}]]")
            check_table(item, section, f"{where}[{index}]")
        return
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        raise ConfigError(
            f"{where} is {show_value(where, value)}; use {describe_type(wanted)}"
        ) from None


def _check_length(items: list[Any], wanted: Any, where: str) -> None:
    info = _info(wanted)
    assert isinstance(info, msgspec.inspect.VarTupleType)
    if info.max_length is not None and len(items) > info.max_length:
        raise ConfigError(f"{where} has {len(items)} tables; use up to {info.max_length}")


def convert_text(name: str, text: str, wanted: Any) -> Any:
    """The value of type `wanted` that `text`, from the environment or the command line, stands for.

    Lists are separated by commas.
    """
    given: Any = text
    if isinstance(_info(wanted), msgspec.inspect.VarTupleType):
        given = [item.strip() for item in text.split(",") if item.strip()]
    try:
        return msgspec.convert(given, wanted, strict=False)
    except msgspec.ValidationError:
        raise ConfigError(
            f"{name} is {show_value(name, text)}; use {describe_type(wanted)}"
        ) from None


def is_secret_name(name: str) -> bool:
    """Whether a setting, header or query parameter so named is likely to hold a secret."""
    name = name.lower().replace("-", "_")
    return name not in _NOT_SECRET and any(name.endswith(word) for word in _SECRET_WORDS)


def show_value(where: str, value: Any) -> str:
    """`value` for an error message: cut short, and hidden where it may be a secret."""
    name = where.rpartition(".")[2]
    # A setting that is called just `key` names something; a table may hold anything.
    if (is_secret_name(name) and name != "key") or isinstance(value, dict):
        return "not of the right form"
    shown = str(value).lower() if isinstance(value, Decimal) else repr(value)
    return shown if len(shown) <= MAX_SHOWN_CHARS else shown[: MAX_SHOWN_CHARS - 1] + "…"


def suggest(word: str, known: Iterable[str]) -> str:
    """The nearest of `known`, or all of them, as the end of an error message."""
    names = sorted(known)
    by_lower = {name.lower(): name for name in names}
    near = get_close_matches(word.lower(), by_lower, n=1)
    if near:
        return f"did you mean {by_lower[near[0]]}?"
    return f"use one of {', '.join(names)}" if names else "there is none to choose from"


# --- Types, in words ----------------------------------------------------------------------------


def _info(wanted: Any) -> msgspec.inspect.Type:
    info = msgspec.inspect.type_info(wanted)
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.UnionType):
        # `T | None`: TOML has no null, so only T can be written.
        (info,) = [t for t in info.types if not isinstance(t, msgspec.inspect.NoneType)]
        while isinstance(info, msgspec.inspect.Metadata):
            info = info.type
    return info


def section_of(wanted: Any) -> type[msgspec.Struct] | None:
    """The Struct that `wanted` is, may be, or is a list of."""
    info = _info(wanted)
    if isinstance(info, msgspec.inspect.VarTupleType):
        info = info.item_type
    return info.cls if isinstance(info, msgspec.inspect.StructType) else None


def is_list_of_sections(wanted: Any) -> bool:
    return isinstance(_info(wanted), msgspec.inspect.VarTupleType)


def describe_type(wanted: Any) -> str:
    """The values that `wanted` allows, in words: "a whole number from 0 to 65535"."""
    return _describe(_info(wanted))


def _describe(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.Metadata():
            return _describe(info.type)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType():
            return "a whole number" + _describe_bounds(info)
        case msgspec.inspect.FloatType():
            return "a number" + _describe_bounds(info)
        case msgspec.inspect.DecimalType():
            return "a number"
        case msgspec.inspect.AnyType():
            return "any value"
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return _PATTERNS[pattern]
        case msgspec.inspect.StrType():
            return (
                "text" if info.max_length is None else f"text of up to {info.max_length} characters"
            )
        case msgspec.inspect.LiteralType():
            return "one of " + ", ".join(f'"{value}"' for value in sorted(map(str, info.values)))
        case msgspec.inspect.VarTupleType() | msgspec.inspect.FrozenSetType():
            if isinstance(info.item_type, msgspec.inspect.StructType):
                return "tables"
            return f"a list, each {_describe(info.item_type)}"
        case msgspec.inspect.DictType(value_type=msgspec.inspect.AnyType()):
            return "a table"
        case msgspec.inspect.DictType():
            return "a table of text"
        case msgspec.inspect.StructType():
            return "a table"
        case _:
            raise AssertionError(f"no words for {info!r}")


def _describe_bounds(info: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> str:
    if info.gt is not None:
        return f" over {info.gt:g}" + ("" if info.le is None else f", up to {info.le:.12g}")
    if info.ge is not None:
        return (
            f", {info.ge:g} or more" if info.le is None else f" from {info.ge:g} to {info.le:.12g}"
        )
    return ""
