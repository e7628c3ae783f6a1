"""What `openai` and `studio` share of an answer: its wire types, and how parts become a message.

Thinking is shown as DeepSeek, vLLM and OpenRouter show it: `reasoning_content` is its text, and where
a provider signed or encrypted it, `reasoning_details` has each piece whole, so that a client that
returns it loses nothing. Sources: https://api-docs.deepseek.com/guides/reasoning_model and
https://openrouter.ai/docs/use-cases/reasoning-tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from dragoman.chat import (
    FinishReason,
    Part,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from dragoman.dialects.chat_completions_wire import ReasoningDetail, about

NANO = 1_000_000_000


# --- Wire types ---------------------------------------------------------------------------------


class PromptTokensDetails(msgspec.Struct, omit_defaults=True):
    cached_tokens: Annotated[int, about("Read from a cache.")] = 0
    cache_write_tokens: Annotated[int, about("Written to a cache.")] = 0


class CompletionTokensDetails(msgspec.Struct):
    reasoning_tokens: int


class AnswerUsage(msgspec.Struct, omit_defaults=True, kw_only=True):
    prompt_tokens: Annotated[int, about("The whole prompt, cached or not.")]
    completion_tokens: Annotated[int, about("Everything produced, in all choices.")]
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    cost: Annotated[float | None, about("What this request is charged, in US dollars.")] = None


class TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None


class LogprobEntry(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class Logprobs(msgspec.Struct):
    content: list[LogprobEntry] | None
    refusal: list[LogprobEntry] | None = None


class FunctionOut(msgspec.Struct):
    name: str
    arguments: Annotated[str, about("JSON text, as the model wrote it.")]


class ToolCallOut(msgspec.Struct):
    id: str
    type: Literal["function"]
    function: FunctionOut


class MessageOut(msgspec.Struct, omit_defaults=True, kw_only=True):
    role: Literal["assistant"]
    content: Annotated[str | None, about("`null` where only tools are called, or it refuses.")]
    refusal: str | None = None
    reasoning_content: Annotated[str | None, about("The model's thinking.")] = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[ToolCallOut] | None = None


# --- Encoding -----------------------------------------------------------------------------------


def encode_message(parts: Sequence[Part]) -> MessageOut:
    if len(parts) == 1 and type(parts[0]) is Text:
        return MessageOut(role="assistant", content=parts[0].text)
    texts = [part.text for part in parts if type(part) is Text]
    refusals = [part.text for part in parts if type(part) is Refusal]
    thinking = [part for part in parts if type(part) is Reasoning]
    calls = encode_tool_calls(parts)
    return MessageOut(
        role="assistant",
        content="".join(texts) if texts or not (calls or refusals) else None,
        refusal="".join(refusals) if refusals else None,
        reasoning_content="".join([part.text for part in thinking]) or None,
        reasoning_details=encode_reasoning_details(thinking),
        tool_calls=calls or None,
    )


def encode_tool_calls(parts: Sequence[Part]) -> list[ToolCallOut]:
    return [
        # Clients parse the arguments without looking, and "" is no JSON.
        ToolCallOut(part.id, "function", FunctionOut(part.name, part.arguments or "{}"))
        for part in parts
        if type(part) is ToolCall
    ]


def encode_reasoning_details(thinking: Sequence[Reasoning]) -> list[ReasoningDetail] | None:
    """Every piece, if any of them is more than text; else `reasoning_content` says it all."""
    if all(part.signature is None and part.redacted is None for part in thinking):
        return None
    return [reasoning_detail(part, index) for index, part in enumerate(thinking)]


def reasoning_detail(part: Reasoning, index: int) -> ReasoningDetail:
    if part.redacted is not None:
        return ReasoningDetail(type="reasoning.encrypted", data=part.redacted, index=index)
    return ReasoningDetail(
        type="reasoning.text", text=part.text, signature=part.signature, index=index
    )


def encode_usage(usage: Usage) -> AnswerUsage:
    wire = AnswerUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
    )
    if usage.cached_input_tokens or usage.cache_write_tokens:
        wire.prompt_tokens_details = PromptTokensDetails(
            usage.cached_input_tokens, usage.cache_write_tokens
        )
    if usage.reasoning_tokens:
        wire.completion_tokens_details = CompletionTokensDetails(usage.reasoning_tokens)
    if usage.cost_nano_usd is not None:
        wire.cost = usage.cost_nano_usd / NANO
    return wire


def encode_logprobs(tokens: Sequence[TokenLogprob]) -> Logprobs:
    return Logprobs(
        [
            LogprobEntry(
                entry.token,
                entry.logprob,
                None if entry.bytes is None else list(entry.bytes),
                [
                    TopLogprob(
                        top.token, top.logprob, None if top.bytes is None else list(top.bytes)
                    )
                    for top in entry.top
                ],
            )
            for entry in tokens
        ]
    )


def finish_reason(reason: FinishReason) -> str:
    # A paused turn is not whole, and the format has no other word for that.
    return "length" if reason == "paused" else reason
