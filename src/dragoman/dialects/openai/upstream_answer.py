"""A whole answer of a chat-completions provider, and the pieces that its streams have too.

Providers differ, and all of them are read here by the same rules:

- `content` is a string, `null`, or parts (Mistral, whose thinking is a part as well).
- Thinking is `reasoning_content` (DeepSeek, vLLM), `reasoning` (OpenRouter, Groq) or
  `reasoning_details` (OpenRouter: with signatures).
- Usage is read by OpenAI's names, and DeepSeek's for cached tokens. A total that is the sum of prompt,
  completion and reasoning tokens shows that the completion count leaves reasoning out (xAI).
- Ids of tool calls that are missing, or were used before in the answer, are replaced.
- An answer with calls finishes with `tool_calls`, even where the provider says `stop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from dragoman.chat import (
    ChatResponse,
    Choice,
    FinishReason,
    Part,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from dragoman.dialects.chat_completions import decode_reasoning
from dragoman.dialects.chat_completions_wire import ReasoningDetail
from dragoman.dialects.openai.upstream_errors import answer_error
from dragoman.dialects.token_counts import MAX_TOKENS, are_believable, count_of
from dragoman.errors import ProviderError, ProviderGarbled, ProviderOverloaded

MAX_CHOICES = 128
MAX_TOOL_CALLS = 256

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "safety": "content_filter",
}


# --- Wire types: as lenient as providers are various ----------------------------------------------


class ThinkingText(msgspec.Struct):
    text: str = ""


class ContentPiece(msgspec.Struct):
    type: str = "text"
    text: str | None = None
    thinking: str | list[ThinkingText] | None = None


class FunctionPiece(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallPiece(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None


class MessagePiece(msgspec.Struct):
    """A message, or a delta of one."""

    content: str | list[ContentPiece] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[CallPiece] | None = None
    function_call: FunctionPiece | None = None


class TopLogprobPiece(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class LogprobPiece(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprobPiece] | None = None


class LogprobPieces(msgspec.Struct):
    content: list[LogprobPiece] | None = None


class PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class UsagePiece(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None


class ChoicePiece(msgspec.Struct):
    message: MessagePiece | None = None
    index: int | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    """vLLM: the stop string that ended the text, or a token's id."""
    matched_stop: Any = None
    """The same by SGLang."""
    logprobs: LogprobPieces | None = None


class AnswerPiece(msgspec.Struct):
    id: str | int | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    choices: list[ChoicePiece] | None = None
    usage: UsagePiece | None = None
    error: msgspec.Raw = msgspec.Raw()


_answer = msgspec.json.Decoder(AnswerPiece)


# --- Decoding -----------------------------------------------------------------------------------


def decode_response(body: bytes) -> ChatResponse:
    """Raises `ProviderGarbled`, or the provider's own error where it wears a success's status."""
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProviderGarbled(detail=f"not a chat completion: {type(error).__name__}") from error
    if answer.error and bytes(answer.error) != b"null":
        raise answer_error(body)
    pieces = answer.choices
    if not pieces or len(pieces) > MAX_CHOICES:
        raise ProviderGarbled(detail="an answer without choices, or with too many")
    if len(pieces) > 1:
        pieces = _in_order(pieces)
    return ChatResponse(
        choices=tuple([_choice(piece) for piece in pieces]),
        usage=(answer.usage and decode_usage(answer.usage)) or Usage(is_estimated=True),
        upstream_id=None if answer.id is None else str(answer.id),
        upstream_model=answer.model,
        system_fingerprint=answer.system_fingerprint,
    )


def _in_order(pieces: Sequence[ChoicePiece]) -> list[ChoicePiece]:
    by_index = {
        position if piece.index is None else piece.index: piece
        for position, piece in enumerate(pieces)
    }
    if sorted(by_index) != list(range(len(pieces))):
        raise ProviderGarbled(detail="choices whose indices do not count up from 0")
    return [by_index[index] for index in range(len(pieces))]


def _choice(piece: ChoicePiece) -> Choice:
    message = piece.message
    if message is None:
        raise ProviderGarbled(detail="a choice without a message")
    parts = _parts(message)
    has_calls = bool(parts) and type(parts[-1]) is ToolCall
    logprobs = piece.logprobs
    return Choice(
        parts=tuple(parts),
        finish_reason=decode_reason(piece.finish_reason or "stop", has_calls=has_calls),
        stop_sequence=stop_string(piece),
        logprobs=decode_logprobs(logprobs.content) if logprobs and logprobs.content else None,
    )


