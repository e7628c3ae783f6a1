"""What a chat-completions provider's failure means, told by blame.

Its 401, 402, 403 and spent quota are the operator's to mend; its 429 is ours to wait for; its 400 and
422 are the client's, with the field that the provider names; a model it does not know is the
operator's again, because the client named one of ours. Its words reach a client only where they say
what is wrong with the client's own request, and never before whatever may be a secret, an address or
a path of its inside was struck out of them. Everything else goes to the error's `detail`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from dragoman.dialects.retry_after import retry_after_s
from dragoman.errors import (
    ContextOverflow,
    DragomanError,
    InvalidRequest,
    ProviderError,
    ProviderOverloaded,
    ProviderRefusedUs,
)

MAX_READ_BYTES = 64 * 1024
MAX_SEARCHED_CHARS = 4096
MAX_MESSAGE_CHARS = 300
MAX_PARAM_CHARS = 100

# OpenAI, Azure; vLLM and SGLang; llama.cpp; Mistral; Groq; Together; Ollama.
_OVERFLOW = re.compile(
    r"maximum context length|context[_ ]length[_ ]exceeded|exceeds? the (available )?context"
    r"|longer than the (model|maximum)|context (window|size)|prompt is too long|input is too long"
    r"|too large for model|reduce the length of the messages"
    r"|(inputs?|prompt).{0,60}(exceeds?|larger than).{0,40}(length|tokens|limit)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model\b.{0,120}(not found|not exist|no longer|not available|not supported|deprecated|unknown)"
    r"|(unknown|invalid|no such) model|try pulling it",
    re.IGNORECASE | re.DOTALL,
)
# Whole phrases: some providers quote the prompt in a refusal, and a prompt may speak of API keys.
_BAD_KEY = re.compile(
    r"(invalid|incorrect|missing|expired|wrong|valid|provide an?|no) (\w+ )?api[_ -]?key"
    r"|api[_ -]?key (\w+ )?(not valid|invalid|expired|missing|not found|required)"
    r"|authentication (failed|required|error)|credit balance is|exceeded your current quota"
    r"|billing (hard limit|details|is not)",
    re.IGNORECASE,
)
_NOT_FOR_CLIENTS = re.compile(
    r"\w+://\S+"  # addresses
    r"|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?"
    r"|(?:/[\w.@-]+){2,}"  # paths
    r"|\b(?:org|proj|req|sk|pk|key|user|acct)[-_][\w-]{6,}"
    r"|[A-Za-z0-9+/_=-]{28,}"  # whatever looks like a secret
    r"|[\x00-\x1f\x7f]+",
    re.IGNORECASE,
)
_PARAM = re.compile(r"^[A-Za-z_][\w.\[\]-]*$")
_BRACKET_AFTER_DOT = re.compile(r"\.(?=\[)|\.(\d+)(?=\.|$)")

_any = msgspec.json.Decoder()


class _Complaint(msgspec.Struct, frozen=True):
    """What the body says, whichever of the known shapes it has."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None
    prompt_tokens: int | None = None
    context_tokens: int | None = None


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> DragomanError:
    """The error that an answer with a failure's status means; `headers` in lower case."""
    return _judge(status, _complaint(body), retry_after_s(headers))


def answer_error(body: bytes) -> DragomanError:
    """The error in a body, or in a stream's event, that came with a success's status.

    Its `code` is the status that it should have had, where it is a number (OpenRouter).
    """
    complaint = _complaint(body)
    status = int(complaint.code) if re.fullmatch(r"[45]\d\d", complaint.code) else 502
    if status == 502 and re.search(r"overloaded|rate.?limit", complaint.type + complaint.code):
        status = 429
    elif status == 502 and complaint.type == "invalid_request_error":
        status = 400
    return _judge(status, complaint, None)


