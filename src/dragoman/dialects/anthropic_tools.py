"""What `anthropic` and `dreamsolve` share of tools: their declaration, choice, ids and inputs.

Tool ids and tool inputs are mapped both ways, so that whatever a model of any provider produced can be
shown to a client of this wire format, and comes back as it was: see `wire_tool_id` and `tool_input`.

Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dragoman.chat import AUTO_TOOL_CHOICE, CacheTTL, Tool, ToolChoice
from dragoman.dialects.fields import require_json_object
from dragoman.errors import InvalidRequest, MalformedBody

# --- Prompt caching -----------------------------------------------------------------------------


class CacheControl(msgspec.Struct):
    """Marks the end of a prompt's part that is worth caching."""

    type: Literal["ephemeral"]
    ttl: CacheTTL | None = None


def cache_ttl(control: CacheControl | None) -> CacheTTL | None:
    return None if control is None else control.ttl or "5m"


# --- Tool ids -----------------------------------------------------------------------------------

_NATIVE_ID = "toolu_"
_PLAIN_ID = "toolu_id_"
_CODED_ID = "toolu_b64_"


def is_plain_name(text: str) -> bool:
    """Whether `text` is made of ASCII letters, digits, `_` and `-` alone, and not empty."""
    return text.isascii() and text.replace("_", "a").replace("-", "a").isalnum()


def coded_tool_id(call_id: str) -> str:
    """Any id, in the characters that this wire format allows."""
    return _CODED_ID + base64.urlsafe_b64encode(call_id.encode()).decode().rstrip("=")


def wire_tool_id(call_id: str) -> str:
    """The id that a client is shown: Anthropic's own as it is, any other's marked or coded.

    Nothing has to be remembered: `canonical_tool_id` takes it back to `call_id`.
    """
    if not is_plain_name(call_id):
        return coded_tool_id(call_id)
    if call_id.startswith(_NATIVE_ID) and not call_id.startswith((_PLAIN_ID, _CODED_ID)):
        return call_id
    return _PLAIN_ID + call_id


def canonical_tool_id(wire_id: str) -> str:
    if wire_id.startswith(_PLAIN_ID):
        return wire_id[len(_PLAIN_ID) :]
    if wire_id.startswith(_CODED_ID):
        coded = wire_id[len(_CODED_ID) :]
        try:
            return base64.b64decode(
                coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True
            ).decode()
        except (binascii.Error, ValueError):
            return wire_id
    return wire_id


# --- Tool inputs --------------------------------------------------------------------------------

_INVALID = "INVALID_JSON"
_INVALID_START = '{"' + _INVALID
_EMPTY_INPUT = msgspec.Raw(b"{}")


class _InvalidInput(msgspec.Struct, forbid_unknown_fields=True):
    text: str = msgspec.field(name=_INVALID)


_json_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_invalid_input = msgspec.json.Decoder(_InvalidInput)


def tool_input(arguments: str) -> msgspec.Raw:
    """The JSON object that a tool call shows for the `arguments` that a model wrote.

    They stay as written where they are an object. Where they are not (a small model's slip, or an
    answer cut at its length), they are wrapped as `{"INVALID_JSON": "<text>"}`: the form that
    Anthropic gives for input that does not parse. The client's tool then finds its own fields
    missing and says so, instead of running on half an input.
    https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming
    """
    try:
        text = arguments.encode()
        _json_object.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Some providers write nothing, or `null`, for a function without parameters.
        if arguments.strip() in ("", "null"):
            return _EMPTY_INPUT
        return msgspec.Raw(invalid_tool_input(arguments).encode())
    return msgspec.Raw(text)


def invalid_tool_input(arguments: str) -> str:
    return f'{{"{_INVALID}":{msgspec.json.encode(arguments).decode()}}}'


def arguments_of(wire_input: msgspec.Raw) -> str | None:
    """What `tool_input` was made from; `None` where it is no object."""
    try:
        text = bytes(wire_input).decode()
        if text.startswith(_INVALID_START):
            return _invalid_input.decode(text).text
    except UnicodeError:
        raise MalformedBody from None
    except msgspec.ValidationError:
        pass
    return text if text.startswith("{") else None


# --- Tools --------------------------------------------------------------------------------------


