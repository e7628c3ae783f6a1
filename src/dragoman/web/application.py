"""The ASGI application: finds the route, and turns whatever goes wrong into the path's error shape.

The path alone decides the shape of an error, so that a refusal looks right before the body is read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from dragoman.errors import DragomanError, Draining, Internal, MethodNotAllowed, UnknownRoute
from dragoman.policy.ids import RandomHex, request_id
from dragoman.ports import Clock, Dialect
from dragoman.web.call import Call, Headers, Receive, Scope, Send
from dragoman.web.completions import Route
from dragoman.web.request_log import RequestLog

_log = logging.getLogger("dragoman.web")

CORS_MAX_AGE_S = 600
_EXPOSED_HEADERS = (
    b"x-request-id, request-id, retry-after, x-should-retry, x-dragoman-ignored,"
    b" idempotent-replayed,"
    b" x-ratelimit-limit, x-ratelimit-remaining,"
    b" x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests,"
    b" x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)


class Routes:
    """Which route answers a path, and which dialect tells of its errors."""

    def __init__(
        self,
        exact: Mapping[str, Route],
        prefixed: Mapping[str, Route],
        shapes: Sequence[tuple[str, Dialect]],
    ) -> None:
        """`prefixed` takes all paths below its keys; `shapes` is looked through in order."""
        self.exact = dict(exact)
        self._prefixed = tuple(prefixed.items())
        self._shapes = tuple(shapes)

    def find(self, path: str) -> Route | None:
        route = self.exact.get(path)
        if route is not None:
            return route
        for prefix, below in self._prefixed:
            if path.startswith(prefix) and len(path) > len(prefix):
                return below
        return None

    def shape_of(self, path: str) -> Dialect:
        for prefix, dialect in self._shapes:
            if path.startswith(prefix):
                return dialect
        return self._shapes[-1][1]

    def neighbours(self, path: str) -> list[str]:
        """The paths that someone who asked for `path` may have meant."""
        top = next((p for p in ("/api/v1/", "/v1/", "/admin/v1/") if path.startswith(p)), "/")
        return [known for known in self.exact if known.startswith(top)]


class Application:
    """The bare ASGI callable."""

    def __init__(
        self, routes: Routes, log: RequestLog, clock: Clock, cors_origins: Sequence[str]
    ) -> None:
        self._routes = routes
        self._log = log
        self._clock = clock
        self._origins = frozenset(cors_origins)
        self._noise = RandomHex()
        self._any_origin = "*" in self._origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise AssertionError(f"the server was asked to speak {scope['type']}")
        started_s = self._clock.monotonic_s()
        call = Call(scope, receive, send, request_id(self._clock.unix_s(), self._noise.draw(16)))
        route = self._routes.find(call.path)
        dialect = route.dialect if route is not None else self._routes.shape_of(call.path)
        if self._origins:
            call.common_headers += self._cors_headers(call)
        if dialect.names_request_in_own_header:
            call.common_headers.append((b"request-id", call.request_id.encode()))
        error: DragomanError | None = None
        try:
            if call.method == "OPTIONS":
                await self._answer_options(call, route)
            elif route is None:
                raise self._unknown_route(call.path)
            else:
                await route(call)
        except DragomanError as failed:
            error = failed
        except Exception as failed:  # noqa: BLE001 - the outermost handler
            # The traceback names code and values' types; its message may hold a prompt, and stays out.
            _log.error(
                "request %s failed with %s", call.request_id, _describe(failed), exc_info=False
            )
            error = Internal()
        if error is not None:
            await self._answer_error(call, dialect, error)
        self._log.record(call, self._clock.monotonic_s() - started_s, error)

    async def _answer_error(self, call: Call, dialect: Dialect, error: DragomanError) -> None:
        if call.is_answered:
            # Half an answer is out: leaving it without its end makes the server cut the connection.
            return
        headers: Headers = [(b"content-type", b"application/json")]
        if error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
        is_over = error.retry_after_s is None and (error.status == 429 or not error.is_retryable)
        if error.status in (408, 409, 429) and is_over:
            # The vendors' clients repeat these by themselves, which would change nothing here. A 429 that
            # names no time is of a request that no limit of its key will ever let in.
            headers.append((b"x-should-retry", b"false"))
        if isinstance(error, MethodNotAllowed):
            headers.append((b"allow", ", ".join(error.allow).encode()))
        if isinstance(error, Draining):
            headers.append((b"connection", b"close"))
        body = dialect.encode_error(error, call.request_id)
        await call.send_whole(dialect.error_status(error), headers, body)

    def _unknown_route(self, path: str) -> UnknownRoute:
        return UnknownRoute(
            f"There is nothing at {path[:200]!r}; there are"
            f" {', '.join(self._routes.neighbours(path))}."
        )

    async def _answer_options(self, call: Call, route: Route | None) -> None:
        """Before the key check: browsers send no key with a preflight (Fetch standard, 4.8)."""
        allow = ", ".join((*(route.methods if route else ("GET", "POST")), "OPTIONS"))
        headers: Headers = [(b"allow", allow.encode())]
        if self._origins and "access-control-request-method" in call.headers:
            headers += (
                (b"access-control-allow-methods", allow.encode()),
                (
                    b"access-control-allow-headers",
                    b"authorization, content-type, x-api-key, anthropic-version, anthropic-beta,"
                    b" idempotency-key, x-stream-format, x-stainless-arch, x-stainless-lang,"
                    b" x-stainless-os, x-stainless-package-version, x-stainless-retry-count,"
                    b" x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout,"
                    b" anthropic-dangerous-direct-browser-access, user-agent",
                ),
                (b"access-control-max-age", b"%d" % CORS_MAX_AGE_S),
            )
        call.has_body_left = False
        await call.send_head(204, headers)
        await call.send_body(b"")

    def _cors_headers(self, call: Call) -> Headers:
        origin = call.headers.get("origin")
        if origin is None or not (self._any_origin or origin in self._origins):
            return [] if self._any_origin else [(b"vary", b"origin")]
        return [
            (b"access-control-allow-origin", b"*" if self._any_origin else origin.encode()),
            (b"access-control-expose-headers", _EXPOSED_HEADERS),
            (b"vary", b"origin"),
        ]


def _describe(error: Exception) -> str:
    """The error's type and where it was raised: no message, which may hold what a client sent."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return f"{type(error).__name__} at {' > '.join(places[-6:])}"