def _judge(status: int, complaint: _Complaint, after_s: float | None) -> DragomanError:
    text = complaint.message
    # What is said of the client's request may quote it (vLLM repeats it whole), and stays out.
    place = f"status {status}"
    if status in (400, 413, 422, 500) and _is_overflow(complaint):
        return _overflow(complaint, place)
    detail = f"{place}: {_clean(text)}" if text else place
    if status in (401, 402, 403) or complaint.code in ("insufficient_quota", "invalid_api_key"):
        return ProviderRefusedUs(detail=detail)
    if status in (429, 529):
        return ProviderOverloaded(retry_after_s=after_s, detail=detail)
    if status == 404 and complaint.param in (None, "model"):
        return ProviderError(detail=detail)
    if status in (400, 404, 413, 422):
        if complaint.code == "model_not_found" or complaint.param == "model":
            return ProviderError(detail=detail)
        if complaint.param is None and _NO_MODEL.search(text):
            return ProviderError(detail=detail)
        if complaint.param is None and _BAD_KEY.search(text):
            return ProviderRefusedUs(detail=detail)
        param = _param(complaint.param)
        said = _clean(text) or "no reason given"
        return InvalidRequest(
            f"{param}: the model's provider refused it: {said}"
            if param
            else f"the model's provider refused the request: {said}",
            param=param,
            detail=place,
        )
    return ProviderError(retry_after_s=after_s, detail=detail)


def _is_overflow(complaint: _Complaint) -> bool:
    return (
        complaint.code == "context_length_exceeded"
        or complaint.type == "exceed_context_size_error"
        or _OVERFLOW.search(complaint.message) is not None
    )


def _overflow(complaint: _Complaint, detail: str) -> ContextOverflow:
    prompt, context = complaint.prompt_tokens, complaint.context_tokens
    numbers = f": they have {prompt} tokens, and it holds {context}" if prompt and context else ""
    return ContextOverflow(
        f"messages do not fit the model's context{numbers}", param="messages", detail=detail
    )


def _param(given: str | None) -> str | None:
    """The provider's path of a field in our spelling: `messages.[1].role`, `body.messages.1.role`."""
    if not given or len(given) > MAX_PARAM_CHARS or not _PARAM.match(given):
        return None
    path = given.removeprefix("body.")
    return _BRACKET_AFTER_DOT.sub(lambda m: f"[{m.group(1)}]" if m.group(1) else "", path)


def _clean(text: str) -> str:
    shown = _NOT_FOR_CLIENTS.sub("…", text[: MAX_MESSAGE_CHARS * 4]).strip()
    return shown if len(shown) <= MAX_MESSAGE_CHARS else shown[:MAX_MESSAGE_CHARS] + "…"


def _complaint(body: bytes) -> _Complaint:
    """Read one of the shapes in use; nothing at all of HTML, of garbage, and of what is huge."""
    if not body or len(body) > MAX_READ_BYTES:
        return _Complaint()
    try:
        value = _any.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _Complaint()
    if isinstance(value, list) and value:
        value = value[0]  # Gemini wraps its error in an array.
    if not isinstance(value, dict):
        return _Complaint()
    inner = value.get("error", value)
    if isinstance(inner, str):
        return _Complaint(message=inner[:MAX_SEARCHED_CHARS])
    if not isinstance(inner, dict):
        return _Complaint()
    message = inner.get("message", inner.get("detail", ""))
    if isinstance(message, dict):
        message = message.get("detail", "")  # Mistral's validation errors.
    param = inner.get("param")
    if isinstance(message, list):
        message, found = _first_validation_error(message)
        param = param or found
    return _Complaint(
        message=message[:MAX_SEARCHED_CHARS] if isinstance(message, str) else "",
        type=_text(inner.get("type")),
        code=_text(inner.get("code")),
        param=param if isinstance(param, str) and param else None,
        prompt_tokens=_count(inner.get("n_prompt_tokens")),
        context_tokens=_count(inner.get("n_ctx")),
    )


def _first_validation_error(errors: list[Any]) -> tuple[str, str | None]:
    """FastAPI's `[{"loc": ["body", "messages", 0, "role"], "msg": …}]`: (message, path)."""
    first = errors[0] if errors else None
    if not isinstance(first, dict):
        return "", None
    location = first.get("loc")
    path = ".".join([str(step) for step in location[:16]]) if isinstance(location, list) else None
    return _text(first.get("msg")), path


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 10**12 else None
