"""One serving process, wired together.

`serve` opens the port before anything slow: models load while the first requests already wait for
them, and what a start does not need (the interface description) is made when it is first asked for.
"""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack

import uvloop

from dragoman import __version__
from dragoman.app.administering import admin_routes
from dragoman.app.bookkeeping import open_books
from dragoman.app.conversations import Parts, conversation_routes
from dragoman.app.definitions import apply_at_start
from dragoman.app.embedding import embed
from dragoman.app.process import SystemClock, set_up_logging, tell_port, url_of
from dragoman.app.self_service import self_service_routes
from dragoman.app.tooling import open_tools
from dragoman.config import Config, resolve_secret
from dragoman.dialects.anthropic import ANTHROPIC, decode_count_request, encode_count
from dragoman.dialects.dreamsolve import DREAMSOLVE
from dragoman.dialects.openai import OPENAI
from dragoman.dialects.studio import STUDIO
from dragoman.http_client import HttpClient, HttpSettings
from dragoman.pipeline import Pipeline
from dragoman.policy.guests import GuestLimits
from dragoman.policy.keys import KeyRing
from dragoman.policy.networks import parse_network
from dragoman.policy.projects import ProjectBook
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Dialect, Provider
from dragoman.providers.http import HttpProvider
from dragoman.stores import open_store
from dragoman.web.admin.gate import Gate
from dragoman.web.application import Application, Routes
from dragoman.web.completions import CompletionRoute, CountTokensRoute, Route, WebLimits
from dragoman.web.door import Door
from dragoman.web.guests import Guests
from dragoman.web.in_flight import InFlight
from dragoman.web.interface import InterfacePages
from dragoman.web.neighbours import (
    Catalogue,
    Health,
    HealthRoute,
    ModelListRoute,
    ModelRoute,
    StaticRoute,
)
from dragoman.web.request_log import RequestLog
from dragoman.web.server import Acceptor, Listener, Stop, listen, run_until_stopped

BODY_TIMEOUT_S = 60.0
STREAM_COMMENT_S = 10.0
GC_THRESHOLDS = (10_000, 20, 20)

_log = logging.getLogger("dragoman.app")


DIALECTS: tuple[Dialect, ...] = (OPENAI, STUDIO, ANTHROPIC, DREAMSOLVE)


