"""From a canonical request to the engine's question: what the model reads, and what it may write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal as OneOf

import msgspec

from dragoman.chat import (
    ChatRequest,
    Message,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from dragoman.engine import guard
from dragoman.engine.grammar import Grammar, Literal, Node, Rule, choice, sequence
from dragoman.engine.schema_grammar import complete_grammar, schema_rules
from dragoman.engine.schema_text import UnsupportedSchema
from dragoman.errors import InvalidRequest
from dragoman.providers.local_calls import (
    CALL_END,
    CALL_START,
    BadParameters,
    calls_grammar,
    describe_call,
    describe_result,
    describe_tools,
    schemas_of,
)
from dragoman.providers.local_wire import (
    WireCall,
    WireFunction,
    WireMessage,
    WireRequest,
    WireStreamOptions,
    WireTool,
    encode_request,
)

Calls = OneOf["none", "possible", "forced", "native"]
"""How tool calls are told from text: there are none, there may be, there is nothing else, or the
engine tells them apart by itself."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the engine is to be asked it, once for each choice."""

    wire: WireRequest
    calls: Calls = "none"
    tool_names: frozenset[str] = frozenset()
    top_logprobs: int = 0
    seed: int | None = None

    def body(self, index: int) -> bytes:
        if self.seed is None:
            return encode_request(self.wire)
        seed = guard.engine_seed(self.seed, index)
        return encode_request(msgspec.structs.replace(self.wire, seed=seed))


def ask(
    request: ChatRequest, *, vocabulary: int, context_tokens: int, knows_tools: bool
) -> Question:
    """Raise `InvalidRequest`, naming the field, for what this model cannot honour."""
    guard.check_against_model(request, vocabulary, context_tokens)
    tools = _offered(request)
    is_forced = bool(tools) and request.tool_choice.mode in ("required", "named")
    answer = _answer_rules(request)
    is_prefilled = request.messages[-1].role == "assistant"
    if is_prefilled and (is_forced or answer is not None):
        field = "tool_choice" if is_forced else "response_format"
        raise InvalidRequest(
            f"{field} cannot be honoured when the last message is the assistant's", param=field
        )
    calls = _call_rules(request, tools) if tools and (is_forced or answer or knows_tools) else None
    if isinstance(calls, InvalidRequest) and (is_forced or answer is not None):
        raise calls
    if knows_tools and answer is None and not isinstance(calls, InvalidRequest):
        return _native(request, tools, is_forced, context_tokens)
    grammar: Grammar | None = None
    if is_forced:
        grammar = calls if isinstance(calls, Grammar) else None
    elif answer is not None:
        grammar = _either(calls if isinstance(calls, Grammar) else None, answer, request)
    kind: Calls = "forced" if is_forced else "possible" if tools else "none"
    messages = _render(request.messages)
    if tools:
        messages = _with_system_text(messages, describe_tools(tools, must_call=is_forced))
    return _question(request, messages, kind, tools, grammar, context_tokens)


def _offered(request: ChatRequest) -> tuple[Tool, ...]:
    match request.tool_choice.mode:
        case "none":
            return ()
        case "named":
            return tuple(tool for tool in request.tools if tool.name == request.tool_choice.name)
        case _:
            return request.tools


# --- What may be written ------------------------------------------------------------------------


def _answer_rules(request: ChatRequest) -> dict[str, Node] | None:
    """Rules for `answer`, where its form is prescribed."""
    wanted = request.response_format
    if wanted.kind == "text":
        return None
    if wanted.kind == "json_object" or wanted.schema is None:
        return {"answer": Rule("object")}
    path = guard.schema_path(request)
    schema = guard.read_bounded_schema(wanted.schema, path)
    try:
        return schema_rules(schema, "answer")
    except UnsupportedSchema as error:
        raise guard.unsupported_schema(error, path) from error


def _call_rules(request: ChatRequest, tools: tuple[Tool, ...]) -> Grammar | InvalidRequest:
    """What a call looks like; or why that cannot be enforced, for whoever has to."""
    parallel = request.tool_choice.mode != "named" and request.parallel_tool_calls is True
    try:
        return calls_grammar(tools, schemas_of(tools), parallel=parallel)
    except BadParameters as error:
        if error.index is None:
            return guard.unsupported_schema(error.error, "tools")
        index = request.tools.index(tools[error.index])
        return guard.unsupported_schema(error.error, guard.parameters_path(request, index))


