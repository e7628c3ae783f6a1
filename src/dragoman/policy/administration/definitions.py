"""What the settings file says of projects and tool servers, beside what there is: a comparison three ways.

Of every project and tool server that came from the file, what the file said when it was applied last is kept.
A value that is still as it was applied follows the file; one that is not was changed since, over the API or the
command line, and stays until somebody says that the file goes before it. So neither side undoes the other's
work unasked.

A definition is compared value by value. Each has a path, in which the items of lists are named by their keys:
`models.fast.sampling.temperature`. What stands at its default has no value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from dragoman.errors import ClientError, UnknownEntity
from dragoman.policy.administration import Administration
from dragoman.policy.administration.definition_values import (
    PRESENT,
    PROJECT_KEYS,
    Keys,
    Path,
    Values,
    encoded,
    keys_of,
    name_of,
    show_path,
    show_value,
    tree_of,
    values_in,
    values_of,
)
from dragoman.policy.administration.project_wishes import ProjectDefinition, ToolServerWish
from dragoman.policy.administration.tool_servers import server_wish
from dragoman.policy.routing import ModelDirectory
from dragoman.ports.administration import Atomic
from dragoman.records.account import Member
from dragoman.records.project import Project
from dragoman.records.tool_server import ToolServer

State = Literal["same", "file_changed", "api_changed", "both_changed", "only_file", "only_api"]
"""`file_changed`: will follow the file. `api_changed`: changed since it was applied. `both_changed`: both, and
not to the same. `only_file`: there is nothing yet. `only_api`: the file says nothing of it."""
From = Literal["file", "API", "default"]
Definition = ProjectDefinition | ToolServerWish
Wanted = TypeVar("Wanted", ProjectDefinition, ToolServerWish)

FOLLOWING: frozenset[State] = frozenset({"file_changed", "only_file"})
"""States of values that become what the file says, whenever it is applied."""

_WITH_HISTORY = frozenset({"templates", "metrics"})
"""Feedback and interactions refer to them: taking them out of the file deletes none."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One value, in the file and now."""

    path: str
    """`projects.support.models.fast.max_ttft_ms`; the bare `projects.support` for all of it."""
    file: msgspec.Raw | None = None
    """JSON; `None`: the file says nothing."""
    current: msgspec.Raw | None = None
    """JSON; `None`: nothing, or the default."""
    state: State


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """One value that holds, and who said so."""

    path: str
    value: msgspec.Raw
    origin: From


class NotApplied(msgspec.Struct, frozen=True):
    """A project or tool server that could not be made what the file says."""

    path: str
    reason: str


class FileApplied(msgspec.Struct, frozen=True, kw_only=True):
    """What came of applying the file."""

    changed: tuple[Difference, ...] = ()
    """What is now as the file says."""
    kept: tuple[Difference, ...] = ()
    """What differs still."""
    failed: tuple[NotApplied, ...] = ()


# --- Comparing ----------------------------------------------------------------------------------


def compare(
    definition: Definition, applied: msgspec.Raw | None, current: Definition | None
) -> list[Difference]:
    """Every value of the three, in canonical form (`canonical_project`), with its state.

    `applied`: what the file said when it was applied last; `None`: it never was. `current`: what there is.
    """
    keys = keys_of(definition)
    top = name_of(definition)
    file = values_of(definition, keys)
    if current is None:
        return [Difference(path=top, file=PRESENT, state="only_file")]
    now, before = values_of(current, keys), values_in(applied, keys)
    return [
        Difference(
            path=show_path(top, path),
            file=show_value(path, file.get(path)),
            current=show_value(path, now.get(path)),
            state=state,
        )
        for path, state in _states(file, before, now, keys)
    ]


def merge(
    definition: Wanted, applied: msgspec.Raw | None, current: Wanted, *, force: bool
) -> Wanted:
    """`current`, with the file's values where they are to be followed; where `force`, all of them.

    Templates and metrics that the file does not have stay in either case.
    """
    keys = keys_of(definition)
    file, merged = values_of(definition, keys), values_of(current, keys)
    for path, state in list(_states(file, values_in(applied, keys), merged, keys)):
        if state not in FOLLOWING and (not force or _is_beside_the_file(path, file)):
            continue
        if path in file:
            merged[path] = file[path]
        else:
            merged.pop(path, None)
    return msgspec.convert(tree_of(merged, keys), type(definition))


def origins(current: Definition, applied: msgspec.Raw | None) -> list[Origin]:
    """Every value that is not the default, and whether it is as the file said."""
    keys = keys_of(current)
    before = values_in(applied, keys) or {}
    return [
        Origin(
            path=show_path("", path),
            value=show_value(path, value) or PRESENT,
            origin="file" if before.get(path) == value else "API",
        )
        for path, value in values_of(current, keys).items()
    ]


