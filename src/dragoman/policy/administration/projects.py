"""Projects: made, changed, archived, and what is attached to them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UnsetType

from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration.accounts import limits_of
from dragoman.policy.administration.attached import (
    Surroundings,
    attached_model,
    attached_models,
)
from dragoman.policy.administration.desk import Desk, checked, same_or_conflict, text_checked
from dragoman.policy.administration.project_wishes import (
    AttachedModelWish,
    ContentWish,
    ProjectChange,
    ProjectWish,
    RightWish,
)
from dragoman.policy.administration.rights import find_member, rights_of
from dragoman.policy.administration.wishes import LimitsWish
from dragoman.policy.interactions.redaction import check_rule
from dragoman.records.account import AccountId
from dragoman.records.limits import Limits
from dragoman.records.project import (
    AttachedModel,
    ContentRules,
    MemberRight,
    Project,
    ProjectId,
    RedactionRule,
)

MAX_MODELS = 256
_ID_PREFIX = "proj_"


class ProjectAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_all(
        self, account_id: str | None = None, *, with_archived: bool = False
    ) -> list[Project]:
        """Oldest first. Raises `UnknownEntity` where there is no such account."""
        if account_id is not None:
            self._desk.account(account_id)
        return [
            project
            for project in self._desk.store.list_projects()
            if (account_id is None or project.account_id == account_id)
            and (with_archived or project.archived_s is None)
        ]

    def find(self, project: str) -> Project:
        """By id or key, archived ones too. Raises `UnknownEntity`."""
        return self._desk.project(project)

    def collisions(self) -> list[str]:
        """Projects that requests cannot reach, because models are called the same; a sentence for each.

        Where a project or its model is made, this is refused; a model that is added to the settings later is
        not asked.
        """
        found = []
        for project in self.list_all():
            names = [project.key, *(f"{project.key}/{each.key}" for each in project.models)]
            for name in names:
                model = self._desk.model_named(name)
                if model is not None:
                    found.append(
                        f"requests that name '{name}' mean the model '{model}', whose id or alias that"
                        f" is, and no longer project '{project.key}'; rename the model in the settings"
                    )
        return found

    def create(self, wish: ProjectWish, *, token: str | None = None) -> tuple[Project, bool]:
        """The project, and whether it is new: the same wish with the same `token` makes one only.

        Raises `InvalidRequest`, or `Conflict` where the key is taken.
        """
        wish = checked(wish)
        with self._desk.store.atomically():
            project = self.built(wish, self._desk.id_for(_ID_PREFIX, "project", token))
            projects = self._desk.store.list_projects()
            again = next((p for p in projects if token is not None and p.id == project.id), None)
            if again is not None:
                return same_or_conflict(project, again), False
            self.refuse_taken_key(project.key, projects)
            self._desk.store.add_project(project)
            self._desk.note("project.create", project.id, told(project))
        return project, True

    def change(self, project: str, change: ProjectChange) -> Project:
        """Holds from the next request on. Raises `UnknownEntity`, `InvalidRequest` or `Conflict`."""
        change = checked(change)
        with self._desk.store.atomically():
            before = self._desk.project(project, for_change=True)
            return self.replace(before, self._changed(before, change), "project.change")

    def archive(self, project: str) -> Project:
        """Let it answer nothing from now on. Its interactions are kept, and its key stays taken.

        Doing it twice changes nothing. Raises `UnknownEntity`, or `Conflict` while a campaign runs.
        """
        with self._desk.store.atomically():
            before = self._desk.project(project)
            if before.archived_s is not None:
                return before
            for campaign in self._desk.store.list_campaigns(before.id):
                if campaign.is_active:
                    raise Conflict(
                        f"campaign '{campaign.key}' of project '{before.key}' still runs; cancel it first",
                        param="project",
                    )
            after = msgspec.structs.replace(before, archived_s=self._desk.now_s())
            self._desk.store.replace_project(after)
            self._desk.note("project.archive", before.id, {"key": before.key})
        return after

    def restore(self, project: str) -> Project:
        """Let it answer again. Raises `UnknownEntity`, or `Conflict` where a model took its key."""
        with self._desk.store.atomically():
            before = self._desk.project(project)
            if before.archived_s is None:
                return before
            self._refuse_models_name(before.key)
            after = msgspec.structs.replace(before, archived_s=None)
            self._desk.store.replace_project(after)
            self._desk.note("project.restore", before.id, {"key": before.key})
        return after

    def release(self, project: str) -> Project:
        """Let it be as if it had never come from the settings file. Doing it twice changes nothing. Raises
        `UnknownEntity`."""
        with self._desk.store.atomically():
            before = self._desk.project(project)
            if before.applied is None:
                return before
            after = msgspec.structs.replace(before, applied=None)
            self._desk.store.replace_project(after)
            self._desk.note("project.release", before.id, {"key": before.key})
        return after

    # --- Models ---

    def find_model(self, project: str, key: str) -> AttachedModel:
        """Raises `UnknownEntity`."""
        return _attached(self._desk.project(project), key)

    def attach(self, project: str, wish: AttachedModelWish) -> tuple[Project, AttachedModel]:
        """Attach a model. Raises `UnknownEntity`, `InvalidRequest`, or `Conflict` where its key is taken."""
        wish = checked(wish)
        with self._desk.store.atomically():
            before = self._desk.project(project, for_change=True)
            model = attached_model(self._desk, wish, self._around(before.key, before.id))
            if before.attached(model.key) is not None:
                raise Conflict(
                    f"key: project '{before.key}' has a model {model.key!r}; change that one, or give"
                    " another key",
                    param="key",
                )
            if len(before.models) >= MAX_MODELS:
                raise Conflict(f"a project may have at most {MAX_MODELS} models")
            after = self._with_models(before, (*before.models, model))
            return self.replace(before, after, "project.attach"), model

    def put_model(self, project: str, key: str, wish: AttachedModelWish) -> tuple[Project, bool]:
        """Attach a model under `key`, or write the one there anew; whether it is new.

        Raises as `attach` does, and `Conflict` where a campaign that runs compares it.
        """
        if wish.key is not None and wish.key != key:
            raise InvalidRequest(
                "key: the path names another one; leave it out of the body", param="key"
            )
        with self._desk.store.atomically():
            before = self._desk.project(project, for_change=True)
            # A key stays as it is, since requests name it.
            if before.attached(key) is None:
                wish = msgspec.structs.replace(wish, key=key)
                return self.attach(project, wish)[0], True
            model = attached_model(
                self._desk,
                checked(msgspec.structs.replace(wish, key=key)),
                self._around(before.key, before.id),
            )
            models = tuple(model if each.key == key else each for each in before.models)
            after = self._with_models(before, models)
            return self.replace(before, after, "project.change"), False

    def detach(self, project: str, key: str) -> Project:
        """Raises `UnknownEntity`, or `Conflict` for the default among several, or while a campaign compares
        it."""
        with self._desk.store.atomically():
            before = self._desk.project(project, for_change=True)
            gone = _attached(before, key)
            rest = tuple(each for each in before.models if each is not gone)
            is_default = before.default_model == gone.key
            if is_default and rest:
                raise Conflict(
                    f"{gone.key!r} is the default model of project '{before.key}'; make another the"
                    " default first",
                    param="default_model",
                )
            default = None if is_default else before.default_model
            after = msgspec.structs.replace(before, models=rest, default_model=default)
            return self.replace(before, after, "project.detach")

    # --- Rights ---

    def set_right(self, project: str, wish: RightWish) -> Project:
        """Give a member a right in place of what the role gives. Raises as `change` does."""
        wish = checked(wish)
        with self._desk.store.atomically():
            before = self._desk.project(project, for_change=True)
            members = self._desk.store.list_members(before.account_id)
            member = find_member(wish.member, members, "member")
            others = tuple(each for each in before.rights if each.member_id != member.id)
            rights = (*others, MemberRight(member.id, wish.right))
            if len(rights) > MAX_MODELS:
                raise Conflict(f"a project may have at most {MAX_MODELS} rights of its own")
            if set(rights) == set(before.rights):
                return before
            after = msgspec.structs.replace(before, rights=rights)
            return self.replace(before, after, "project.change")

    def remove_right(self, project: str, member: str) -> Project:
        """Leave the member what the role gives. Raises `UnknownEntity` or `InvalidRequest`."""
        with self._desk.store.atomically():
            before = self._desk.project(project, for_change=True)
            # Also of one who is no member any more.
            member_id = member
            if all(each.member_id != member for each in before.rights):
                members = self._desk.store.list_members(before.account_id)
                member_id = find_member(member, members, "member").id
            rights = tuple(each for each in before.rights if each.member_id != member_id)
            after = msgspec.structs.replace(before, rights=rights)
            return self.replace(before, after, "project.change")

    # --- Steps that definitions share ---

    def built(self, wish: ProjectWish, project_id: str) -> Project:
        """What the wish makes, with everything that it names looked up. Raises `InvalidRequest`."""
        account_id = self._account(wish.account_id)
        around = self._around(wish.key, ProjectId(project_id))
        models = attached_models(self._desk, wish.models, around)
        return Project(
            id=ProjectId(project_id),
            key=wish.key,
            name=text_checked(wish.key if wish.name is None else wish.name, "name"),
            account_id=account_id,
            models=models,
            default_model=_default(wish.default_model, models),
            public=public_limits(wish.public),
            content=content_rules(wish.content),
            rights=rights_of(wish.rights, self._desk.store.list_members(account_id)),
            created_s=self._desk.now_s(),
        )

    def replace(self, before: Project, after: Project, action: str) -> Project:
        """Write it anew, where anything of it changed. Raises `Conflict` where a campaign forbids that."""
        if after != before:
            self._refuse_disturbance(before, after)
            self._desk.store.replace_project(after)
            difference = _difference(before, after)
            if difference:
                self._desk.note(action, after.id, difference)
        return after

    def refuse_taken_key(self, key: str, projects: Sequence[Project]) -> None:
        """Raises `Conflict`, or `InvalidRequest` where it would be taken for an id."""
        if key.startswith(_ID_PREFIX):
            raise InvalidRequest(
                f"key: what begins with '{_ID_PREFIX}' is an id; choose another key", param="key"
            )
        for other in projects:
            if other.key == key:
                archived = ", which is archived: restore it, or" if other.archived_s else ";"
                raise Conflict(
                    f"key: project {other.id} of account {other.account_id} has the key '{key}'"
                    f"{archived} choose another",
                    param="key",
                )
        self._refuse_models_name(key)

    # --- Steps ---

    def _around(self, key: str, project_id: ProjectId) -> Surroundings:
        return Surroundings(
            project=key,
            templates=[t.key for t in self._desk.store.list_templates(project_id)],
            tool_servers={server.key: server for server in self._desk.store.list_tool_servers()},
        )

    def _refuse_models_name(self, key: str) -> None:
        model = self._desk.model_named(key)
        if model is not None:
            raise Conflict(
                f"key: '{key}' is an id or alias of the model '{model}', which requests would mean;"
                " choose another, or rename the model in the settings",
                param="key",
            )

    def _account(self, account_id: str) -> AccountId:
        try:
            return self._desk.account(account_id).id
        except UnknownEntity as error:
            raise InvalidRequest(f"account_id: {error.message}", param="account_id") from None

    def _changed(self, project: Project, change: ProjectChange) -> Project:
        changed = project
        if not isinstance(change.name, UnsetType):
            changed = msgspec.structs.replace(changed, name=text_checked(change.name, "name"))
        if not isinstance(change.default_model, UnsetType):
            # Checked below, against the models that there will be.
            changed = msgspec.structs.replace(changed, default_model=change.default_model)
        if not isinstance(change.models, UnsetType):
            models = attached_models(
                self._desk, change.models, self._around(project.key, project.id)
            )
            changed = msgspec.structs.replace(changed, models=models)
        if not isinstance(change.public, UnsetType):
            changed = msgspec.structs.replace(changed, public=public_limits(change.public))
        if not isinstance(change.content, UnsetType):
            changed = msgspec.structs.replace(changed, content=content_rules(change.content))
        if not isinstance(change.rights, UnsetType):
            members = self._desk.store.list_members(project.account_id)
            changed = msgspec.structs.replace(changed, rights=rights_of(change.rights, members))
        if not changed.models and isinstance(change.default_model, UnsetType):
            changed = msgspec.structs.replace(changed, default_model=None)
        return self._with_models(changed, changed.models)

    def _with_models(self, project: Project, models: tuple[AttachedModel, ...]) -> Project:
        return msgspec.structs.replace(
            project, models=models, default_model=_default(project.default_model, models)
        )

    def _refuse_disturbance(self, before: Project, after: Project) -> None:
        """A campaign compares what its arms were made of; another model under the same key is another arm."""
        if before.models == after.models:
            return
        for campaign in self._desk.store.list_campaigns(before.id):
            if not campaign.is_active:
                continue
            for arm in campaign.arms:
                old, now = before.attached(arm.model), after.attached(arm.model)
                if old is None or now == old:
                    continue
                if now is None or (now.model, now.template) != (old.model, old.template):
                    raise Conflict(
                        f"models: {arm.model!r} is arm '{arm.key}' of campaign '{campaign.key}', which"
                        " still runs; cancel the campaign first, or attach another model beside it",
                        param="models",
                    )


def public_limits(wish: LimitsWish | None) -> Limits | None:
    """Raises `InvalidRequest` where nothing would bound what anybody may ask for."""
    if wish is None:
        return None
    if wish.requests_per_minute is None and wish.tokens_per_minute is None:
        raise InvalidRequest(
            "public needs requests_per_minute or tokens_per_minute: without a key anybody may ask, and"
            " the project's account pays",
            param="public",
        )
    return limits_of(wish)


def content_rules(wish: ContentWish) -> ContentRules:
    """Raises `InvalidRequest` for a pattern that is none."""
    rules = []
    for index, each in enumerate(wish.redact):
        rule = RedactionRule(kind=each.kind, pattern=each.pattern, replacement=each.replacement)
        check_rule(rule, f"content.redact[{index}]")
        rules.append(rule)
    return ContentRules(is_stored=wish.is_stored, redact=tuple(rules), keep_days=wish.keep_days)


def told(project: Project) -> dict[str, object]:
    """For the audit log: without the settings file's copy, and without patterns, which may name what is
    to be kept secret."""
    content = msgspec.structs.replace(
        project.content, redact=tuple(RedactionRule(kind=r.kind) for r in project.content.redact)
    )
    plain = msgspec.structs.replace(project, content=content, applied=None)
    builtins: dict[str, object] = msgspec.to_builtins(plain)
    for name in ("applied", "archived_s"):
        del builtins[name]
    return builtins


def _difference(before: Project, after: Project) -> dict[str, object]:
    earlier, later = told(before), told(after)
    difference = {name: value for name, value in later.items() if earlier.get(name) != value}
    if before.content != after.content:
        difference["content"] = later["content"]
    return difference


def _attached(project: Project, key: str) -> AttachedModel:
    for each in project.models:
        if each.key == key:
            return each
    known = ", ".join(repr(each.key) for each in project.models[:20]) or "none yet"
    raise UnknownEntity(
        f"project '{project.key}' has no model {key[:100]!r}; it has {known}",
        entity="model",
        param="model",
    )


def _default(wanted: str | None, models: Sequence[AttachedModel]) -> str | None:
    """The first, where none is wanted. Raises `InvalidRequest`."""
    if wanted is None:
        return models[0].key if models else None
    if all(each.key != wanted for each in models):
        known = ", ".join(repr(each.key) for each in models[:20]) or "none"
        raise InvalidRequest(
            f"default_model: {wanted[:100]!r} is no key of the project's models; there are {known}",
            param="default_model",
        )
    return wanted