class ToolParam(msgspec.Struct):
    """A function that the model may ask the client to call."""

    name: str
    input_schema: Annotated[
        msgspec.Raw, Meta(description="A JSON Schema of type `object`: the tool's parameters.")
    ] = msgspec.field(default_factory=msgspec.Raw)
    description: str | None = None
    type: Annotated[str | None, Meta(description="`custom`, or nothing.")] = None
    cache_control: CacheControl | None = None
    strict: bool | None = None
    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: list[Any] | None = None

    def hints(self) -> list[str]:
        """Names of the given fields that tune how Anthropic runs a tool, and nothing else does."""
        return [
            name
            for name, is_given in (
                ("allowed_callers", self.allowed_callers not in (None, [], ["direct"])),
                ("defer_loading", bool(self.defer_loading)),
                ("eager_input_streaming", self.eager_input_streaming is not None),
                ("input_examples", bool(self.input_examples)),
            )
            if is_given
        ]


class ToolChoiceAuto(msgspec.Struct, tag="auto", tag_field="type"):
    """The model decides."""

    disable_parallel_tool_use: bool | None = None


class ToolChoiceAny(msgspec.Struct, tag="any", tag_field="type"):
    """At least one tool is called."""

    disable_parallel_tool_use: bool | None = None


class ToolChoiceTool(msgspec.Struct, tag="tool", tag_field="type"):
    """The named tool is called."""

    name: str
    disable_parallel_tool_use: bool | None = None


class ToolChoiceNone(msgspec.Struct, tag="none", tag_field="type"):
    """No tool is called."""


ToolChoiceParam = ToolChoiceAuto | ToolChoiceAny | ToolChoiceTool | ToolChoiceNone

MAX_TOOL_NAME = 128


def decode_tools(tools: list[ToolParam]) -> tuple[Tool, ...]:
    decoded = []
    names = set()
    for i, tool in enumerate(tools):
        if tool.type is not None and tool.type != "custom":
            raise InvalidRequest(
                f"tools[{i}].type '{tool.type[:60]}' is run by Anthropic, not here;"
                " leave this tool out, or describe one of your own with an input_schema",
                param=f"tools[{i}].type",
            )
        name = tool.name
        if len(name) > MAX_TOOL_NAME or not is_plain_name(name):
            raise InvalidRequest(
                f"tools[{i}].name must be 1 to {MAX_TOOL_NAME} letters, digits, '_' or '-'",
                param=f"tools[{i}].name",
            )
        if name in names:
            raise InvalidRequest(
                f"tools[{i}].name '{name}' is given twice", param=f"tools[{i}].name"
            )
        names.add(name)
        decoded.append(
            Tool(
                name=name,
                description=tool.description,
                parameters=_json_schema(f"tools[{i}].input_schema", tool.input_schema),
                strict=tool.strict,
                cache=cache_ttl(tool.cache_control),
            )
        )
    return tuple(decoded)


def _json_schema(path: str, raw: msgspec.Raw) -> msgspec.Raw:
    text = bytes(raw)
    if text in (b"", b"null"):
        raise InvalidRequest(f"{path} is required", param=path)
    require_json_object(path, text)
    if not text.isascii():
        try:
            text.decode()
        except UnicodeError:
            raise MalformedBody from None
    return msgspec.Raw(text)


def decode_tool_choice(
    choice: ToolChoiceParam | str | None, tools: tuple[Tool, ...]
) -> tuple[ToolChoice, bool | None]:
    """The choice, and whether several calls at once are allowed (`None`: nothing said)."""
    match choice:
        case None | "auto":
            return AUTO_TOOL_CHOICE, None
        case "none" | ToolChoiceNone():
            return ToolChoice("none"), None
        case ToolChoiceAuto():
            return AUTO_TOOL_CHOICE, _parallel(choice.disable_parallel_tool_use)
        case "any" | ToolChoiceAny():
            if not tools:
                raise InvalidRequest(
                    "tool_choice 'any' needs tools to choose from", param="tool_choice"
                )
            disabled = None if isinstance(choice, str) else choice.disable_parallel_tool_use
            return ToolChoice("required"), _parallel(disabled)
        case ToolChoiceTool(name=name):
            if all(tool.name != name for tool in tools):
                raise InvalidRequest(
                    f"tool_choice.name '{name[:MAX_TOOL_NAME]}' is none of the tools",
                    param="tool_choice.name",
                )
            return ToolChoice("named", name), _parallel(choice.disable_parallel_tool_use)
        case _:
            raise InvalidRequest(
                f"tool_choice '{choice[:40]}' is unknown; use 'auto', 'any' or 'none'",
                param="tool_choice",
            )


def _parallel(is_disabled: bool | None) -> bool | None:
    return False if is_disabled else None
