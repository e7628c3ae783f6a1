"""Conversations as clients tell of them, look for them, take them away as files, and delete them.

A key sees the projects of its account that it may use, archived ones too, and nothing else: what is elsewhere does
not exist. None of this costs anything. The database is asked, and changed, in threads of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, Protocol, get_args

import msgspec

from dragoman.errors import ClientError, InvalidRequest, UnknownEntity, UnknownRoute
from dragoman.policy.administration.complaints import told_of
from dragoman.policy.feedback import FeedbackStore
from dragoman.policy.idempotency import read_key
from dragoman.policy.interactions.exports import ExportLayout, export_pieces
from dragoman.policy.interactions.imported import Teller
from dragoman.policy.interactions.imports import Imported, Importer
from dragoman.policy.interactions.questions import InteractionQuestion, filter_of
from dragoman.policy.interactions.rows import InteractionRow, Names, interaction_row, names_of
from dragoman.policy.projects import ProjectBook
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import AuditRepository, Clock, Dialect
from dragoman.records.audit_event import AuditEvent
from dragoman.records.interaction import InteractionSource
from dragoman.records.interaction_query import InteractionFilter, KeptInteraction
from dragoman.records.principal import Principal
from dragoman.records.project import Project
from dragoman.records.usage_record import UsageStatus
from dragoman.web.accounts import Readers
from dragoman.web.call import Call, Headers
from dragoman.web.completions import Route
from dragoman.web.door import Door
from dragoman.web.interactions_export import Exports
from dragoman.web.interactions_wire import (
    FindProject,
    InteractionAdded,
    LineAdded,
    LinesAdded,
    decode_interaction,
    decode_lines,
)
from dragoman.web.query import moment_s, one_of, read_values, whole_number

DEFAULT_PAGE = 50
MAX_PAGE = 1000
MAX_CURSOR_CHARS = 200
MAX_IGNORED_HEADER = 1000

_LAYOUTS: Mapping[str, ExportLayout] = {"jsonl": "chat", "jsonl-full": "full"}
_LINES_TYPES = (b"application/jsonl", b"application/x-ndjson", b"application/jsonlines")
_REPEATABLE = frozenset({"label", "tag"})
PARAMETERS = {
    "project": "A project's id or key.",
    "model": "Id or alias of the model that answered, or key of the project's model.",
    "session": "The session's id; `session_id` is the same.",
    "session_id": "The same as `session`.",
    "user": "The user that the request named.",
    "label": "A label: `NAME:VALUE`, or `NAME` for any value. May be repeated: all of them.",
    "tag": "A tag. May be repeated: all of them.",
    "from": "Made then or later: a day, a moment (UTC where it says no zone), or seconds since the"
    " epoch.",
    "to": "Made before.",
    "campaign": "A campaign's id or key.",
    "arm": "Key of the campaign's arm that was meant.",
    "status": f"One of {', '.join(get_args(UsageStatus))}.",
    "metric": "Id or key of a metric: what has feedback of it.",
    "search": 'Words that all occur in it, in any order; `"in quotes"`: a phrase.',
    "completion_id": "One completion.",
    "source": f"One of {', '.join(get_args(InteractionSource))}.",
    "content": "`false`: without the words.",
    "format": "`json`: a page. `jsonl`: everything that matches, the oldest first, as JSON lines for"
    " fine-tuning (OpenAI's chat format). `jsonl-full`: the same with all that is known of each.",
    "limit": f"How many a page has at most: 1 to {MAX_PAGE}, {DEFAULT_PAGE} by default.",
    "cursor": "The `next_cursor` of the page before.",
}

_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class InteractionsPage(msgspec.Struct, frozen=True, kw_only=True):
    """The newest first, by when they were made."""

    object: Literal["list"] = "list"
    data: tuple[InteractionRow, ...]
    has_more: bool
    next_cursor: str | None
    """A page may have fewer than were asked for and still not be the last."""


class InteractionDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """With its feedback and comparisons. What it cost stays in the books."""

    object: Literal["interaction.deleted"] = "interaction.deleted"
    completion_id: str
    deleted: Literal[True] = True


class InteractionStore(FeedbackStore, AuditRepository, Protocol):
    """Conversations, and the log that tells who deleted one."""


class Callers:
    """Who calls a route about projects, and which of them it may see."""

    def __init__(
        self,
        door: Door,
        book: ProjectBook,
        clock: Clock,
        *,
        max_body_bytes: int,
        body_timeout_s: float,
    ) -> None:
        self._door = door
        self._book = book
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s

    async def authenticate(self, call: Call) -> Caller:
        """Raises `Unauthenticated` or `Forbidden`."""
        principal = await self._door.authenticate(call)
        if self._book.is_stale():
            await self._book.refresh()
        return Caller(principal, self._book, self._clock.unix_s())

    async def read_body(self, call: Call) -> bytes:
        return await call.read_body(self._max_body_bytes, self._body_timeout_s)


class Caller:
    """A call's principal. Its methods only read what the book holds by now: any thread may."""

    def __init__(self, principal: Principal, book: ProjectBook, now_s: float) -> None:
        self.principal = principal
        self.account_id = principal.account.id
        self.now_s = now_s
        self._book = book

    @property
    def teller(self) -> Teller:
        return Teller(account_id=self.account_id, key_id=self.principal.key_id, now_s=self.now_s)

    def visible(self) -> list[Project]:
        return self._book.visible(self.principal)

    def known_project(self, name: str | None, param: str = "project") -> Project:
        """By id or key; `None`: the one that the key is bound to."""
        wanted = self.principal.project if name is None else name
        if not wanted:
            raise InvalidRequest(f"{param} is required: its id or key", param=param)
        return self._book.named(wanted, self.principal)

    def project(self, name: str | None) -> Project:
        """The same, for what is to be added to it: not an archived one."""
        project = self.known_project(name)
        if project.archived_s is not None:
            raise UnknownEntity(
                f"project '{project.key}' is archived, and takes nothing more; restore it first",
                entity="project",
                param="project",
            )
        return project