def is_changed_by_applying(difference: Difference, *, force: bool) -> bool:
    if difference.state in FOLLOWING:
        return True
    if not force or difference.state == "same":
        return False
    words = difference.path.split(".")
    # What is gone from the file as a whole, and what has a history, stays.
    return difference.state != "only_api" or not (len(words) == 2 or words[2] in _WITH_HISTORY)


def _with_notes(made: ProjectDefinition, definition: ProjectDefinition) -> ProjectDefinition:
    """With the file's notes on the texts that are the file's."""
    notes = {(each.key, each.text): each.note for each in definition.templates}
    return msgspec.structs.replace(
        made,
        templates=tuple(
            msgspec.structs.replace(each, note=notes.get((each.key, each.text)))
            for each in made.templates
        ),
    )


def canonical_project(
    definition: ProjectDefinition, directory: ModelDirectory, members: Sequence[Member]
) -> ProjectDefinition:
    """The same project in the one form in which it comes back from the store."""
    ids = {member.email.casefold(): member.id for member in members}
    models = tuple(
        msgspec.structs.replace(
            each,
            key=each.key or each.model,
            model=model.id if (model := directory.resolve(each.model)) is not None else each.model,
        )
        for each in definition.models
    )
    default = definition.default_model
    if default is None and models:
        default = models[0].key
    return msgspec.structs.replace(
        definition,
        name=definition.name or definition.key,
        models=models,
        default_model=default,
        rights=tuple(
            msgspec.structs.replace(each, member=ids.get(each.member.casefold(), each.member))
            for each in definition.rights
        ),
        templates=tuple(
            msgspec.structs.replace(
                each,
                arguments=tuple(
                    argument
                    for argument in each.arguments
                    if argument.default is not msgspec.UNSET or argument.description is not None
                ),
            )
            for each in definition.templates
        ),
        metrics=tuple(
            msgspec.structs.replace(each, name=each.name or each.key) for each in definition.metrics
        ),
    )


def _states(
    file: Values, before: Values | None, now: Values, keys: Keys
) -> Iterator[tuple[Path, State]]:
    """`before` is `None` where the file was never applied: whatever differs was said by others."""
    in_file, in_before, in_now = _items(file), _items(before or {}), _items(now)
    for path in dict.fromkeys((*now, *file)):
        item = path[:2]
        if file.get(path) == now.get(path):
            yield path, "same"
        elif path[0] in keys and (
            item not in in_file or item not in in_now or path[0] == "templates"
        ):
            # Items come and go as a whole, and a template's arguments go with its text.
            f = in_file.get(item, {})
            b = {} if path[0] in _WITH_HISTORY and not f else in_before.get(item, {})
            yield path, _state(f, b, in_now.get(item, {}), is_known=before is not None)
        else:
            f, b, c = (_one(values, path) for values in (file, before or {}, now))
            yield path, _state(f, b, c, is_known=before is not None)


def _state(f: Values, b: Values, c: Values, *, is_known: bool) -> State:
    if not f and not b:
        return "only_api"
    if not is_known:
        return "api_changed"
    if b == c:
        return "file_changed" if c else "only_file"
    return "api_changed" if b == f else "both_changed"


def _is_beside_the_file(path: Path, file: Values) -> bool:
    return path[0] in _WITH_HISTORY and all(path[:2] != other[:2] for other in file)


def _items(values: Values) -> dict[Path, Values]:
    """Values by the first and second word of their paths."""
    items: dict[Path, Values] = {}
    for path, value in values.items():
        items.setdefault(path[:2], {})[path] = value
    return items


def _one(values: Values, path: Path) -> Values:
    return {path: values[path]} if path in values else {}


# --- What the file has, and the store -----------------------------------------------------------