class Seat:
    """What a serving process has of its own: `index` counts from 0 to one less than `config.workers`."""

    def __init__(
        self,
        index: int,
        acceptor: Acceptor,
        stop: Stop,
        when_ready: Callable[[], None],
        engine_link: socket.socket | None = None,
    ) -> None:
        self.index = index
        self.acceptor = acceptor
        self.stop = stop
        self.when_ready = when_ready
        """Called when connections are taken."""
        self.engine_link = engine_link
        """Leads to the process that runs the engines; `None`: this one does."""


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT. Raises `OSError` where the address cannot be had."""
    sock = listen(config.host, config.port)
    set_up_logging(config)
    apply_at_start(config, SystemClock())
    with ExitStack() as closing:
        serve_seat(
            config,
            lambda: Seat(0, Listener(sock), Stop(), lambda: tell_port(config, sock, closing)),
        )


def serve_seat(config: Config, seat: Callable[[], Seat]) -> None:
    """Serve in this process; `seat` is called in its event loop."""
    set_up_logging(config)
    # What is loaded by now stays. A request leaves no cycles, so looking for them seldom is enough.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(_serve(config, seat))


async def _serve(config: Config, take_seat: Callable[[], Seat]) -> None:
    seat = take_seat()
    clock = SystemClock()
    async with AsyncExitStack() as closing:
        # Entered first, left last: a second signal must not end what closes in between.
        closing.enter_context(seat.stop.on_signals())
        store = open_store(config.data_dir)
        closing.callback(store.close)
        client = HttpClient(HttpSettings(proxy=config.proxies))
        closing.push_async_callback(client.aclose)
        embedded = embed(config, client, seat.engine_link) if config.local_models else None
        models = [
            *(embedded.models if embedded is not None else ()),
            *(model for provider in config.providers for model in provider.models),
        ]
        providers: dict[str, Provider] = {
            configured.row.name: HttpProvider(configured.row, client, resolve_secret)
            for configured in config.providers
        }
        if embedded is not None:
            providers[embedded.provider.name] = embedded.provider
            closing.push_async_callback(embedded.aclose)
        for provider in providers.values():
            closing.push_async_callback(provider.aclose)
        opened = await open_books(config, store, clock, seat.index, closing)
        directory = ModelDirectory(models, config.default_model)
        # Read when a request first names a project.
        projects = ProjectBook(store, directory, clock, default_limits=config.limits)
        tools = open_tools(config, projects, closing)
        pipeline = Pipeline(
            directory,
            providers,
            clock,
            opened.books,
            max_choices=config.max_choices,
            projects=projects,
            tools=tools,
        )
        keys = KeyRing(store, clock, default_limits=config.limits)
        door = Door(
            keys,
            clock,
            touch=opened.ledger.touch,
            rate_headers=lambda principal: opened.books.limiter.peek(principal).headers,
            trusted_proxies=[parse_network(network) for network in config.trusted_proxies],
        )
        in_flight = InFlight()
        log = RequestLog(clock, layout=config.log_format, level=config.log_level)
        closing.callback(log.close)
        gate = Gate(keys, clock, door.origin_of, touch=opened.ledger.touch)
        beside = {
            **self_service_routes(door, store, opened, directory, clock, closing),
            **admin_routes(config, gate, store, opened, directory, clock, tools),
            **conversation_routes(
                Parts(
                    door=door,
                    book=projects,
                    store=store,
                    directory=directory,
                    clock=clock,
                    max_body_bytes=config.max_body_bytes,
                    body_timeout_s=BODY_TIMEOUT_S,
                    in_flight=in_flight,
                ),
                closing,
            ),
        }
        guests = Guests(
            projects,
            GuestLimits(opened.windows),
            door,
            max_body_bytes=config.max_body_bytes,
            body_timeout_s=BODY_TIMEOUT_S,
        )
        routes = {**_completion_routes(config, pipeline, door, guests, in_flight), **beside}
        application = _application(config, routes, in_flight, log, clock)

        async def when_ready() -> None:
            if embedded is not None:
                await embedded.start()
            seat.when_ready()

        await run_until_stopped(
            application,
            seat.acceptor,
            in_flight,
            seat.stop,
            grace_s=config.shutdown_grace_s,
            when_ready=when_ready,
        )


def _completion_routes(
    config: Config, pipeline: Pipeline, door: Door, guests: Guests, in_flight: InFlight
) -> dict[str, Route]:
    """By path, with what tells of models beside them; those that end in a slash take all that is below."""
    limits = WebLimits(
        max_body_bytes=config.max_body_bytes,
        body_timeout_s=BODY_TIMEOUT_S,
        header_hold_s=config.header_hold_s,
        keep_alive_s=STREAM_COMMENT_S,
    )
    catalogue = Catalogue(pipeline.directory, pipeline.projects)
    completions: dict[str, Route] = {
        dialect.wire.path: CompletionRoute(
            dialect,
            door,
            pipeline,
            in_flight,
            limits,
            # Public projects are for clients of `studio`, which may come without a key.
            guests=guests if dialect is STUDIO else None,
        )
        for dialect in DIALECTS
    }
    return completions | {
        "/v1/messages/count_tokens": CountTokensRoute(
            ANTHROPIC, decode_count_request, encode_count, door, pipeline, limits
        ),
        "/v1/models": ModelListRoute(OPENAI, door, catalogue),
        "/v1/models/": ModelRoute(OPENAI, door, catalogue, "/v1/models/"),
        "/api/v1/models": ModelListRoute(STUDIO, door, catalogue),
        "/api/v1/models/": ModelRoute(STUDIO, door, catalogue, "/api/v1/models/"),
    }


def _application(
    config: Config,
    routes: Mapping[str, Route],
    in_flight: InFlight,
    log: RequestLog,
    clock: SystemClock,
) -> Application:
    """`routes` are by path; those that end in a slash take all that is below."""
    health = HealthRoute(OPENAI, lambda: _health(config, in_flight))
    pages = InterfacePages(
        DIALECTS, version=__version__, server_url=url_of(config.host, config.port)
    )
    documents = StaticRoute(OPENAI, pages.page)
    exact: dict[str, Route] = {
        **{path: route for path, route in routes.items() if not path.endswith("/")},
        "/healthz": health,
        "/openapi.json": documents,
        "/docs": documents,
    }
    prefixed: dict[str, Route] = {
        **{path: route for path, route in routes.items() if path.endswith("/")},
        "/docs/": documents,
    }
    shapes: tuple[tuple[str, Dialect], ...] = (
        ("/api/v1/completions", DREAMSOLVE),
        ("/api/", STUDIO),
        ("/v1/messages", ANTHROPIC),
        ("/", OPENAI),
    )
    return Application(Routes(exact, prefixed, shapes), log, clock, config.cors_origins)


def _health(config: Config, in_flight: InFlight) -> Health:
    return Health(
        status="draining" if in_flight.is_draining else "ok",
        version=__version__,
        features={
            "accounting": config.accounting,
            "authentication": True,
            "embedded_engine": bool(config.local_models),
            "projects": True,
            "rate_limits": True,
            "request_log": config.log_level in ("debug", "info"),
            "several_workers": config.workers > 1,
        },
    )
