"""What this server offers, described: `/openapi.json`, the page at `/docs` and its files.

Made at the first request for any of them, and kept: nothing of it costs a start anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from dragoman import errors
from dragoman.dialects.anthropic import CountTokensRequest, TokenCount
from dragoman.ports import Dialect, Example
from dragoman.web.docs_page import CONTENT_SECURITY_POLICY, render_page
from dragoman.web.neighbours import Health, ModelEntry, ModelList
from dragoman.web.openapi import (
    UNKNOWN_MODEL,
    Answer,
    Content,
    Operation,
    PathParameter,
    completion_operation,
    describe_interface,
    error_answers,
)

Page = tuple[int, list[tuple[bytes, bytes]], bytes]

_STATIC = Path(__file__).parent / "static"
_STATIC_TYPES = {
    "/docs/page.css": b"text/css; charset=utf-8",
    "/docs/page.js": b"text/javascript; charset=utf-8",
    "/docs/icon.svg": b"image/svg+xml",
}
PATHS = ("/openapi.json", "/docs", *_STATIC_TYPES)


def operations(dialects: Sequence[Dialect]) -> list[Operation]:
    """Everything that the server answers: each dialect's completions, then what stands beside."""
    found: list[Operation] = []
    for dialect in dialects:
        found.append(completion_operation(dialect))
        found += _beside(dialect)
    found.append(_health())
    return found


def _beside(dialect: Dialect) -> list[Operation]:
    match dialect.name:
        case "openai":
            return [
                _model_list("/v1/models", dialect),
                _model("/v1/models/{model}", dialect),
            ]
        case "studio":
            return [
                _model_list("/api/v1/models", dialect),
                _model("/api/v1/models/{model}", dialect),
            ]
        case "anthropic":
            return [_count_tokens(dialect)]
        case "dreamsolve":
            return []


def _success(description: str, type_: type) -> Answer:
    return Answer(status=200, description=description, contents=(Content(type=type_),))


def _model_list(path: str, dialect: Dialect) -> Operation:
    return Operation(
        method="get",
        path=path,
        id=f"{dialect.name}_models",
        family=dialect.name,
        summary="The models that can be asked for",
        answers=(
            _success("All of them.", ModelList),
            *error_answers(dialect, (errors.Unauthenticated(),)),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _model(path: str, dialect: Dialect) -> Operation:
    return Operation(
        method="get",
        path=path,
        id=f"{dialect.name}_model",
        family=dialect.name,
        summary="One model",
        path_parameters=(
            PathParameter("model", "Its id, or an alias of it; may hold slashes.", "local"),
        ),
        answers=(
            _success("The model.", ModelEntry),
            *error_answers(dialect, (errors.Unauthenticated(), UNKNOWN_MODEL)),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _count_tokens(dialect: Dialect) -> Operation:
    known = {field.encode_name for field in msgspec.structs.fields(CountTokensRequest)}
    asked = dialect.wire.examples[0]
    example = Example(
        name=asked.name,
        summary=asked.summary,
        body={name: value for name, value in asked.body.items() if name in known},
    )
    return Operation(
        method="post",
        path="/v1/messages/count_tokens",
        id="anthropic_count_tokens",
        family=dialect.name,
        summary="Count the tokens of a prompt; nothing is generated",
        request=CountTokensRequest,
        examples=(example,),
        answers=(
            _success("How many there are.", TokenCount),
            *error_answers(
                dialect,
                (
                    errors.MalformedBody(),
                    errors.Unauthenticated(),
                    UNKNOWN_MODEL,
                    errors.BodyTooLarge(),
                    errors.ProviderTimeout(),
                ),
            ),
        ),
        names_request_in_own_header=dialect.names_request_in_own_header,
    )


def _health() -> Operation:
    return Operation(
        method="get",
        path="/healthz",
        id="health",
        family="server",
        summary="Whether the server takes requests, and which of its features are on",
        answers=(
            _success("It does.", Health),
            Answer(
                status=503,
                description="It is stopping.",
                contents=(Content(type=Health),),
            ),
        ),
        is_public=True,
    )


class InterfacePages:
    """The documents, by path, as they go over the wire."""

    def __init__(self, dialects: Sequence[Dialect], *, version: str, server_url: str) -> None:
        self._dialects = tuple(dialects)
        self._version = version
        self._server_url = server_url

    def page(self, path: str) -> Page | None:
        """Status, headers in lower case and body of the document at `path`, if there is one."""
        return self._pages.get(path)

    @cached_property
    def document(self) -> bytes:
        """The OpenAPI document."""
        return describe_interface(
            operations(self._dialects), version=self._version, server_url=self._server_url
        )

    @cached_property
    def _pages(self) -> dict[str, Page]:
        html = render_page(msgspec.json.decode(self.document)).encode()
        pages = {
            "/openapi.json": _page(self.document, b"application/json"),
            "/docs": _page(html, b"text/html; charset=utf-8"),
        }
        for path, media_type in _STATIC_TYPES.items():
            body = (_STATIC / path.removeprefix("/docs/")).read_bytes()
            pages[path] = _page(body, media_type)
        return pages


def _page(body: bytes, media_type: bytes) -> Page:
    etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
    headers = [
        (b"content-type", media_type),
        (b"etag", etag),
        # Always asked for again, mostly answered with 304: an upgrade shows at once.
        (b"cache-control", b"no-cache"),
        (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]
    return 200, headers, body
