"""Tool calls with a model whose template knows none.

The tools stand in the system text. A call that must come is forced by grammar, and read as it comes; a
call that may come is written between markers, or as a bare JSON object, and text is held back for only
as long as it may still turn out to be one.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Literal as OneOf

import msgspec

from dragoman.chat import Tool, ToolCall, ToolResult
from dragoman.engine.grammar import Grammar, Literal, Node, Repeat, Rule, choice, sequence
from dragoman.engine.json_text import COMMA, SPACE
from dragoman.engine.schema_grammar import complete_grammar, schema_rules
from dragoman.engine.schema_text import Schema, UnsupportedSchema, read_schema

CALL_START, CALL_END = "<tool_call>", "</tool_call>"
MAX_PARALLEL_CALLS = 8
MAX_HELD_CHARS = 64 * 1024
"""What might be a call, and is longer than this, is text."""

_ARGUMENTS = '","arguments":'


def new_call_id() -> str:
    return "call_" + secrets.token_hex(12)


class _OfferedTool(msgspec.Struct, omit_defaults=True):
    name: str
    parameters: msgspec.Raw
    description: str | None = None


class WrittenCall(msgspec.Struct):
    """A call as the model writes it. `parameters`: what small models call the arguments."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


_encode = msgspec.json.Encoder().encode
_decode_call = msgspec.json.Decoder(WrittenCall).decode
_decode_calls = msgspec.json.Decoder(list[WrittenCall]).decode


# --- In the prompt ------------------------------------------------------------------------------


def describe_tools(tools: Sequence[Tool], *, must_call: bool) -> str:
    """What the system text says of the tools."""
    listed = "\n".join(
        _encode(_OfferedTool(tool.name, compact(tool.parameters), tool.description)).decode()
        for tool in tools
    )
    how = (
        "Answer with a function call and nothing else."
        if must_call
        else "Call a function only if it is needed; otherwise answer in plain text."
    )
    return (
        "You can call these functions, one JSON object a line:\n"
        f"{listed}\n"
        f'To call one, write {CALL_START}{{"name": "NAME", "arguments": {{…}}}}{CALL_END}. {how}'
    )


def compact(raw: msgspec.Raw) -> msgspec.Raw:
    """The same JSON without blanks: every one of them would be paid for in tokens."""
    return msgspec.Raw(_encode(msgspec.json.decode(raw)))


def describe_call(call: ToolCall) -> str:
    """An earlier call, as the model would have written it."""
    name = _encode(call.name).decode()
    return f'{CALL_START}{{"name": {name}, "arguments": {call.arguments or "{}"}}}{CALL_END}'


def describe_result(result: ToolResult, name: str | None) -> str:
    """What a tool answered, as a turn that the model can read."""
    text = "".join(part.text for part in result.parts if hasattr(part, "text"))
    of = f" of {name}" if name else ""
    kind = "Error" if result.is_error else "Result"
    return f"{kind}{of}: {text}"


# --- Forced by grammar --------------------------------------------------------------------------


def calls_grammar(tools: Sequence[Tool], schemas: Sequence[Schema], *, parallel: bool) -> Grammar:
    """Exactly one call, or with `parallel` an array of some; raises `BadParameters`."""
    rules: dict[str, Node] = {}
    calls = []
    for i, (tool, schema) in enumerate(zip(tools, schemas, strict=True)):
        name = f"arguments-{i}"
        try:
            rules.update(schema_rules(_object_schema(schema), name))
        except UnsupportedSchema as error:
            raise BadParameters(i, error) from error
        head = '{"name":' + _encode(tool.name).decode() + ',"arguments":'
        calls.append(sequence(Literal(head), Rule(name), Literal("}")))
    one = choice(calls)
    if not parallel:
        rules["root"] = one
    else:
        rules["call"] = one
        more = Repeat(sequence(COMMA, Rule("call")), 0, MAX_PARALLEL_CALLS - 1)
        rules["root"] = sequence(Literal("["), SPACE, Rule("call"), more, Literal("]"))
    try:
        return complete_grammar(rules)
    except UnsupportedSchema as error:
        raise BadParameters(None, error) from error


class BadParameters(Exception):
    """The schema of tool `index` cannot be enforced; `None`: all of them together are too much."""

    def __init__(self, index: int | None, error: UnsupportedSchema) -> None:
        super().__init__(str(error))
        self.index = index
        self.error = error


def _object_schema(schema: Schema) -> Schema:
    """Arguments are an object, even where the schema does not say so."""
    return (
        schema
        if schema.keys() & {"type", "$ref", "allOf", "anyOf", "oneOf"}
        else {**schema, "type": "object"}
    )


class CallBegun(msgspec.Struct, frozen=True):
    name: str


class CallArguments(msgspec.Struct, frozen=True):
    text: str


class CallEnded(msgspec.Struct, frozen=True):
    pass


class PlainText(msgspec.Struct, frozen=True):
    text: str


Read = CallBegun | CallArguments | CallEnded | PlainText


