"""The wire types of a chat-completions request that `openai` and `studio` share.

Ranges are stated here for the interface description only: the decoding functions of
`chat_completions` check them, because the words of a refusal are ours.

Source of the format: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Raw

from dragoman.chat import CacheTTL

MAX_CHOICES = 128
MAX_TOP_LOGPROBS = 20


def about(description: str, **schema: Any) -> msgspec.Meta:
    """A field's description, and schema keywords that are checked by us rather than by msgspec."""
    return msgspec.Meta(description=description, extra_json_schema=schema or None)


class CacheControl(msgspec.Struct):
    """A prompt-cache mark, as OpenRouter takes it: https://openrouter.ai/docs/features/prompt-caching"""

    type: Literal["ephemeral"] = "ephemeral"
    ttl: CacheTTL | None = None


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    text: str
    cache_control: CacheControl | None = None


class ImageURL(msgspec.Struct):
    url: Annotated[str, about("An http(s) URL, or a data URI with base64 data.")]
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    image_url: ImageURL | str
    cache_control: CacheControl | None = None


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    refusal: str


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    input_audio: Raw


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    file: Raw


ContentPart = TextPart | ImagePart | RefusalPart | AudioPart | FilePart


class CalledFunction(msgspec.Struct):
    name: str
    arguments: Annotated[str, about("JSON text.")] = ""


class ToolCallIn(msgspec.Struct):
    id: str
    function: CalledFunction | None = None
    type: str | None = None


class ReasoningDetail(msgspec.Struct, omit_defaults=True):
    """Thinking with its proof: https://openrouter.ai/docs/use-cases/reasoning-tokens"""

    type: str
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    summary: str | None = None
    index: int | None = None


class MessageIn(msgspec.Struct):
    role: Annotated[
        str, about("Who speaks.", enum=["system", "developer", "user", "assistant", "tool"])
    ]
    content: Annotated[
        str | list[ContentPart] | None,
        about("The text, or parts of it; `null` only for an assistant that called tools."),
    ] = None
    name: Annotated[str | None, about("Tells participants of one role apart.")] = None
    tool_calls: Annotated[
        list[ToolCallIn] | None, about("What the assistant asked to be called.")
    ] = None
    tool_call_id: Annotated[
        str | None,
        about("The call that a `tool` message answers; of the assistant turn before it."),
    ] = None
    refusal: Annotated[str | None, about("Why the assistant declined.")] = None
    reasoning_content: Annotated[str | None, about("The assistant's thinking.")] = None
    reasoning: Annotated[str | None, about("The same under another name.")] = None
    reasoning_details: Annotated[
        list[ReasoningDetail] | None, about("The same with signatures, where there are any.")
    ] = None


class FunctionIn(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Annotated[Raw, about("A JSON Schema.", type="object")] = Raw()
    strict: Annotated[bool | None, about("Arguments keep to the schema exactly.")] = None


class ToolIn(msgspec.Struct):
    type: Annotated[str | None, about("`function`.")] = None
    function: FunctionIn | None = None
    cache_control: CacheControl | None = None


class ChosenFunction(msgspec.Struct):
    name: str


class ToolChoiceIn(msgspec.Struct):
    type: Annotated[str | None, about("`function`.")] = None
    function: ChosenFunction | None = None


class JSONSchemaIn(msgspec.Struct):
    name: str | None = None
    description: str | None = None
    schema: Annotated[Raw, about("A JSON Schema.", type="object")] = Raw()
    strict: bool | None = None


class ResponseFormatIn(msgspec.Struct):
    type: Annotated[str, about("The form.", enum=["text", "json_object", "json_schema"])]
    json_schema: Annotated[
        Raw, about("`{name, schema, strict?, description?}`, for `json_schema`.", type="object")
    ] = Raw()


class StreamOptions(msgspec.Struct):
    include_usage: Annotated[
        bool | None, about("Send usage as a last chunk of its own, without choices.")
    ] = None


class CompletionBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The fields that both dialects take."""

    model: Annotated[str, about("A model's id or alias, `{project}/{model}`, or `{project}`.")]
    stream: Annotated[bool | None, about("Send the answer as it comes.")] = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[
        float | None, about("How freely tokens are drawn.", minimum=0, maximum=2)
    ] = None
    top_p: Annotated[
        float | None, about("Draw from the likeliest tokens of this mass.", minimum=0, maximum=1)
    ] = None
    frequency_penalty: Annotated[
        float | None, about("Against tokens by how often they came.", minimum=-2, maximum=2)
    ] = None
    presence_penalty: Annotated[
        float | None, about("Against tokens that came at all.", minimum=-2, maximum=2)
    ] = None
    seed: Annotated[
        int | None, about("The same seed and parameters give the same text, where promised.")
    ] = None
    logit_bias: Annotated[
        dict[str, float] | None, about("By token id, what to add to its logit: -100..100.")
    ] = None
    max_tokens: Annotated[int | None, about("The longest answer, in tokens.")] = None
    max_completion_tokens: Annotated[int | None, about("The same under its newer name.")] = None
    stop: Annotated[
        str | list[str] | None, about("Text that ends the answer, and is left out of it.")
    ] = None
    n: Annotated[int | None, about("How many answers.", maximum=MAX_CHOICES)] = None
    tool_choice: Annotated[
        str | ToolChoiceIn | None, about("`auto`, `none`, `required`, or a function.")
    ] = None
    parallel_tool_calls: Annotated[bool | None, about("Allow several calls in a turn.")] = None
    response_format: ResponseFormatIn | None = None
    logprobs: Annotated[bool | None, about("Return each token's log probability.")] = None
    top_logprobs: Annotated[
        int | None,
        about(
            "And those of the likeliest tokens in its place.", minimum=0, maximum=MAX_TOP_LOGPROBS
        ),
    ] = None
    reasoning_effort: Annotated[
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None,
        about("How much to think first."),
    ] = None
    user: Annotated[str | None, about("Your name for the person who asks.")] = None
    store: Annotated[bool | None, about("Whether the conversation may be kept.")] = None
    functions: Annotated[Raw, about("Not supported: use `tools`.", deprecated=True)] = Raw()
    function_call: Annotated[Raw, about("Not supported: use `tool_choice`.", deprecated=True)] = (
        Raw()
    )
