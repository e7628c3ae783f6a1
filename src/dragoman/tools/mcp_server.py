"""One MCP server: its session, kept open by a task of its own, and the tools that it listed.

Nobody waits for the server longer than they want to: connecting, listing and calling are tasks of their
own, which those who asked may leave. A server that fails is asked again after a pause, which doubles.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from importlib import import_module
from typing import Any, Protocol, TypeVar

from dragoman.http_client import HttpClient
from dragoman.records.tool_server import ServerTool, ToolOutcome, ToolServer
from dragoman.tools.arguments import parse_arguments
from dragoman.tools.offering import ListedTool, offer
from dragoman.tools.outcomes import ToolFault, cut, told
from dragoman.tools.references import NotSetUp, ResolveSecret

CONNECT_S = 30.0
"""Programs that install themselves first take their time."""
LIST_S = 15.0
SECOND_WAIT_S = 0.2
FRESH_S = 60.0
"""So long is a list of tools taken for what it was."""
PARALLEL_CALLS = 16
PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
SHORT_LIFE_S = 10.0
CLOSE_S = 5.0

_log = logging.getLogger("dragoman.tools")
T = TypeVar("T")


class _Answered(Protocol):
    @property
    def text(self) -> str: ...

    @property
    def is_error(self) -> bool: ...


class Session(Protocol):
    """Both raise `ToolFault`, or `SessionGone`."""

    async def list_tools(self) -> list[ListedTool]: ...

    async def call(self, name: str, arguments: dict[str, Any]) -> _Answered: ...


class _Sdk(Protocol):
    """`mcp_session`, once it is imported."""

    SessionGone: type[Exception]

    def open_session(
        self,
        server: ToolServer,
        client: HttpClient,
        resolve: ResolveSecret,
        *,
        on_change: Callable[[], None],
        on_end: Callable[[], None],
    ) -> AbstractAsyncContextManager[Session]: ...


class _Link:
    """One session, from the wish for it to its end."""

    __slots__ = ("begun_s", "ended", "owner", "session")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.session: asyncio.Future[Session] = loop.create_future()
        self.begun_s = loop.time()
        self.ended = asyncio.Event()
        self.owner: asyncio.Task[None]

    @property
    def is_alive(self) -> bool:
        return not self.ended.is_set() and not self.owner.done()


class McpToolServer:
    def __init__(self, server: ToolServer, client: HttpClient, resolve: ResolveSecret) -> None:
        self._server = server
        self._client = client
        self._resolve = resolve
        self._link: _Link | None = None
        self._failures = 0
        self._again_s = 0.0
        self._fault: ToolFault | None = None
        self._offered: list[ServerTool] = []
        self._listed_s: float | None = None
        self._listing: asyncio.Task[None] | None = None
        self._is_slow = False
        """Somebody has waited for the first list in vain."""
        self._gate = asyncio.Semaphore(PARALLEL_CALLS)
        self._left: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    async def offered(self, *, timeout_s: float) -> list[ServerTool]:
        """What it listed last; only the first list is waited for, and not twice for as long."""
        if not self._is_fresh():
            listing = self._listing
            if listing is None:
                listing = self._listing = asyncio.create_task(self._list())
                listing.add_done_callback(self._listed)
            if self._listed_s is None:
                wait_s = min(timeout_s, SECOND_WAIT_S) if self._is_slow else timeout_s
                await asyncio.wait([listing], timeout=wait_s)
                self._is_slow = self._listed_s is None
        return self._offered

    async def call(
        self, tool: ServerTool, arguments: str, *, timeout_s: float, max_bytes: int
    ) -> ToolOutcome:
        """Raises `ToolFault`."""
        given = parse_arguments(arguments)
        try:
            async with asyncio.timeout(timeout_s), self._gate:
                answered = await self._ask(lambda session: session.call(tool.name, given))
        except TimeoutError:
            raise ToolFault("timeout", f"The tool did not answer within {timeout_s:g} s.") from None
        if answered.is_error:
            shown, is_cut = cut(answered.text or "The tool failed.", max_bytes)
            return ToolOutcome(text=shown, is_error=True, error="tool_failed", is_cut=is_cut)
        return told(answered.text, max_bytes)

    async def aclose(self) -> None:
        self._is_closed = True
        for task in (self._listing, *self._left):
            if task is not None:
                task.cancel()
        link = self._link
        if link is None:
            return
        link.ended.set()
        if not link.session.done():
            link.owner.cancel()
        await asyncio.wait([link.owner], timeout=CLOSE_S)
        link.owner.cancel()

    # --- Listing ---

    def _is_fresh(self) -> bool:
        if self._listed_s is None:
            return False
        return asyncio.get_running_loop().time() - self._listed_s < FRESH_S

    async def _list(self) -> None:
        async with asyncio.timeout(CONNECT_S + LIST_S):
            listed = await self._ask(lambda session: session.list_tools())
        # Compiling schemas takes a moment, and the checker's library one to load.
        self._offered = await asyncio.to_thread(offer, self._server.key, listed)
        self._listed_s = asyncio.get_running_loop().time()

    def _listed(self, task: asyncio.Task[None]) -> None:
        self._listing = None
        if task.cancelled():
            return
        fault = task.exception()
        if fault is None:
            return
        if self._listed_s is not None:
            # What it listed before holds a while longer.
            self._listed_s = asyncio.get_running_loop().time()
        _log.warning("tool server %s lists no tools: %s", self._server.key, _reason(fault))

    def _forget_list(self) -> None:
        if self._listed_s is not None:
            self._listed_s -= FRESH_S

    # --- Asking ---

    async def _ask(self, question: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Raises `ToolFault`. Whoever leaves does not wait for the server to hear of it."""
        for is_second in (False, True):
            link = self._open()
            if not link.session.done():
                await asyncio.wait([link.session])
            session = link.session.result()
            asking = asyncio.create_task(question(session))
            try:
                await asyncio.wait([asking, link.owner], return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not asking.done():
                    self._leave(asking)
            if not asking.done():
                break
            fault = asking.exception()
            if fault is None:
                return asking.result()
            if isinstance(fault, ToolFault):
                raise fault
            # The server has started anew, and knows nothing of the session.
            link.ended.set()
            if is_second or type(fault).__name__ != "SessionGone":
                _log.warning("tool server %s: %s", self._server.key, _reason(fault))
                raise ToolFault("garbled", "The tool's server broke off its answer.") from fault
        raise ToolFault("unreachable", "The tool's server ended before it answered.")

    def _leave(self, task: asyncio.Task[Any]) -> None:
        self._left.add(task)
        task.add_done_callback(self._left_behind)
        task.cancel()

    def _left_behind(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()

    # --- The session ---

    def _open(self) -> _Link:
        """The session that is open, or is being opened. Raises `ToolFault` within the pause after a failure."""
        if self._is_closed:
            raise ToolFault("unreachable", "The tool's server was closed.")
        link = self._link
        if link is not None and link.is_alive:
            return link
        if asyncio.get_running_loop().time() < self._again_s:
            raise self._fault or ToolFault("unreachable", "The tool's server cannot be reached.")
        link = self._link = _Link()
        link.owner = asyncio.create_task(self._own(link))
        link.owner.add_done_callback(lambda task: self._ended(link, task))
        return link

    async def _own(self, link: _Link) -> None:
        sdk = await asyncio.to_thread(_load_sdk)
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(CONNECT_S):
                session = await stack.enter_async_context(
                    sdk.open_session(
                        self._server,
                        self._client,
                        self._resolve,
                        on_change=self._forget_list,
                        on_end=link.ended.set,
                    )
                )
            self._fault = None
            link.begun_s = asyncio.get_running_loop().time()
            link.session.set_result(session)
            await link.ended.wait()

    def _ended(self, link: _Link, task: asyncio.Task[None]) -> None:
        """However the session ended: the SDK's tasks end it with whatever went wrong in them."""
        link.ended.set()
        now_s = asyncio.get_running_loop().time()
        fault = None if task.cancelled() else task.exception()
        if link.session.done():
            if fault is not None:
                _log.warning("tool server %s broke off: %s", self._server.key, _reason(fault))
            # The first end is an accident; one that keeps ending is a failure.
            self._failures = self._failures + 1 if now_s - link.begun_s < SHORT_LIFE_S else 0
            pause_s = _pause_s(self._failures - 1)
        else:
            self._failures += 1
            pause_s = _pause_s(self._failures)
            self._fault = (
                fault
                if isinstance(fault, ToolFault)
                else ToolFault("unreachable", "The tool's server opens no session.")
            )
            link.session.set_exception(self._fault)
            # Whoever wanted it may have left.
            link.session.exception()
            if not self._is_closed:
                _log.warning(
                    "tool server %s cannot be used, and is left alone for %g s: %s",
                    self._server.key,
                    pause_s,
                    _reason(fault),
                )
        self._again_s = now_s + pause_s


def _pause_s(failures: int) -> float:
    return min(PAUSE_S * 2.0 ** min(failures - 1, 10), MAX_PAUSE_S) if failures > 0 else 0.0


def _load_sdk() -> _Sdk:
    """In a thread: it takes a second, and other requests must not wait for it."""
    module: Any = import_module("dragoman.tools.mcp_session")
    return module  # type: ignore[no-any-return]


def _reason(fault: BaseException | None) -> str:
    """For the log: what of it cannot hold users' words."""
    if isinstance(fault, NotSetUp):
        return fault.reason
    if isinstance(fault, ToolFault):
        return f"{fault.word}: {fault.message}" if fault.word != "tool_failed" else fault.word
    if isinstance(fault, TimeoutError):
        return "it did not answer in time"
    return type(fault).__name__ if fault is not None else "it was closed"