class Definitions:
    """All that one settings file says of projects and tool servers."""

    def __init__(
        self,
        office: Administration,
        store: Atomic,
        directory: ModelDirectory,
        *,
        projects: Sequence[ProjectDefinition],
        tool_servers: Sequence[ToolServerWish],
    ) -> None:
        """`store` is the one beneath `office`; `directory` has the models that projects may name."""
        self._office = office
        self._store = store
        self._directory = directory
        self._projects = tuple(projects)
        self._servers = tuple(tool_servers)

    def differences(self) -> list[Difference]:
        """All that is not the same, tool servers first. What is gone from the file is told as a whole."""
        kept_servers, kept_projects = self._kept()
        found: list[Difference] = []
        for wish in self._servers:
            found += self._server_differences(wish, kept_servers.get(wish.key))
        for definition in self._projects:
            found += self._project_differences(definition, kept_projects.get(definition.key))
        found += _gone("tool_servers", kept_servers, [wish.key for wish in self._servers])
        found += _gone("projects", kept_projects, [each.key for each in self._projects])
        return [each for each in found if each.state != "same"]

    def apply(self, *, force: bool) -> FileApplied:
        """Make what there is follow the file; each project and tool server as a whole or not at all.

        Values that others changed since it was applied last are kept, unless `force`. What is gone from the
        file stays in either case.
        """
        changed: list[Difference] = []
        kept: list[Difference] = []
        failed: list[NotApplied] = []
        everything: list[Definition] = [*self._servers, *self._projects]
        for each in everything:
            try:
                with self._store.atomically():
                    done, left = self._apply_one(each, force=force)
            except ClientError as error:
                failed.append(NotApplied(name_of(each), error.message))
            else:
                changed += done
                kept += left
        servers, projects = self._kept()
        kept += _gone("tool_servers", servers, [wish.key for wish in self._servers])
        kept += _gone("projects", projects, [each.key for each in self._projects])
        return FileApplied(changed=tuple(changed), kept=tuple(kept), failed=tuple(failed))

    # --- Steps ---

    def _kept(self) -> tuple[dict[str, ToolServer], dict[str, Project]]:
        servers = {server.key: server for server in self._office.tool_servers.list_all()}
        projects = {
            project.key: project for project in self._office.projects.list_all(with_archived=True)
        }
        return servers, projects

    def _server_differences(
        self, wish: ToolServerWish, kept: ToolServer | None
    ) -> list[Difference]:
        if kept is None:
            return compare(wish, None, None)
        return compare(wish, kept.applied, server_wish(kept))

    def _project_differences(
        self, definition: ProjectDefinition, kept: Project | None
    ) -> list[Difference]:
        if kept is None:
            return compare(self._canonical(definition), None, None)
        found = compare(self._canonical(definition), kept.applied, self._current(kept))
        if kept.archived_s is not None:
            # Nothing of it can be changed before it is restored.
            state: State = "api_changed"
            path = show_path(name_of(definition), ("archived",))
            archived = Difference(
                path=path, file=msgspec.Raw(b"false"), current=PRESENT, state=state
            )
            return [archived, *(each for each in found if each.state != "same")]
        return found

    def _apply_one(
        self, definition: Definition, *, force: bool
    ) -> tuple[list[Difference], list[Difference]]:
        """What was changed, and what is left."""
        servers, projects = self._kept()
        if isinstance(definition, ToolServerWish):
            server = servers.get(definition.key)
            before = self._server_differences(definition, server)
            self._put_server(definition, server, force=force)
            after = self._server_differences(
                definition, self._office.tool_servers.find(definition.key)
            )
        else:
            project = projects.get(definition.key)
            before = self._project_differences(definition, project)
            if project is not None and project.archived_s is not None:
                if not force:
                    return [], before
                project = self._office.projects.restore(project.id)
            self._put_project(self._canonical(definition), project, force=force)
            after = self._project_differences(
                definition, self._office.projects.find(definition.key)
            )
        left = {each.path for each in after if each.state != "same"}
        differed = [each for each in before if each.state != "same"]
        return (
            [each for each in differed if each.path not in left],
            [each for each in differed if each.path in left],
        )

    def _put_server(self, wish: ToolServerWish, kept: ToolServer | None, *, force: bool) -> None:
        applied = encoded(wish)
        wanted = wish
        if kept is not None:
            wanted = merge(wish, kept.applied, server_wish(kept), force=force)
        self._office.tool_servers.put(wanted, applied=applied)

    def _put_project(
        self, definition: ProjectDefinition, kept: Project | None, *, force: bool
    ) -> None:
        applied = encoded(definition)
        wanted = definition
        if kept is not None:
            wanted = merge(definition, kept.applied, self._current(kept), force=force)
            if applied == kept.applied and _is_as(wanted, self._current(kept)):
                return
        self._office.whole_projects.put(_with_notes(wanted, definition), applied=applied)

    def _canonical(self, definition: ProjectDefinition) -> ProjectDefinition:
        try:
            members = self._office.accounts.show(definition.account_id).members
        except UnknownEntity:
            members = ()  # Told when the project is made.
        return canonical_project(definition, self._directory, members)

    def _current(self, project: Project) -> ProjectDefinition:
        current = self._office.whole_projects.current(project.id)
        members = {m.id for m in self._office.accounts.show(project.account_id).members}
        # Rights of those who left the account mean nothing, and could not be given again.
        rights = tuple(right for right in current.rights if right.member in members)
        current = msgspec.structs.replace(current, rights=rights)
        return canonical_project(current, self._directory, ())


def _is_as(one: ProjectDefinition, other: ProjectDefinition) -> bool:
    return values_of(one, PROJECT_KEYS) == values_of(other, PROJECT_KEYS)


def _gone(
    area: str, kept: Mapping[str, Project] | Mapping[str, ToolServer], defined: Sequence[str]
) -> list[Difference]:
    """What came from the file and is not in it any more."""
    return [
        Difference(path=f"{area}.{key}", current=PRESENT, state="only_api")
        for key, each in kept.items()
        if key not in defined
        and each.applied is not None
        and not (isinstance(each, Project) and each.archived_s is not None)
    ]
