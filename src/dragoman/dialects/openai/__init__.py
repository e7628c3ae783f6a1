"""OpenAI's chat completions: `OPENAI` is the serving side, `OPENAI_UPSTREAM` the provider's side."""

from __future__ import annotations

from collections.abc import Mapping

from dragoman.chat import ChatRequest, ChatResponse
from dragoman.dialects.openai.serving import OPENAI, OpenAIDialect
from dragoman.dialects.openai.upstream_answer import decode_response
from dragoman.dialects.openai.upstream_errors import decode_error
from dragoman.dialects.openai.upstream_request import encode_request
from dragoman.dialects.openai.upstream_stream import OpenAIStreamDecoder
from dragoman.errors import DragomanError
from dragoman.records.model import Model
from dragoman.records.provider import ProviderRow

__all__ = ["OPENAI", "OPENAI_UPSTREAM", "OpenAIDialect", "OpenAIStreamDecoder", "OpenAIUpstream"]


class OpenAIUpstream:
    """How a chat-completions provider is asked and understood."""

    def encode_request(
        self, request: ChatRequest, model: Model, row: ProviderRow, *, stream: bool
    ) -> bytes:
        """The body to send. Raises `UnsupportedField` for a part of another wire format."""
        return encode_request(request, model, row, stream=stream)

    def decode_response(self, body: bytes) -> ChatResponse:
        """Raises `ProviderGarbled`, or the provider's own error where its body is one."""
        return decode_response(body)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> DragomanError:
        """What a failure means, by blame; `headers` in lower case."""
        return decode_error(status, headers, body)

    def stream_decoder(self) -> OpenAIStreamDecoder:
        return OpenAIStreamDecoder()


OPENAI_UPSTREAM = OpenAIUpstream()
