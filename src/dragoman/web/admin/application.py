"""The admin API's ASGI application: Litestar's routes over `Administration`."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from dragoman.errors import (
    DragomanError,
    Internal,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    UnknownRoute,
)
from dragoman.policy.administration import Administration
from dragoman.policy.administration.complaints import told_of
from dragoman.web.admin.audit import Audit
from dragoman.web.admin.campaigns import Campaigns
from dragoman.web.admin.description import Page, describe, pages_of
from dragoman.web.admin.errors import encode_error, error_headers
from dragoman.web.admin.interactions import Interactions, Users, interactions_wanted
from dragoman.web.admin.keys import Keys
from dragoman.web.admin.metrics import Metrics
from dragoman.web.admin.money import Balances, Credits, Ledger, Models, Prices
from dragoman.web.admin.mount import ACTOR, AdminParts
from dragoman.web.admin.people import Accounts, Plans
from dragoman.web.admin.projects import Projects
from dragoman.web.admin.templates import Templates
from dragoman.web.admin.tool_servers import ToolServers
from dragoman.web.admin.usage import Usage, question_of
from dragoman.web.call import Receive, Scope, Send

_log = logging.getLogger("dragoman.admin")

PATH = "/admin/v1"
CONTROLLERS = (
    Accounts,
    Plans,
    Keys,
    Credits,
    Ledger,
    Balances,
    Prices,
    Models,
    Projects,
    Templates,
    Metrics,
    Campaigns,
    ToolServers,
    Interactions,
    Users,
    Usage,
    Audit,
)

_NO_OBJECT = "The body must be a JSON object, in UTF-8."
_NO_BODY = "'data'"
"""How Litestar says that there is none."""
_TYPE_OF_PART = re.compile(r":\w+\}")
# Parameters whose names are taken in Python.
_ON_THE_WIRE = {
    "from_at": "from",
    "to_at": "to",
    "layout": "format",
    "idempotency_key": "Idempotency-Key",
}


class AdminApplication:
    """Made once, in a thread: it takes a second."""

    def __init__(self, parts: AdminParts) -> None:
        self._parts = parts
        self._litestar = Litestar(
            route_handlers=[Router(PATH, route_handlers=list(CONTROLLERS))],
            dependencies={
                "administration": Provide(self._administration, sync_to_thread=False),
                "question": Provide(question_of, sync_to_thread=False),
                "wanted": Provide(interactions_wanted, sync_to_thread=False),
            },
            exception_handlers={
                DragomanError: _tell,
                HTTPException: _tell_http,
                # Of a body that is no text, or nested without end.
                UnicodeDecodeError: _tell_malformed,
                RecursionError: _tell_malformed,
                Exception: _tell_unforeseen,
            },
            state=State({"parts": parts}),
            openapi_config=OpenAPIConfig(
                title="Dragoman administration",
                version=parts.version,
                # Ours is made of it. Litestar's own pages load their code from elsewhere; what stands
                # here instead is out of reach, since only what is below /admin comes this far.
                path="/generated",
                render_plugins=[JsonRenderPlugin()],
                operation_id_creator=lambda handler, _method, _path: handler.handler_name,
            ),
            before_request=self._refuse_unknown_parameters,
            logging_config=None,
            debug=False,
        )
        document = self._document()
        self._parameters = _query_parameters(document)
        self._repeatable = _query_parameters(document, only_lists=True)

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._litestar(cast(Any, scope), cast(Any, receive), cast(Any, send))

    def page(self, path: str) -> Page | None:
        """What describes the API, at `path`: status, headers and body."""
        return self._pages.get(path)

    @cached_property
    def _pages(self) -> dict[str, Page]:
        return pages_of(describe(self._document(), server_url=self._parts.server_url))

    def _document(self) -> dict[str, Any]:
        """What Litestar knows of the routes."""
        document: dict[str, Any] = msgspec.to_builtins(self._litestar.openapi_schema.to_schema())
        return document

    def _refuse_unknown_parameters(self, request: Request[Any, Any, Any]) -> None:
        """A filter that is misspelt would choose everything."""
        template = cast(dict[str, Any], request.scope)["path_template"]
        route = (_TYPE_OF_PART.sub("}", template), request.method)
        known = self._parameters.get(route)
        if known is None:
            return
        repeatable = self._repeatable[route]
        given = request.query_params
        for name in given:
            if name not in known:
                others = f"use {', '.join(known)}" if known else "there are none"
                raise InvalidRequest(
                    f"{name[:60]!r} is not a parameter here; {others}", param=name[:60]
                )
            if len(given.getall(name)) > 1 and name not in repeatable:
                raise InvalidRequest(f"{name} is given twice", param=name)

    def _administration(self, request: Request[Any, Any, Any]) -> Administration:
        parts = self._parts
        return Administration(
            parts.store,
            parts.clock,
            cast(dict[str, Any], request.scope)[ACTOR],
            directory=parts.directory,
            allows_plain_webhooks=parts.allows_plain_webhooks,
            allows_commands=False,
            keeps_interactions=parts.keeps_interactions,
        )


def _query_parameters(
    document: dict[str, Any], *, only_lists: bool = False
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Names, by path and method."""
    return {
        (path, method.upper()): tuple(
            parameter["name"]
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query" and (not only_lists or _is_list(parameter["schema"]))
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict)
    }


def _is_list(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "array" or any(map(_is_list, schema.get("oneOf", ())))


def _tell(_: Request[Any, Any, Any], error: DragomanError) -> Response[bytes]:
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    if isinstance(error, MethodNotAllowed) and error.allow:
        headers["allow"] = ", ".join(error.allow)
    media_type = headers.pop("content-type")
    return Response(
        encode_error(error), status_code=error.status, headers=headers, media_type=media_type
    )


def _tell_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own refusals, in our shape and words."""
    return _tell(request, _translated(request, error))


def _translated(request: Request[Any, Any, Any], error: HTTPException) -> DragomanError:
    if isinstance(error, ValidationException):
        return _invalid(error.extra)
    if isinstance(error, NotFoundException):
        path = request.scope["path"]
        return UnknownRoute(f"There is nothing at {path[:200]!r}; see {PATH}/docs.")
    if isinstance(error, MethodNotAllowedException):
        allow = tuple((error.headers or {}).get("allow", "").split(", "))
        return MethodNotAllowed(f"{request.method} is not allowed here.", allow=allow)
    if error.status_code == 400:
        return MalformedBody(_NO_OBJECT)
    _log.error("the admin API failed with status %d", error.status_code)
    return Internal()


def _invalid(extra: Any) -> InvalidRequest:
    """The first fault that was found, with its field."""
    faults = extra if isinstance(extra, Sequence) and extra else [{}]
    fault: dict[str, Any] = faults[0] if isinstance(faults[0], dict) else {}
    message = str(fault.get("message", "the request is not valid"))
    key = fault.get("key")
    if message == _NO_BODY:
        return InvalidRequest(f"There is no body. {_NO_OBJECT}")
    if key is None or key == "data":
        return InvalidRequest(told_of("The body", message))
    param = _ON_THE_WIRE.get(key, str(key))
    return InvalidRequest(told_of(param, message), param=param)


def _tell_malformed(request: Request[Any, Any, Any], _: Exception) -> Response[bytes]:
    return _tell(request, MalformedBody(_NO_OBJECT))


def _tell_unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    # Its message may hold what a client sent, and stays out of the log.
    trace = error.__traceback__
    place = "?"
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
    _log.error("the admin API failed with %s at %s", type(error).__name__, place)
    return _tell(request, Internal())