class InteractionsRoute(Route):
    """`GET` a page of interactions, or all of them as a file; `POST` one that was answered elsewhere, or a
    file of them."""

    methods = ("GET", "HEAD", "POST")

    def __init__(
        self,
        dialect: Dialect,
        callers: Callers,
        store: InteractionStore,
        importer: Importer,
        directory: ModelDirectory,
        readers: Readers,
        exports: Exports,
    ) -> None:
        super().__init__(dialect)
        self._callers = callers
        self._store = store
        self._importer = importer
        self._directory = directory
        self._readers = readers
        self._exports = exports

    async def answer(self, call: Call) -> None:
        caller = await self._callers.authenticate(call)
        if call.method == "POST":
            await self._import(call, caller)
            return
        given = read_values(call.scope.get("query_string", b""), PARAMETERS, _REPEATABLE)
        single = {name: values[0] for name, values in given.items()}
        layout = _layout_of(call, single)
        question = _question_of(given, single)
        if layout is not None:
            await self._export(call, caller, question, layout, single)
            return
        limit = whole_number(single, "limit", least=1, most=MAX_PAGE, default=DEFAULT_PAGE)
        before = _cursor_of(single)
        with_content = one_of(single, "content", ("true", "false")) != "false"

        def page() -> bytes:
            names = self._names(caller)
            asked = self._filter(caller, question)
            try:
                found = self._store.list_interactions(
                    asked, before=before, limit=limit, with_content=with_content
                )
            except InvalidRequest as refusal:
                raise _unknown_cursor() if refusal.param == "before" else refusal from None
            return msgspec.json.encode(
                InteractionsPage(
                    data=tuple(interaction_row(kept, names) for kept in found.interactions),
                    has_more=found.before is not None,
                    next_cursor=found.before,
                )
            )

        body = await self._readers.ask(caller.account_id, page)
        await call.send_whole(200, list(_HEADERS), body)

    async def _export(
        self,
        call: Call,
        caller: Caller,
        question: InteractionQuestion,
        layout: ExportLayout,
        given: Mapping[str, str],
    ) -> None:
        for name in ("limit", "cursor", "content"):
            if name in given:
                raise InvalidRequest(
                    f"{name} goes with pages; a file has everything that matches", param=name
                )

        def pieces() -> Iterator[bytes]:
            asked = self._filter(caller, question)
            return export_pieces(
                self._store.export_interactions(asked), layout, self._names(caller)
            )

        await self._exports.send(call, caller.account_id, pieces)

    async def _import(self, call: Call, caller: Caller) -> None:
        given = read_values(call.scope.get("query_string", b""), ("project",))
        token = read_key(call.headers)
        body = await self._callers.read_body(call)
        default = given["project"][0] if "project" in given else None

        def find(name: str | None) -> Project:
            return caller.project(default if name is None else name)

        adding = self._add_lines if _is_lines(call) else self._add_one
        answer, ignored = await self._readers.ask(
            caller.account_id, lambda: adding(body, find, caller, token)
        )
        await call.send_whole(200, [*_HEADERS, *ignored_header(ignored)], answer)

    def _add_one(
        self, body: bytes, find: FindProject, caller: Caller, token: str | None
    ) -> tuple[bytes, list[str]]:
        wish, ignored = decode_interaction(body, find, caller.now_s)
        added = self._importer.add([wish], caller.teller, token)[0]
        return msgspec.json.encode(_added(added)), ignored

    def _add_lines(
        self, body: bytes, find: FindProject, caller: Caller, token: str | None
    ) -> tuple[bytes, list[str]]:
        wishes, ignored = decode_lines(body, find, caller.now_s)
        added = self._importer.add(wishes, caller.teller, token)
        data = tuple(
            LineAdded(
                line=wish.line or 0,
                completion_id=each.completion_id,
                session_id=each.session_id,
                feedback_ids=each.feedback_ids,
            )
            for wish, each in zip(wishes, added, strict=True)
        )
        return msgspec.json.encode(LinesAdded(data=data)), ignored

    def _filter(self, caller: Caller, question: InteractionQuestion) -> InteractionFilter:
        model = question.model
        known = None if model is None else self._directory.resolve(model)
        return filter_of(
            question,
            self._store,
            caller.visible(),
            account_id=caller.account_id,
            model_id=None if known is None else known.id,
        )

    def _names(self, caller: Caller) -> Names:
        return names_of(caller.visible(), self._store.list_metrics())


