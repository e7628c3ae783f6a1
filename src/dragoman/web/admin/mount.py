"""Where the admin API joins the server: the key is checked first, Litestar is loaded after that.

A server that nobody administers never imports it.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from dragoman.errors import DragomanError, UnknownRoute
from dragoman.policy.prices import PriceBook
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock, Dialect, ToolBox
from dragoman.ports.administration import AdministrationStore
from dragoman.web.admin.errors import encode_error, error_headers
from dragoman.web.admin.gate import Gate
from dragoman.web.call import Call
from dragoman.web.completions import Route

if TYPE_CHECKING:
    from dragoman.web.admin.application import AdminApplication

PREFIX = "/admin/"
ACTOR = "dragoman.actor"
"""Who acts, in the scope that Litestar is given."""
MAX_BODY_BYTES = 1 << 20
BODY_TIMEOUT_S = 30.0
_NO_STORE = (b"cache-control", b"no-store")
_NO_SNIFF = (b"x-content-type-options", b"nosniff")


class AdminParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the admin API is made of, handed in by whoever wires the server."""

    store: AdministrationStore
    clock: Clock
    directory: ModelDirectory
    prices: PriceBook
    version: str
    server_url: str
    allows_plain_webhooks: bool = True
    keeps_interactions: bool = True
    tool_box: ToolBox | None = None
    """`None`: this process runs no tools."""


class AdminRoute(Route):
    """Every path below `/admin/`."""

    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")

    def __init__(self, dialect: Dialect, gate: Gate, parts: AdminParts) -> None:
        """`dialect` tells of errors that even the admin API did not foresee."""
        super().__init__(dialect)
        self._gate = gate
        self._parts = parts
        self._application: AdminApplication | None = None
        self._loading = asyncio.Lock()

    async def __call__(self, call: Call) -> None:
        try:
            await self.answer(call)
        except DragomanError as error:
            if call.is_answered:
                raise
            await call.send_whole(
                error.status, [*error_headers(error), _NO_STORE], encode_error(error)
            )

    async def answer(self, call: Call) -> None:
        if call.method == "GET" and await self._answer_page(call):
            return
        principal = await self._gate.authenticate(call)
        body = b""
        if call.has_body_left:
            body = await call.read_body(MAX_BODY_BYTES, BODY_TIMEOUT_S)
        application = await self._loaded()
        await application.asgi(
            {**call.scope, ACTOR: principal.key_id, "headers": _named(call)},
            _Received(call, body),
            _Sent(call),
        )

    async def _answer_page(self, call: Call) -> bool:
        """The description of the API, which needs no key, and which a browser can show."""
        if not call.path.startswith(("/admin/v1/docs", "/admin/v1/openapi.json")):
            return False
        page = (await self._loaded()).page(call.path)
        if page is None:
            raise UnknownRoute
        status, headers, body = page
        await call.send_whole(status, list(headers), body)
        return True

    async def _loaded(self) -> AdminApplication:
        async with self._loading:
            if self._application is None:
                # A second of imports: other requests are answered meanwhile.
                self._application = await asyncio.to_thread(_load, self._parts)
        return self._application


def _load(parts: AdminParts) -> AdminApplication:
    from dragoman.web.admin.application import AdminApplication  # noqa: PLC0415 - see the module's top

    return AdminApplication(parts)


def _named(call: Call) -> list[tuple[bytes, bytes]]:
    """The headers, without the key: nothing beyond this point needs it."""
    return [
        (name, value)
        for name, value in call.scope["headers"]
        if name not in (b"authorization", b"x-api-key", b"cookie")
    ]


class _Received:
    """ASGI's receive, once the body was read: the body, then the end of the connection."""

    def __init__(self, call: Call, body: bytes) -> None:
        self._call = call
        self._body: bytes | None = body

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._call.wait_for_disconnect()
        return {"type": "http.disconnect"}


class _Sent:
    """ASGI's send, by way of the call: every answer has its request's id."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = cast("list[tuple[bytes, bytes]]", list(message.get("headers", ())))
            await self._call.send_head(message["status"], [*headers, _NO_STORE, _NO_SNIFF])
        else:
            await self._call.send_body(
                message.get("body", b""), more=message.get("more_body", False)
            )
