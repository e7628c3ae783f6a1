"""Projects on the request path: which one a request names, who may ask it, and what answers there.

The book holds everything in memory: projects with their templates, campaigns and tool servers. `route` finds, for
a request that names a project, the attached model, the campaign's arm and the version of the prompt.

A request that names no model of the project, nor a campaign, enters the project's campaign by the traffic split.
One that names a model never does, unless it names the campaign too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from dragoman.chat import NO_SAMPLING, ChatRequest, Sampling
from dragoman.errors import Forbidden, Internal, InvalidRequest, UnknownEntity
from dragoman.policy.campaigns.assignment import arm_for, assign, unit_of
from dragoman.policy.keys import principal_of
from dragoman.policy.routing import ModelDirectory
from dragoman.policy.snapshots import Snapshot
from dragoman.ports import Clock, Generations
from dragoman.records.account import Account, AccountId, Plan, PlanId
from dragoman.records.campaign import Arm, Campaign
from dragoman.records.interaction import EnteredBy
from dragoman.records.key import Key, KeyId
from dragoman.records.limits import NO_LIMITS, Limits
from dragoman.records.model import Model
from dragoman.records.principal import Principal
from dragoman.records.project import AttachedModel, Project, ProjectId
from dragoman.records.template import Template, TemplateVersion
from dragoman.records.tool_server import ToolServer

MAX_NAMED = 20
MAX_SHOWN_CHARS = 100
GUEST_PREFIX = "public:"
"""Of the key id under which requests without a key are counted; the project's key follows."""


class ProjectStore(Generations, Protocol):
    """What is read of projects, all that belongs to them, and who pays."""

    def list_projects(self) -> list[Project]: ...

    def list_templates(self) -> list[Template]: ...

    def list_tool_servers(self) -> list[ToolServer]: ...

    def list_campaigns(self) -> list[Campaign]: ...

    def list_accounts(self) -> list[Account]: ...

    def list_plans(self) -> list[Plan]: ...


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """How a request came into a campaign."""

    campaign: Campaign
    unit: str
    arm: Arm
    """The one that is meant."""
    by: EnteredBy


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What answers a request to a project, and with what it is asked."""

    project: Project
    attached: AttachedModel
    model: Model
    """The attached one; its fallbacks follow it."""
    sampling: Sampling = NO_SAMPLING
    """The arm's and the attached model's, for what the client leaves open."""
    template: Template | None = None
    version: TemplateVersion | None = None
    entry: Entry | None = None


class _Open(msgspec.Struct, frozen=True, kw_only=True):
    """A project, and what belongs to it."""

    project: Project
    templates: Mapping[str, Template]
    """By key."""
    campaigns: Mapping[str, Campaign]
    """By id and by key, ended ones too."""
    active: Campaign | None
    guest: Principal | None
    """Who asks without a key; `None`: a key is needed."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the repository has, as it was read."""

    projects: tuple[Project, ...] = ()
    templates: tuple[Template, ...] = ()
    tool_servers: tuple[ToolServer, ...] = ()
    campaigns: tuple[Campaign, ...] = ()
    accounts: tuple[Account, ...] = ()
    plans: tuple[Plan, ...] = ()


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    kept: _Kept
    by_key: Mapping[str, _Open]
    has_guests: bool