class InteractionRoute(Route):
    """`GET` one interaction, or `DELETE` it: the path's last part is its completion id."""

    methods = ("GET", "HEAD", "DELETE")

    def __init__(
        self,
        dialect: Dialect,
        callers: Callers,
        store: InteractionStore,
        readers: Readers,
        prefix: str,
    ) -> None:
        super().__init__(dialect)
        self._callers = callers
        self._store = store
        self._readers = readers
        self._prefix = prefix

    async def answer(self, call: Call) -> None:
        caller = await self._callers.authenticate(call)
        read_values(call.scope.get("query_string", b""), ())
        completion_id = call.path.removeprefix(self._prefix).lower()
        if "/" in completion_id:
            raise UnknownRoute(f"There is nothing at {call.path[:200]!r}.")
        if call.method == "DELETE":
            await self._callers.read_body(call)
            body = await self._readers.ask(
                caller.account_id, lambda: self._delete(caller, completion_id)
            )
        else:
            body = await self._readers.ask(
                caller.account_id, lambda: self._row(caller, completion_id)
            )
        await call.send_whole(200, list(_HEADERS), body)

    def _find(self, caller: Caller, completion_id: str) -> tuple[KeptInteraction, Project]:
        kept = self._store.find_interaction(completion_id)
        if kept is not None:
            for project in caller.visible():
                if project.id == kept.interaction.project_id:
                    return kept, project
        raise UnknownEntity(
            f"completion '{completion_id[:64]}' is not known",
            entity="completion",
            is_in_path=True,
            param="completion_id",
        )

    def _row(self, caller: Caller, completion_id: str) -> bytes:
        kept, project = self._find(caller, completion_id)
        names = names_of((project,), self._store.list_metrics(project.id))
        return msgspec.json.encode(interaction_row(kept, names))

    def _delete(self, caller: Caller, completion_id: str) -> bytes:
        with self._store.atomically():
            kept, project = self._find(caller, completion_id)
            self._store.delete_interaction(kept.interaction.completion_id)
            detail = {"project": project.id, "account": caller.account_id}
            self._store.add_event(
                AuditEvent(
                    at_s=caller.now_s,
                    actor=caller.principal.key_id,
                    action="interaction.delete",
                    subject=kept.interaction.completion_id,
                    detail=msgspec.Raw(msgspec.json.encode(detail)),
                )
            )
        return msgspec.json.encode(InteractionDeleted(completion_id=kept.interaction.completion_id))