class ForcedCallReader:
    """Reads what `calls_grammar` allows, as it comes: arguments are passed on piece by piece."""

    def __init__(self) -> None:
        self._head = ""
        self._state: OneOf["head", "arguments"] = "head"
        self._depth = 0
        self._in_string = False
        self._is_escaped = False

    def feed(self, text: str) -> list[Read]:
        found: list[Read] = []
        while text:
            text = (
                self._read_head(text, found) if self._state == "head" else self._pass(text, found)
            )
        return found

    def finish(self) -> list[Read]:
        """What is open when the text ends early."""
        if self._state == "head":
            return []
        self._state = "head"
        return [CallEnded()]

    def _read_head(self, text: str, found: list[Read]) -> str:
        """Up to the arguments; what stands between calls is thrown away with it."""
        self._head += text
        marker = self._head.find(_ARGUMENTS)
        if marker < 0:
            return ""
        start = self._head.index('{"name":"')
        end = marker + len(_ARGUMENTS)
        name: str = msgspec.json.decode(self._head[start + 8 : marker + 1])
        rest = self._head[end:]
        self._head = ""
        self._state = "arguments"
        self._depth = 0
        found.append(CallBegun(name))
        return rest

    def _pass(self, text: str, found: list[Read]) -> str:
        """Pass arguments on, up to the bracket that closes them."""
        for i, char in enumerate(text):
            if self._in_string:
                if self._is_escaped:
                    self._is_escaped = False
                elif char == "\\":
                    self._is_escaped = True
                elif char == '"':
                    self._in_string = False
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    found += [CallArguments(text[: i + 1]), CallEnded()]
                    self._state = "head"
                    return text[i + 1 :]
        found.append(CallArguments(text))
        return ""


# --- Perhaps ------------------------------------------------------------------------------------


class PossibleCallReader:
    """Tells text from calls in an answer that may hold either."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._held = ""
        self._has_spoken = False
        self._after_call = False

    def feed(self, text: str) -> list[Read]:
        self._held += text
        found: list[Read] = []
        while self._held:
            before = self._held
            found += self._step()
            if self._held == before:
                break
        return found

    def finish(self) -> list[Read]:
        """The answer is over: what is still held is a call that lacks its end marker, or text."""
        held, self._held = self._held, ""
        calls = self._parse(held.strip().removeprefix(CALL_START).removesuffix(CALL_END))
        if calls:
            return calls
        return [PlainText(held)] if held and not (self._after_call and held.isspace()) else []

    def _step(self) -> list[Read]:
        """Take what is certain off the held text's front."""
        if self._after_call:
            self._held = self._held.lstrip()
        start = self._held.find(CALL_START)
        if start == 0:
            return self._marked()
        if start > 0:
            return self._release(start)
        is_short = len(self._held) < MAX_HELD_CHARS
        if not self._has_spoken and is_short and self._may_be_bare(self._held):
            # It ends with the answer: `finish` reads it.
            return []
        return self._release(len(self._held) - _overhang(self._held))

    def _release(self, count: int) -> list[Read]:
        text, self._held = self._held[:count], self._held[count:]
        if not text:
            return []
        self._has_spoken = True
        self._after_call = False
        return [PlainText(text)]

    def _marked(self) -> list[Read]:
        end = self._held.find(CALL_END)
        if end < 0:
            return self._release(len(self._held)) if len(self._held) > MAX_HELD_CHARS else []
        calls = self._parse(self._held[len(CALL_START) : end])
        if not calls:
            return self._release(end + len(CALL_END))
        self._held = self._held[end + len(CALL_END) :]
        self._has_spoken = self._after_call = True
        return calls

    def _may_be_bare(self, text: str) -> bool:
        """Whether `text` may be the start of a bare call: an object that begins with a tool's name."""
        dense = "".join(text.split())
        if dense.startswith("["):
            dense = dense[1:]
        opening = '{"name":"'
        if len(dense) < len(opening):
            return opening.startswith(dense)
        if not dense.startswith(opening):
            return False
        name = dense[len(opening) :].partition('"')
        known = ("".join(each.split()) for each in self._names)
        if name[1]:
            return name[0] in known
        return any(each.startswith(name[0]) for each in known)

    def _parse(self, text: str) -> list[Read]:
        text = text.strip()
        try:
            calls = _decode_calls(text) if text.startswith("[") else [_decode_call(text)]
        except (msgspec.DecodeError, RecursionError):
            return []
        found: list[Read] = []
        for call in calls:
            written = (bytes(call.arguments) or bytes(call.parameters) or b"{}").decode()
            if call.name not in self._names or not written.startswith("{"):
                return []
            found += [CallBegun(call.name), CallArguments(written), CallEnded()]
        return found


def _overhang(text: str) -> int:
    """How many of the last characters may be the beginning of the start marker."""
    for length in range(min(len(text), len(CALL_START) - 1), 0, -1):
        if CALL_START.startswith(text[-length:]):
            return length
    return 0


def schemas_of(tools: Sequence[Tool]) -> list[Schema]:
    """The tools' parameters, which the guard has found to be objects."""
    schemas = []
    for tool in tools:
        schema = read_schema(bytes(tool.parameters))
        assert isinstance(schema, dict)
        schemas.append(schema)
    return schemas
