"""Projects in memory: `policy.projects.ProjectStore` without a disk, for tests of the request's path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dragoman.policy.projects import ProjectBook
from dragoman.policy.routing import ModelDirectory
from dragoman.policy.templates import arguments_of
from dragoman.ports import Clock
from dragoman.records.account import Account, AccountId, Plan
from dragoman.records.campaign import Arm, Campaign, CampaignId
from dragoman.records.limits import NO_LIMITS, Limits
from dragoman.records.metric import MetricId
from dragoman.records.project import AttachedModel, Project, ProjectId
from dragoman.records.template import Template, TemplateArgument, TemplateId, TemplateVersion
from dragoman.records.tool_server import ToolServer

ACCOUNT = Account(id=AccountId("acct_free"), name="free", is_prepaid=False)


def attached(key: str, model: str | None = None, **fields: Any) -> AttachedModel:
    return AttachedModel(key=key, model=model or key, **fields)


def project(key: str = "shop", *models: AttachedModel, **fields: Any) -> Project:
    values: dict[str, Any] = {
        "account_id": ACCOUNT.id,
        "models": models,
        "default_model": models[0].key if models else None,
        "name": key.title(),
        **fields,
    }
    return Project(id=ProjectId(f"proj_{key}"), key=key, **values)


def template(
    key: str, *texts: str, project_key: str = "shop", active: int | None = None, **defaults: bytes
) -> Template:
    declared = [
        TemplateArgument(name=name, default=msgspec.Raw(value)) for name, value in defaults.items()
    ]
    return Template(
        id=TemplateId(f"tmpl_{key}"),
        project_id=ProjectId(f"proj_{project_key}"),
        key=key,
        active_version=len(texts) if active is None else active,
        versions=tuple(
            TemplateVersion(
                version=number,
                text=text,
                arguments=arguments_of(text, [one for one in declared if one.name in text]),
            )
            for number, text in enumerate(texts, 1)
        ),
    )


def campaign(*arms: Arm, key: str = "spring", project_key: str = "shop", **fields: Any) -> Campaign:
    values: dict[str, Any] = {
        "id": CampaignId(f"00000000-0000-4000-8000-{len(key):012d}"),
        "metric_id": MetricId("m"),
        "kind": "direct",
        **fields,
    }
    return Campaign(
        project_id=ProjectId(f"proj_{project_key}"), key=key, name=key, arms=arms, **values
    )


class ProjectStoreInMemory:
    """`change` is a change by any process."""

    def __init__(
        self,
        projects: Sequence[Project] = (),
        *,
        templates: Sequence[Template] = (),
        campaigns: Sequence[Campaign] = (),
        tool_servers: Sequence[ToolServer] = (),
        accounts: Sequence[Account] = (ACCOUNT,),
        plans: Sequence[Plan] = (),
    ) -> None:
        self.projects = list(projects)
        self.templates = list(templates)
        self.campaigns = list(campaigns)
        self.tool_servers = list(tool_servers)
        self.accounts = list(accounts)
        self.plans = list(plans)
        self.number = 1
        self.loads = 0

    def change(self, *projects: Project) -> None:
        if projects:
            self.projects = list(projects)
        self.number += 1

    def generation(self) -> int:
        return self.number

    def list_projects(self) -> list[Project]:
        self.loads += 1
        return list(self.projects)

    def list_templates(self) -> list[Template]:
        return list(self.templates)

    def list_tool_servers(self) -> list[ToolServer]:
        return list(self.tool_servers)

    def list_campaigns(self) -> list[Campaign]:
        return list(self.campaigns)

    def list_accounts(self) -> list[Account]:
        return list(self.accounts)

    def list_plans(self) -> list[Plan]:
        return list(self.plans)


async def opened_book(
    store: ProjectStoreInMemory,
    directory: ModelDirectory,
    clock: Clock,
    default_limits: Limits = NO_LIMITS,
) -> ProjectBook:
    book = ProjectBook(store, directory, clock, default_limits=default_limits)
    await book.refresh()
    return book