class ProjectBook:
    """Belongs to one event loop. Before it is asked: `if book.is_stale(): await book.refresh()`."""

    def __init__(
        self,
        store: ProjectStore,
        directory: ModelDirectory,
        clock: Clock,
        *,
        default_limits: Limits = NO_LIMITS,
    ) -> None:
        """`default_limits` hold for accounts whose plan says nothing else."""
        self._store = store
        self._directory = directory
        self._default_limits = default_limits
        self._snapshot = Snapshot(
            "projects", store, clock, self._read, _Known(kept=_Kept(), by_key={}, has_guests=False)
        )
        self.is_stale = self._snapshot.is_stale
        self.refresh = self._snapshot.refresh
        self.loaded = self._snapshot.loaded

    @property
    def tool_servers(self) -> tuple[ToolServer, ...]:
        """All of them, disabled ones too; the same object as long as none changed."""
        return self._snapshot.value.kept.tool_servers

    @property
    def has_guests(self) -> bool:
        """Whether any project is served without a key."""
        return self._snapshot.value.has_guests

    def find(self, key: str) -> Project | None:
        """The project of that key, archived or not."""
        found = self._snapshot.value.by_key.get(key)
        return None if found is None else found.project

    def visible(self, principal: Principal) -> list[Project]:
        """The projects that `principal` may use, archived ones too."""
        projects = self._snapshot.value.kept.projects
        return [project for project in projects if _refusal(principal, project) is None]

    def named(self, name: str, principal: Principal) -> Project:
        """The project of that id or key, archived or not. Raises `UnknownEntity` or `Forbidden`."""
        for project in self._snapshot.value.kept.projects:
            if name in (project.key, project.id):
                refusal = _refusal(principal, project, "project")
                if refusal is not None:
                    raise refusal
                return project
        raise UnknownEntity(
            f"project {name[:MAX_SHOWN_CHARS]!r} does not exist", entity="project", param="project"
        )

    def guest_of(self, name: str) -> Principal | None:
        """Who asks without a key for what is called `name`; `None`: a key is needed for it."""
        if self._directory.resolve(name) is not None:
            return None
        found = self._snapshot.value.by_key.get(name.partition("/")[0])
        return None if found is None else found.guest

    def usable(self, principal: Principal) -> list[tuple[Project, list[tuple[str, Model]]]]:
        """The projects that `principal` may use, each with the keys and models that it may ask there."""
        found = []
        for each in self._snapshot.value.by_key.values():
            project = each.project
            if project.archived_s is not None or _refusal(principal, project) is not None:
                continue
            models = [
                (attached.key, model)
                for attached in project.models
                if (model := self._directory.resolve(attached.model)) is not None
                and _may_ask(principal, model)
            ]
            if models:
                found.append((project, models))
        return found

    def route(self, request: ChatRequest, principal: Principal, request_id: str) -> Route | None:
        """What answers; `None`: the request names no project that there is.

        Raises `Forbidden`, `UnknownEntity` or `InvalidRequest`.
        """
        named: str | None = None
        if request.target is None:
            key = principal.project or ""
        else:
            key, slash, model_key = request.target.partition("/")
            named = model_key if slash else None
        found = self._snapshot.value.by_key.get(key)
        if found is None:
            return None
        project = found.project
        refusal = _refusal(principal, project)
        if refusal is not None:
            raise refusal
        if project.archived_s is not None:
            raise UnknownEntity(
                f"project '{project.key}' is archived, and answers nothing; restore it, or name another",
                entity="project",
                param="model",
            )
        entry = self._entry(found, request, principal, request_id, named)
        attached = self._attached(project, named if entry is None else entry.arm.model)
        if attached is None and entry is not None and named is None:
            # The arm's model was detached meanwhile: its unit stays where it is, and is answered all the same.
            attached = self._attached(project, None)
        if attached is None:
            raise _unknown_model(project, named)
        return self._routed(found, attached, entry)

    def _attached(self, project: Project, key: str | None) -> tuple[AttachedModel, Model] | None:
        attached = project.attached(key)
        model = None if attached is None else self._directory.resolve(attached.model)
        return None if attached is None or model is None else (attached, model)

    def _routed(
        self, found: _Open, target: tuple[AttachedModel, Model], entry: Entry | None
    ) -> Route:
        attached, model = target
        arm = None if entry is None or entry.arm.model != attached.key else entry.arm
        template = version = None
        if attached.template is not None:
            template = found.templates.get(attached.template)
            if template is not None:
                version = template.version(None if arm is None else arm.template_version)
            if version is None:
                raise Internal(
                    detail=f"project {found.project.key}: the template of {attached.key} is gone"
                )
        return Route(
            project=found.project,
            attached=attached,
            model=model,
            sampling=attached.sampling if arm is None else arm.sampling.over(attached.sampling),
            template=template,
            version=version,
            entry=entry,
        )

    # --- Campaigns ---

    def _entry(
        self,
        found: _Open,
        request: ChatRequest,
        principal: Principal,
        request_id: str,
        named: str | None,
    ) -> Entry | None:
        """`named` is the model that the client chose; `None`: it leaves that to the project."""
        context = request.context
        if context.campaign is not None:
            campaign = _campaign_of(found, context.campaign)
        elif named is None and found.active is not None:
            campaign = found.active
            if not self._may_meet_all(principal, found.project, campaign):
                # It could be answered by some arms only, which would make them unlike the others.
                return None
        else:
            return None
        unit = unit_of(context.session_id, context.user, request_id)
        if context.campaign is None:
            key = assign(campaign, unit)
        else:
            key = arm_for(campaign, unit, named)
            if key is None:
                raise _no_arm(campaign, named)
        arm = None if key is None else campaign.arm(key)
        if arm is None:
            return None
        by: EnteredBy = "split" if context.campaign is None else "request"
        return Entry(campaign=campaign, unit=unit, arm=arm, by=by)

    def _may_meet_all(self, principal: Principal, project: Project, campaign: Campaign) -> bool:
        if principal.models is None:
            return True
        found = [self._attached(project, arm.model) for arm in campaign.arms]
        return all(each is None or _may_ask(principal, each[1]) for each in found)

    # --- Loading ---

    def _read(self, known: _Known) -> _Known:
        store = self._store
        # What belongs to a project after the projects: what one of them names is there.
        projects = tuple(store.list_projects())
        kept = _Kept(
            projects=projects,
            templates=tuple(store.list_templates()) if projects else (),
            tool_servers=tuple(store.list_tool_servers()),
            campaigns=tuple(store.list_campaigns()) if projects else (),
            accounts=tuple(store.list_accounts()) if projects else (),
            plans=tuple(store.list_plans()) if projects else (),
        )
        if kept == known.kept:
            return known
        if kept.tool_servers == known.kept.tool_servers:
            kept = msgspec.structs.replace(kept, tool_servers=known.kept.tool_servers)
        by_key = _opened(kept, self._default_limits)
        has_guests = any(each.guest is not None for each in by_key.values())
        return _Known(kept=kept, by_key=by_key, has_guests=has_guests)


