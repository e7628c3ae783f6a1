"""The routes beside completions: lists of models, health, the interface description."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Literal
from urllib.parse import unquote

import msgspec

from dragoman.errors import InvalidRequest, UnknownEntity, UnknownRoute
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Dialect
from dragoman.records.model import Model
from dragoman.web.call import Call, Headers
from dragoman.web.completions import Route
from dragoman.web.door import Door

READ_METHODS = ("GET", "HEAD")
_JSON = (b"content-type", b"application/json")


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model as both OpenAI's and Anthropic's clients read it, one superset for all paths.

    https://platform.openai.com/docs/api-reference/models/object,
    https://docs.anthropic.com/en/api/models-list
    """

    id: str
    object: Literal["model"] | msgspec.UnsetType = msgspec.UNSET
    type: str
    display_name: str
    created: int
    created_at: str
    owned_by: str
    aliases: tuple[str, ...] = ()
    context_window: int | None = None
    max_output_tokens: int | None = None


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    object: str
    data: tuple[ModelEntry, ...]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`features` says what runs, so that a benchmark's row can name what was on."""

    status: Literal["ok", "draining"]
    version: str
    features: dict[str, bool]


def entry_of(model: Model) -> ModelEntry:
    created = datetime.datetime.fromtimestamp(model.created_s, datetime.UTC)
    return ModelEntry(
        id=model.id,
        object="model",
        type="model",
        display_name=model.id,
        created=model.created_s,
        created_at=created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        owned_by=model.owned_by,
        aliases=model.aliases,
        context_window=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
    )


class ModelListRoute(Route):
    """`GET` every model that the key may ask for."""

    methods = READ_METHODS

    def __init__(self, dialect: Dialect, door: Door, directory: ModelDirectory) -> None:
        super().__init__(dialect)
        self._door = door
        self._entries = tuple(entry_of(model) for model in directory.models)
        self._body = _list_body(self._entries)

    async def answer(self, call: Call) -> None:
        principal = await self._door.authenticate(call)
        body = self._body
        if principal.models is not None:
            allowed = principal.models
            body = _list_body(tuple(entry for entry in self._entries if entry.id in allowed))
        await call.send_whole(200, [_JSON], body)


def _list_body(entries: tuple[ModelEntry, ...]) -> bytes:
    return msgspec.json.encode(
        ModelList(
            object="list",
            data=entries,
            first_id=entries[0].id if entries else None,
            last_id=entries[-1].id if entries else None,
        )
    )


class ModelRoute(Route):
    """`GET` one model by id or alias; ids may hold slashes. What the key may not ask for is not there."""

    methods = READ_METHODS

    def __init__(
        self, dialect: Dialect, door: Door, directory: ModelDirectory, prefix: str
    ) -> None:
        super().__init__(dialect)
        self._door = door
        self._directory = directory
        self._prefix = prefix

    async def answer(self, call: Call) -> None:
        principal = await self._door.authenticate(call)
        name = unquote(call.path[len(self._prefix) :])
        model = self._directory.resolve(name)
        if model is None or (principal.models is not None and model.id not in principal.models):
            raise UnknownEntity(
                f"model '{name[:100]}' does not exist",
                entity="model",
                is_in_path=True,
                param="model",
            )
        await call.send_whole(200, [_JSON], msgspec.json.encode(entry_of(model)))


class HealthRoute(Route):
    """`GET` whether the server takes requests. Asks no provider, costs nothing, needs no key."""

    methods = READ_METHODS

    def __init__(self, dialect: Dialect, report: Callable[[], Health]) -> None:
        super().__init__(dialect)
        self._report = report

    async def answer(self, call: Call) -> None:
        health = self._report()
        status = 200 if health.status == "ok" else 503
        await call.send_whole(status, [_JSON], msgspec.json.encode(health))


class StaticRoute(Route):
    """`GET` pages and documents that are made once and kept in memory."""

    methods = READ_METHODS

    def __init__(
        self,
        dialect: Dialect,
        page: Callable[[str], tuple[int, list[tuple[bytes, bytes]], bytes] | None],
    ) -> None:
        super().__init__(dialect)
        self._page = page

    async def answer(self, call: Call) -> None:
        if not call.path.isascii():
            raise InvalidRequest("the path must be ASCII")
        found = self._page(call.path)
        if found is None:
            raise UnknownRoute(f"There is nothing at {call.path[:200]!r}.")
        status, headers, body = found
        answer_headers: Headers = list(headers)
        etag = next((value for name, value in headers if name == b"etag"), None)
        if etag is not None and call.headers.get("if-none-match", "").encode() == etag:
            await call.send_head(304, answer_headers)
            await call.send_body(b"")
            return
        await call.send_whole(status, answer_headers, body)
