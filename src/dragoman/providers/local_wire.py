"""The engine's own wire: what it is sent, and the stream that it answers with.

A subset of OpenAI's chat completions with llama.cpp's additions. Only the fields named here ever reach
the engine, so that nothing a client invents does.
Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

import msgspec

from dragoman.chat import TokenLogprob
from dragoman.errors import (
    ContextOverflow,
    DragomanError,
    EngineFailed,
    InvalidRequest,
    ProviderGarbled,
)

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""The longest frame that is put together: one with many log probabilities stays far below it."""


class WireFunction(msgspec.Struct, omit_defaults=True):
    name: str
    description: str | None = None
    parameters: msgspec.Raw | None = None
    arguments: str | None = None


class WireTool(msgspec.Struct):
    function: WireFunction
    type: str = "function"


class WireCall(msgspec.Struct):
    id: str
    function: WireFunction
    type: str = "function"


class WireMessage(msgspec.Struct, omit_defaults=True):
    role: str
    content: str
    tool_calls: tuple[WireCall, ...] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class WireNamedFunction(msgspec.Struct):
    name: str


class WireNamedChoice(msgspec.Struct):
    function: WireNamedFunction
    type: str = "function"


class WireStreamOptions(msgspec.Struct):
    include_usage: bool


class WireRequest(msgspec.Struct, omit_defaults=True, kw_only=True):
    messages: list[WireMessage]
    stream: bool = False
    stream_options: WireStreamOptions | None = None
    return_progress: bool = False
    verbose: bool = False
    """The last chunk tells which stop string ended the text."""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    tools: tuple[WireTool, ...] = ()
    tool_choice: str | WireNamedChoice | None = None
    parallel_tool_calls: bool | None = None
    cache_prompt: bool = True


# --- The stream ---------------------------------------------------------------------------------


class _TopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Logprob(_TopLogprob):
    top_logprobs: list[_TopLogprob] = []


class _Logprobs(msgspec.Struct):
    content: list[_Logprob] | None = None


class _CallFunction(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class CallDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _CallFunction = msgspec.field(default_factory=_CallFunction)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallDelta] | None = None


class _ChunkChoice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _CachedTokens(msgspec.Struct):
    cached_tokens: int = 0


class WireUsage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _CachedTokens = msgspec.field(default_factory=_CachedTokens)


class WireError(msgspec.Struct):
    message: str = ""
    type: str = ""
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Verbose(msgspec.Struct):
    stop_type: str = ""
    stopping_word: str = ""


class Chunk(msgspec.Struct):
    choices: list[_ChunkChoice] = []
    usage: WireUsage | None = None
    error: WireError | None = None
    verbose: _Verbose | None = msgspec.field(name="__verbose", default=None)


class _ErrorBody(msgspec.Struct):
    error: WireError


class InputTokens(msgspec.Struct):
    input_tokens: int


encode_request = msgspec.json.Encoder().encode
_decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_error = msgspec.json.Decoder(_ErrorBody).decode
decode_input_tokens = msgspec.json.Decoder(InputTokens).decode


class ChunkReader:
    """Bytes of the stream to chunks, however the bytes are split."""

    def __init__(self) -> None:
        self._rest = b""
        self.is_done = False
        """The engine said that nothing follows."""

    def feed(self, data: bytes) -> list[Chunk]:
        frames = (self._rest + data).split(b"\n\n")
        self._rest = frames.pop()
        if len(self._rest) > MAX_FRAME_BYTES:
            raise ProviderGarbled(detail="the engine sent an endless frame")
        chunks = []
        for frame in frames:
            payload = frame.lstrip()
            if not payload.startswith(b"data:"):
                # Comments keep the stream open, and errors of the engine have a name of their own.
                if not payload.startswith(b"error:"):
                    continue
                payload = payload.replace(b"error:", b"data:", 1)
            payload = payload[5:].strip()
            if payload == b"[DONE]":
                self.is_done = True
                break
            try:
                chunks.append(_decode_chunk(payload))
            except msgspec.DecodeError as error:
                raise ProviderGarbled(detail=f"the engine's chunk: {error}") from error
        return chunks


def read_logprobs(logprobs: _Logprobs | None, count: int) -> tuple[TokenLogprob, ...] | None:
    """The tokens' probabilities with `count` likeliest ones each: the engine may send more."""
    if logprobs is None or logprobs.content is None:
        return None
    return tuple(
        TokenLogprob(
            entry.token,
            entry.logprob,
            _octets(entry.bytes),
            tuple(
                TokenLogprob(top.token, top.logprob, _octets(top.bytes))
                for top in entry.top_logprobs[:count]
            ),
        )
        for entry in logprobs.content
    )


def _octets(values: list[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(values)


def read_error(status: int, body: bytes) -> DragomanError:
    """The engine's refusal in our words."""
    try:
        error = _decode_error(body).error
    except msgspec.DecodeError:
        return EngineFailed(detail=f"the engine answered {status}")
    return translate_error(error, status)


def translate_error(error: WireError, status: int | None = None) -> DragomanError:
    if error.n_prompt_tokens is not None and error.n_ctx is not None:
        return ContextOverflow(
            f"messages take {error.n_prompt_tokens} tokens, and the model's context holds "
            f"{error.n_ctx}; shorten them",
            param="messages",
        )
    if "grammar" in error.message or "schema" in error.message:
        return InvalidRequest(
            "response_format or tools hold a schema that is too complex for this model; use fewer repeats",
            param="response_format",
            detail="the engine could not read a grammar",
        )
    # Its words may repeat the prompt: only its kind is kept.
    return EngineFailed(detail=f"the engine answered {status} ({error.type[:60]})")