def _parts(message: MessagePiece) -> list[Part]:
    content = message.content
    text, thought = ("", "") if content is None else split_content(content)
    thought = message.reasoning_content or message.reasoning or thought
    parts: list[Part] = []
    if thought or message.reasoning_details:
        parts = decode_reasoning(thought, message.reasoning_details)
    if text:
        parts.append(Text(text))
    if message.refusal:
        parts.append(Refusal(message.refusal))
    if message.tool_calls:
        parts += _calls(message.tool_calls)
    elif message.function_call is not None:
        parts += _calls([CallPiece(function=message.function_call)])
    return parts


class _Stopped(Protocol):
    @property
    def stop_reason(self) -> object: ...
    @property
    def matched_stop(self) -> object: ...


def stop_string(piece: _Stopped) -> str | None:
    """Which of the stop strings ended the text, where the provider tells."""
    for told in (piece.stop_reason, piece.matched_stop):
        if isinstance(told, str):
            return told
    return None


def split_content(content: str | list[ContentPiece]) -> tuple[str, str]:
    """(text, thinking)."""
    if isinstance(content, str):
        return content, ""
    texts: list[str] = []
    thoughts: list[str] = []
    for piece in content:
        if isinstance(piece.thinking, str):
            thoughts.append(piece.thinking)
        elif piece.thinking is not None:
            thoughts += [inner.text for inner in piece.thinking]
        elif piece.text is not None:
            texts.append(piece.text)
    return "".join(texts), "".join(thoughts)


def _calls(pieces: Sequence[CallPiece]) -> list[Part]:
    if len(pieces) > MAX_TOOL_CALLS:
        raise ProviderGarbled(detail="too many tool calls")
    used: set[str] = set()
    calls: list[Part] = []
    for index, piece in enumerate(pieces):
        function = piece.function
        if function is None or not function.name:
            raise ProviderGarbled(detail="a tool call without a name")
        calls.append(
            ToolCall(
                id=unique_call_id(piece.id, index, used),
                name=function.name,
                arguments=arguments_text(function.arguments),
            )
        )
    return calls


def unique_call_id(given: str | None, index: int, used: set[str]) -> str:
    """The id that the provider gave, if it is one; else one made of the call's place."""
    call_id = given if given and given not in used else f"call_{index}"
    while call_id in used:
        call_id += "_"
    used.add(call_id)
    return call_id


def arguments_text(arguments: str | dict[str, Any] | None) -> str:
    if isinstance(arguments, dict):
        return msgspec.json.encode(arguments).decode()
    return arguments or ""


def decode_reason(reason: str, *, has_calls: bool) -> FinishReason:
    """Raises for reasons that mean the answer is not whole by the provider's own fault."""
    if reason in {"error", "abort"}:
        raise ProviderError(detail=f"the answer finished with {reason!r}")
    if reason == "insufficient_system_resource":
        # DeepSeek's word for an answer that it had no room to finish.
        raise ProviderOverloaded(detail=f"the answer finished with {reason!r}")
    known = _REASONS.get(reason, "stop")
    return "tool_calls" if has_calls and known == "stop" else known


def decode_logprobs(pieces: Sequence[LogprobPiece]) -> tuple[TokenLogprob, ...]:
    return tuple(
        [
            TokenLogprob(
                piece.token,
                piece.logprob,
                None if piece.bytes is None else tuple(piece.bytes),
                tuple(
                    [
                        TokenLogprob(
                            top.token,
                            top.logprob,
                            None if top.bytes is None else tuple(top.bytes),
                        )
                        for top in piece.top_logprobs or ()
                    ]
                ),
            )
            for piece in pieces
        ]
    )


def decode_usage(piece: UsagePiece) -> Usage | None:
    """`None` where it cannot be believed."""
    prompt = count_of(piece.prompt_tokens)
    completion = count_of(piece.completion_tokens)
    if not are_believable(prompt, completion):
        return None
    inputs, outputs = piece.prompt_tokens_details, piece.completion_tokens_details
    reasoning = count_of(outputs.reasoning_tokens) if outputs is not None else 0
    if reasoning > MAX_TOKENS:
        reasoning = 0
    if reasoning and (
        reasoning > completion or piece.total_tokens == prompt + completion + reasoning
    ):
        completion += reasoning
    cached = count_of(inputs.cached_tokens) if inputs is not None else 0
    cached = cached or count_of(piece.prompt_cache_hit_tokens)
    written = count_of(inputs.cache_write_tokens) if inputs is not None else 0
    if not (cached or written):
        return Usage(input_tokens=prompt, output_tokens=completion, reasoning_tokens=reasoning)
    cached = min(cached, prompt)
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cached_input_tokens=cached,
        cache_write_tokens=min(written, prompt - cached),
        reasoning_tokens=reasoning,
    )
