"""Prompt templates: text in which `{{name}}` stands for a value that a request brings, and nothing else means
anything.

There is no logic, so rendering runs nothing. A text is cut at its gaps once, and values are put between
the pieces: they are never looked at again, so a value that holds `{{other}}` comes out as it is. Time is
linear in the text and the values, and the outcome is bounded before it is put together.

A name has letters, digits, `_` and `-`, and may be dotted: `{{user.name}}` is what `"user.name"` stands
for among the arguments, or else what `"name"` stands for in the object `"user"`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from dragoman.errors import InvalidRequest
from dragoman.records.template import TemplateArgument, TemplateVersion

MAX_RENDERED_BYTES = 1024 * 1024
MAX_NAMED = 20

# Possessive, so that no text makes it go back over what it has read.
_GAP = re.compile(r"\{\{[ \t]*+([^\W\d][\w-]*+(?:\.[\w-]++)*+)[ \t]*+\}\}")

_Object = dict[str, msgspec.Raw]
_decode_object = msgspec.json.Decoder(_Object).decode
_decode_string = msgspec.json.Decoder(str).decode
_NOTHING: _Object = {}


def names_in(text: str) -> tuple[str, ...]:
    """The names of its gaps, in the order in which they first stand there."""
    return tuple(dict.fromkeys(_GAP.findall(text)))


def arguments_of(
    text: str, declared: Sequence[TemplateArgument] = ()
) -> tuple[TemplateArgument, ...]:
    """One for each name in `text`: as declared, or else one that has to be given.

    Raises `InvalidRequest` where one is declared that is not in `text`, or twice, or with a default of null.
    """
    names = names_in(text)
    by_name: dict[str, TemplateArgument] = {}
    for i, argument in enumerate(declared):
        name, path = argument.name, f"arguments[{i}].name"
        if name in by_name:
            raise InvalidRequest(f"{path} '{name[:100]}' is declared twice", param=path)
        if name not in names:
            known = _listed(names) or "none"
            raise InvalidRequest(
                f"{path} '{name[:100]}' is no argument of the text, which has {known}; write"
                f" {{{{{name[:100]}}}}} where its value belongs, or leave the argument out",
                param=path,
            )
        if argument.default is not None and _is_null(argument.default):
            path = f"arguments[{i}].default"
            raise InvalidRequest(
                f'{path} is null, which stands for no value; use "", or leave it out',
                param=path,
            )
        by_name[name] = argument
    return tuple([by_name.get(name) or TemplateArgument(name=name) for name in names])


def missing_in(version: TemplateVersion, arguments: msgspec.Raw | None) -> tuple[str, ...]:
    """Names of arguments that have to be given and are not. Raises `InvalidRequest` as `render` does."""
    given, defaults = _object_of(arguments), _defaults_of(version)
    return tuple([name for name in names_in(version.text) if _value(name, given, defaults) is None])


def render(version: TemplateVersion, arguments: msgspec.Raw | None) -> str:
    """The text with a value in each gap: a string as it is, all else as JSON without blanks.

    `arguments` is a JSON object; what it has beyond the text's names is ignored, and null stands for
    no value. Raises `InvalidRequest`, its `param` the argument that is missing, or `system_prompt_args`.
    """
    pieces = _GAP.split(version.text)
    if len(pieces) == 1:
        return version.text
    given, defaults = _object_of(arguments), _defaults_of(version)
    values: dict[str, str] = {}
    sizes: dict[str, int] = {}
    size = sum([len(piece.encode()) for piece in pieces[::2]])
    for i in range(1, len(pieces), 2):
        name = pieces[i]
        if name not in values:
            value = _value(name, given, defaults)
            if value is None:
                raise _missing(version, arguments)
            values[name], sizes[name] = value, len(value.encode())
        size += sizes[name]
        if size > MAX_RENDERED_BYTES:
            raise InvalidRequest(
                "system_prompt_args make the system prompt longer than the"
                f" {MAX_RENDERED_BYTES} bytes that it may have; shorten them",
                param="system_prompt_args",
            )
        pieces[i] = values[name]
    return "".join(pieces)


def _missing(version: TemplateVersion, arguments: msgspec.Raw | None) -> InvalidRequest:
    names = missing_in(version, arguments)
    first = names[0]
    others = f" (so are {_listed(names[1:])})" if len(names) > 1 else ""
    return InvalidRequest(
        f"system_prompt_args.{first} is missing{others}: the system prompt of this project's model"
        " has a place for it, and no default",
        param=f"system_prompt_args.{first}",
    )


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > MAX_NAMED else ""
    return ", ".join([f"'{name[:100]}'" for name in names[:MAX_NAMED]]) + more


def _object_of(arguments: msgspec.Raw | None) -> _Object:
    if arguments is None:
        return _NOTHING
    try:
        return _decode_object(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(
            "system_prompt_args must be an object", param="system_prompt_args"
        ) from error


def _defaults_of(version: TemplateVersion) -> _Object:
    return {each.name: each.default for each in version.arguments if each.default is not None}


def _value(name: str, given: _Object, defaults: _Object) -> str | None:
    """`None`: there is none."""
    raw = _look_up(name, given)
    if raw is None:
        raw = defaults.get(name)
        if raw is None or _is_null(raw):
            return None
    try:
        if bytes(raw)[:1] == b'"':
            return _decode_string(raw)
        # Numbers stay as they were written: no digit is lost.
        return msgspec.json.format(bytes(raw), indent=-1).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        path = f"system_prompt_args.{name}"
        raise InvalidRequest(f"{path} cannot be read as JSON", param=path) from error


def _look_up(name: str, given: _Object) -> msgspec.Raw | None:
    found = given.get(name)
    if found is not None and not _is_null(found):
        return found
    first, dot, rest = name.partition(".")
    if not dot:
        return None
    found = given.get(first)
    while found is not None:
        if bytes(found)[:1] != b"{":
            return None
        first, dot, rest = rest.partition(".")
        found = _object_of(found).get(first)
        if not dot:
            break
    return None if found is None or _is_null(found) else found


def _is_null(raw: msgspec.Raw) -> bool:
    return bytes(raw) == b"null"