def _either(calls: Grammar | None, answer: dict[str, Node], request: ChatRequest) -> Grammar:
    """A call between its markers, or the answer."""
    rules: dict[str, Node] = {**answer, "root": Rule("answer")}
    if calls is not None:
        rules |= calls.rules
        rules["calls"] = calls.rules["root"]
        call = sequence(Literal(CALL_START), Rule("calls"), Literal(CALL_END))
        rules["root"] = choice([call, Rule("answer")])
    try:
        return complete_grammar(rules)
    except UnsupportedSchema as error:
        raise guard.unsupported_schema(error, guard.schema_path(request)) from error


# --- What is read -------------------------------------------------------------------------------


def _render(messages: Iterable[Message]) -> list[WireMessage]:
    """Turns of plain text in the three roles that every template knows, none twice in a row."""
    rendered: list[WireMessage] = []
    names: dict[str, str] = {}
    for message in messages:
        text = _plain_text(message, names)
        role = "user" if message.role == "tool" else message.role
        if rendered and rendered[-1].role == role:
            rendered[-1] = WireMessage(role, f"{rendered[-1].content}\n\n{text}")
        else:
            rendered.append(WireMessage(role, text, reasoning_content=_reasoning(message)))
    return rendered


def _plain_text(message: Message, names: dict[str, str]) -> str:
    """`names`: of the tools called so far, by the call's id."""
    pieces: list[str] = []
    for part in message.parts:
        match part:
            case Text(text) | Refusal(text):
                pieces.append(text)
            case ToolCall():
                names[part.id] = part.name
                pieces.append(describe_call(part))
            case ToolResult():
                name = part.name or names.get(part.call_id)
                pieces.append(describe_result(part, name))
            case _:
                # Reasoning has a field of its own; images and opaque parts do not get this far.
                continue
    has_calls = any(not isinstance(part, Text | Refusal) for part in message.parts)
    return ("\n" if has_calls else "").join(pieces)


def _reasoning(message: Message) -> str | None:
    return "".join(p.text for p in message.parts if isinstance(p, Reasoning)) or None


def _with_system_text(messages: list[WireMessage], text: str) -> list[WireMessage]:
    if messages and messages[0].role == "system":
        first = WireMessage("system", f"{messages[0].content}\n\n{text}")
        return [first, *messages[1:]]
    return [WireMessage("system", text), *messages]


def _native_messages(messages: Iterable[Message]) -> list[WireMessage]:
    """Turns as a template that knows tools renders them."""
    rendered = []
    for message in messages:
        text = "".join(part.text for part in message.parts if isinstance(part, Text | Refusal))
        calls = tuple(
            WireCall(part.id, WireFunction(part.name, arguments=part.arguments or "{}"))
            for part in message.parts
            if isinstance(part, ToolCall)
        )
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        for result in results:
            answer = "".join(part.text for part in result.parts if isinstance(part, Text))
            rendered.append(WireMessage("tool", answer, tool_call_id=result.call_id))
        if text or calls or not results:
            rendered.append(
                WireMessage(
                    "user" if message.role == "tool" else message.role,
                    text,
                    tool_calls=calls or None,
                    reasoning_content=_reasoning(message),
                )
            )
    return rendered


def _native(
    request: ChatRequest, tools: tuple[Tool, ...], is_forced: bool, context_tokens: int
) -> Question:
    messages = _native_messages(request.messages)
    question = _question(request, messages, "native", tools, None, context_tokens)
    if not tools:
        return question
    wire = msgspec.structs.replace(
        question.wire,
        tools=tuple(
            WireTool(WireFunction(tool.name, tool.description, tool.parameters)) for tool in tools
        ),
        tool_choice="required" if is_forced else "auto",
        parallel_tool_calls=request.parallel_tool_calls is True,
    )
    return msgspec.structs.replace(question, wire=wire)


def _question(
    request: ChatRequest,
    messages: list[WireMessage],
    calls: Calls,
    tools: tuple[Tool, ...],
    grammar: Grammar | None,
    context_tokens: int,
) -> Question:
    sampling = request.sampling
    # A forced call is no text: a stop string could only cut it in two.
    stop = () if calls == "forced" else request.stop
    limit = request.max_output_tokens
    wire = WireRequest(
        messages=messages,
        stream=True,
        stream_options=WireStreamOptions(include_usage=True),
        return_progress=True,
        verbose=bool(stop),
        max_tokens=context_tokens if limit is None else min(limit, context_tokens),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
        logit_bias=sampling.logit_bias,
        logprobs=request.logprobs,
        top_logprobs=request.top_logprobs,
        stop=stop,
        grammar=None if grammar is None else grammar.to_gbnf(),
    )
    return Question(
        wire=wire,
        calls=calls,
        tool_names=frozenset(tool.name for tool in tools),
        top_logprobs=request.top_logprobs,
        seed=sampling.seed,
    )