# --- Rights ---


def require_project(principal: Principal, project: Project) -> None:
    """Raises `Forbidden`, naming the project, unless the key may use it."""
    refusal = _refusal(principal, project)
    if refusal is not None:
        raise refusal


def _refusal(principal: Principal, project: Project, param: str = "model") -> Forbidden | None:
    """`param` is the field that names the project."""
    names = (project.key, project.id)
    if project.account_id != principal.account.id:
        why = "it belongs to another account"
    elif principal.project is not None and principal.project not in names:
        why = f"the key is bound to '{principal.project[:MAX_SHOWN_CHARS]}'"
    elif principal.scopes.projects is not None and not set(names) & set(principal.scopes.projects):
        why = "the key's scopes do not list it"
    else:
        return None
    return Forbidden(f"This key may not use the project '{project.key}': {why}.", param=param)


def _may_ask(principal: Principal, model: Model) -> bool:
    return principal.models is None or model.id in principal.models


# --- Refusals ---


def _unknown_model(project: Project, named: str | None) -> UnknownEntity:
    keys = [attached.key for attached in project.models]
    listed = ", ".join([f"'{project.key}/{key}'" for key in keys[:MAX_NAMED]]) or "none"
    more = ", …" if len(keys) > MAX_NAMED else ""
    if named is None:
        why = "has no default model that this server knows"
    elif named in keys:
        why = f"has a model '{named}' that this server does not know any more"
    else:
        why = f"has no model '{named[:MAX_SHOWN_CHARS]}'"
    return UnknownEntity(
        f"project '{project.key}' {why}; there are {listed}{more}", entity="model", param="model"
    )


def _campaign_of(found: _Open, name: str) -> Campaign:
    """The active one of that id or key."""
    campaign = found.campaigns.get(name) or found.campaigns.get(name.lower())
    shown = name[:MAX_SHOWN_CHARS]
    if campaign is None:
        active = found.active
        there_is = "it has none" if active is None else f"'{active.key}' is its active one"
        raise UnknownEntity(
            f"campaign '{shown}' does not exist in the project '{found.project.key}'; {there_is}",
            entity="ab_campaign",
            param="ab_campaign",
        )
    if not campaign.is_active:
        raise InvalidRequest(
            f"ab_campaign: the campaign '{shown}' has ended ({campaign.status}), and counts nothing"
            " any more; leave it out",
            param="ab_campaign",
        )
    return campaign


def _no_arm(campaign: Campaign, named: str | None) -> InvalidRequest:
    arms = ", ".join(dict.fromkeys([f"'{arm.model}'" for arm in campaign.arms]))
    return InvalidRequest(
        f"model: '{(named or '')[:MAX_SHOWN_CHARS]}' is no arm of the campaign '{campaign.key}', whose"
        f" arms are {arms}; name one of them, or the project alone",
        param="model",
    )


# --- What belongs together ---


def _opened(kept: _Kept, defaults: Limits) -> dict[str, _Open]:
    templates: dict[ProjectId, dict[str, Template]] = {}
    for template in kept.templates:
        templates.setdefault(template.project_id, {})[template.key] = template
    campaigns: dict[ProjectId, dict[str, Campaign]] = {}
    active: dict[ProjectId, Campaign] = {}
    for campaign in kept.campaigns:
        named = campaigns.setdefault(campaign.project_id, {})
        named[campaign.id] = named[campaign.key] = campaign
        if campaign.is_active:
            active[campaign.project_id] = campaign
    guests = _guests(kept, defaults)
    return {
        project.key: _Open(
            project=project,
            templates=templates.get(project.id, {}),
            campaigns=campaigns.get(project.id, {}),
            active=active.get(project.id),
            guest=guests.get(project.id),
        )
        for project in kept.projects
    }


def _guests(kept: _Kept, defaults: Limits) -> dict[ProjectId, Principal]:
    """Whoever asks a public project without a key. Nobody may where its account is suspended."""
    accounts: dict[AccountId, Account] = {account.id: account for account in kept.accounts}
    plans: dict[PlanId, Plan] = {plan.id: plan for plan in kept.plans}
    return {
        project.id: _guest(project, project.public, account, plans, defaults)
        for project in kept.projects
        if project.public is not None
        and project.archived_s is None
        and (account := accounts.get(project.account_id)) is not None
        and account.suspended_s is None
    }


def _guest(
    project: Project,
    limits: Limits,
    account: Account,
    plans: Mapping[PlanId, Plan],
    defaults: Limits,
) -> Principal:
    key = Key(
        id=KeyId(GUEST_PREFIX + project.key),
        name=GUEST_PREFIX + project.key,
        hash=b"",
        hint="",
        created_s=project.created_s,
        account_id=account.id,
        project=project.key,
        limits=limits,
    )
    plan = None if account.plan_id is None else plans.get(account.plan_id)
    return principal_of(key, account, plan, defaults)


def is_guest(principal: Principal) -> bool:
    """Whether the request came without a key. Ids of keys hold no colon."""
    return principal.key_id.startswith(GUEST_PREFIX)
