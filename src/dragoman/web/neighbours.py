"""The routes beside completions: lists of models, health, the interface description."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Literal
from urllib.parse import unquote

import msgspec

from dragoman.errors import InvalidRequest, UnknownEntity, UnknownRoute
from dragoman.policy.projects import ProjectBook
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Dialect
from dragoman.records.model import Model
from dragoman.records.principal import Principal
from dragoman.records.project import Project
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
    return ModelEntry(
        id=model.id,
        object="model",
        type="model",
        display_name=model.id,
        created=model.created_s,
        created_at=_moment(model.created_s),
        owned_by=model.owned_by,
        aliases=model.aliases,
        context_window=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
    )


def _moment(at_s: int) -> str:
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Catalogue:
    """What a key may name as a model: models, then projects and their models."""

    def __init__(self, directory: ModelDirectory, projects: ProjectBook | None = None) -> None:
        self._directory = directory
        self._projects = projects
        self._models = tuple(entry_of(model) for model in directory.models)
        self._models_alone = _list_body(self._models)

    async def list_body(self, principal: Principal) -> bytes:
        models = self._models
        allowed = principal.models
        if allowed is not None:
            models = tuple(entry for entry in models if entry.id in allowed)
        projects = await self._project_entries(principal)
        if models is self._models and not projects:
            return self._models_alone
        return _list_body((*models, *projects))

    async def find(self, name: str, principal: Principal) -> ModelEntry | None:
        """By id or alias, or as a project is named."""
        model = self._directory.resolve(name)
        if model is not None:
            is_hidden = principal.models is not None and model.id not in principal.models
            return None if is_hidden else entry_of(model)
        for entry in await self._project_entries(principal):
            if entry.id == name:
                return entry
        return None

    async def _project_entries(self, principal: Principal) -> list[ModelEntry]:
        book = self._projects
        if book is None:
            return []
        if book.is_stale():
            await book.refresh()
        entries = []
        for project, models in book.usable(principal):
            by_key = dict(models)
            default = by_key.get(project.default_model or "")
            if default is not None:
                entries.append(_project_entry(project, project.key, default))
            entries += [
                _project_entry(project, f"{project.key}/{key}", model) for key, model in models
            ]
        return entries


def _project_entry(project: Project, name: str, model: Model) -> ModelEntry:
    """`model` answers where nothing else is meant: a campaign may ask another."""
    return msgspec.structs.replace(
        entry_of(model),
        id=name,
        display_name=project.name if name == project.key else f"{project.name}: {model.id}",
        created=int(project.created_s),
        created_at=_moment(int(project.created_s)),
        owned_by=project.key,
        aliases=(),
    )


class ModelListRoute(Route):
    """`GET` everything that the key may name as a model."""

    methods = READ_METHODS

    def __init__(self, dialect: Dialect, door: Door, catalogue: Catalogue) -> None:
        super().__init__(dialect)
        self._door = door
        self._catalogue = catalogue

    async def answer(self, call: Call) -> None:
        principal = await self._door.authenticate(call)
        await call.send_whole(200, [_JSON], await self._catalogue.list_body(principal))


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
    """`GET` one model by id or alias, or a project; names may hold slashes. What the key may not ask for is not
    there."""

    methods = READ_METHODS

    def __init__(self, dialect: Dialect, door: Door, catalogue: Catalogue, prefix: str) -> None:
        super().__init__(dialect)
        self._door = door
        self._catalogue = catalogue
        self._prefix = prefix

    async def answer(self, call: Call) -> None:
        principal = await self._door.authenticate(call)
        name = unquote(call.path[len(self._prefix) :])
        entry = await self._catalogue.find(name, principal)
        if entry is None:
            raise UnknownEntity(
                f"model '{name[:100]}' does not exist",
                entity="model",
                is_in_path=True,
                param="model",
            )
        await call.send_whole(200, [_JSON], msgspec.json.encode(entry))


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