def ignored_header(names: list[str]) -> Headers:
    """Names the fields of a body that nobody knows, as far as they fit."""
    if not names:
        return []
    listed = ", ".join(
        name if name.isascii() and name.isprintable() else ascii(name) for name in names
    )
    return [(b"x-dragoman-ignored", listed.encode()[:MAX_IGNORED_HEADER])]


def _added(imported: Imported) -> InteractionAdded:
    return InteractionAdded(
        completion_id=imported.completion_id,
        session_id=imported.session_id,
        feedback_ids=imported.feedback_ids,
    )


def _is_lines(call: Call) -> bool:
    return _header(call, b"content-type").partition(b";")[0].strip().lower() in _LINES_TYPES


def _header(call: Call, wanted: bytes) -> bytes:
    for name, value in call.scope["headers"]:
        if name == wanted:
            return bytes(value)
    return b""


def _layout_of(call: Call, given: Mapping[str, str]) -> ExportLayout | None:
    """Of a file; `None`: a page is asked for."""
    asked = one_of(given, "format", ("json", *_LAYOUTS))
    if asked is not None:
        return _LAYOUTS.get(asked)
    accepted = _header(call, b"accept").lower()
    return "chat" if any(kind in accepted for kind in _LINES_TYPES) else None


def _question_of(given: Mapping[str, list[str]], single: Mapping[str, str]) -> InteractionQuestion:
    if "session" in single and "session_id" in single:
        raise InvalidRequest("session and session_id are the same; give one", param="session_id")
    start, end = moment_s(single, "from"), moment_s(single, "to")
    status = one_of(single, "status", get_args(UsageStatus))
    source = one_of(single, "source", get_args(InteractionSource))
    asked = {
        "project": single.get("project"),
        "completion_id": single.get("completion_id"),
        "model": single.get("model"),
        "session_id": single.get("session", single.get("session_id")),
        "user": single.get("user"),
        "labels": given.get("label", []),
        "tags": given.get("tag", []),
        "campaign": single.get("campaign"),
        "arm": single.get("arm"),
        "status": status,
        "source": source,
        "metric": single.get("metric"),
        "search": single.get("search"),
        "from_at": None if start is None else datetime.fromtimestamp(start, UTC),
        "to_at": None if end is None else datetime.fromtimestamp(end, UTC),
    }
    try:
        return msgspec.convert(asked, InteractionQuestion)
    except msgspec.ValidationError as error:
        raise _too_much(error) from None


def _too_much(error: msgspec.ValidationError) -> ClientError:
    text, _, place = str(error).rpartition(" - at `$.")
    name = place.rstrip("`").partition("[")[0]
    param = {"labels": "label", "tags": "tag"}.get(name, name)
    return InvalidRequest(told_of(param, text), param=param)


def _cursor_of(given: Mapping[str, str]) -> str | None:
    cursor = given.get("cursor")
    if cursor is not None and len(cursor) > MAX_CURSOR_CHARS:
        raise _unknown_cursor()
    return cursor


def _unknown_cursor() -> InvalidRequest:
    return InvalidRequest(
        "cursor is none of ours; send the next_cursor of the page before, or leave it out",
        param="cursor",
    )
