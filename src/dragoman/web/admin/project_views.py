"""The admin API's answers about projects, templates, metrics and tool servers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from dragoman.records.metric import Better, Metric, MetricKind
from dragoman.records.project import AttachedModel, Project, Right
from dragoman.records.template import Template, TemplateVersion
from dragoman.records.tool_server import ServerTool, ToolServer, ToolServerKind
from dragoman.web.admin.views import LimitsView, limits_view, maybe_moment, moment

_REFERENCES = ("env:", "file:")


class SamplingView(msgspec.Struct, frozen=True, kw_only=True):
    """Null: nothing is said here."""

    temperature: float | None
    top_p: float | None
    top_k: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    seed: int | None


class AttachedToolView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """A tool server's key (all of its tools), or `{server}/{tool}`."""
    enabled: bool
    """Whether `use_tools: true` turns it on, unless the request switches it itself."""


class ToolBoundsView(msgspec.Struct, frozen=True, kw_only=True):
    rounds: int
    total_s: float
    call_s: float
    result_bytes: int
    calls_per_round: int


class AttachedModelView(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    name: str
    """What requests name: `{project}/{key}`."""
    is_default: bool
    """Whether it answers where a request names the project alone."""
    model: str
    """The id of the model that is asked."""
    sampling: SamplingView
    max_output_tokens: int | None
    max_ttft_ms: int | None
    template: str | None
    tools: tuple[AttachedToolView, ...]
    tool_bounds: ToolBoundsView


class RedactionView(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["email", "phone", "card", "ip_address", "pattern"]
    pattern: str | None
    replacement: str | None


class ContentView(msgspec.Struct, frozen=True, kw_only=True):
    is_stored: bool
    redact: tuple[RedactionView, ...]
    keep_days: int | None


class RightView(msgspec.Struct, frozen=True, kw_only=True):
    member_id: str
    right: Right


class ProjectView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    key: str
    name: str
    account_id: str
    models: tuple[AttachedModelView, ...]
    default_model: str | None
    public: LimitsView | None
    """Null: a key is needed."""
    content: ContentView
    rights: tuple[RightView, ...]
    """In place of what the members' roles in the account give."""
    is_in_settings: bool
    """Whether the settings file defines it too. What is changed here stays changed: `dragoman config diff`
    shows the difference."""
    created_at: datetime
    archived_at: datetime | None
    """Since then it answers nothing."""


class ArgumentView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    is_required: bool
    default: Any
    description: str | None


class TemplateVersionView(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    is_active: bool
    text: str
    arguments: tuple[ArgumentView, ...]
    """One for each name in the text."""
    note: str | None
    created_at: datetime


class TemplateView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    key: str
    project_id: str
    active: TemplateVersionView
    """The version that answers."""
    newest_version: int
    created_at: datetime


class MetricView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    key: str
    name: str
    kind: MetricKind
    better: Better
    description: str | None
    is_built_in: bool
    """Measured with every completion: it takes no feedback."""
    created_at: datetime | None


class SettingView(msgspec.Struct, frozen=True, kw_only=True):
    """A header or variable. Its value is not shown, unless it is a reference to where a secret is kept."""

    name: str
    reference: str | None


class HttpToolView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str | None
    parameters: msgspec.Raw
    """A JSON Schema of its arguments."""
    path: str
    method: Literal["POST", "GET"]


class ToolServerView(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    kind: ToolServerKind
    url: str | None
    program: str | None
    """Of `mcp_stdio`: what is run. Its arguments are not shown."""
    environment: tuple[SettingView, ...]
    headers: tuple[SettingView, ...]
    tools: tuple[HttpToolView, ...]
    """Of `http`: MCP servers say themselves what they have."""
    allow_private: bool
    is_enabled: bool
    is_in_settings: bool
    """Whether the settings file defines it too."""
    created_at: datetime
    disabled_at: datetime | None


class ServerToolView(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as a server says that it has it."""

    id: str
    """What a project's model names it by, and a request's `tools[].id`."""
    function: str
    """What the model calls."""
    description: str | None
    parameters: msgspec.Raw


def project_view(project: Project) -> ProjectView:
    return ProjectView(
        id=project.id,
        key=project.key,
        name=project.name,
        account_id=project.account_id,
        models=tuple(attached_view(project, each) for each in project.models),
        default_model=project.default_model,
        public=None if project.public is None else limits_view(project.public),
        content=msgspec.convert(project.content, ContentView, from_attributes=True),
        rights=tuple(RightView(member_id=r.member_id, right=r.right) for r in project.rights),
        is_in_settings=project.applied is not None,
        created_at=moment(project.created_s),
        archived_at=maybe_moment(project.archived_s),
    )


def attached_view(project: Project, model: AttachedModel) -> AttachedModelView:
    return AttachedModelView(
        key=model.key,
        name=f"{project.key}/{model.key}",
        is_default=model.key == project.default_model,
        model=model.model,
        sampling=msgspec.convert(model.sampling, SamplingView, from_attributes=True),
        max_output_tokens=model.max_output_tokens,
        max_ttft_ms=model.max_ttft_ms,
        template=model.template,
        tools=tuple(AttachedToolView(id=tool.id, enabled=tool.enabled) for tool in model.tools),
        tool_bounds=msgspec.convert(model.tool_bounds, ToolBoundsView, from_attributes=True),
    )


def template_view(template: Template) -> TemplateView:
    active = template.version()
    assert active is not None
    return TemplateView(
        id=template.id,
        key=template.key,
        project_id=template.project_id,
        active=version_view(template, active),
        newest_version=template.versions[-1].version,
        created_at=moment(template.created_s),
    )


def version_view(template: Template, version: TemplateVersion) -> TemplateVersionView:
    return TemplateVersionView(
        version=version.version,
        is_active=version.version == template.active_version,
        text=version.text,
        arguments=tuple(
            ArgumentView(
                name=argument.name,
                is_required=argument.default is None,
                default=None if argument.default is None else msgspec.json.decode(argument.default),
                description=argument.description,
            )
            for argument in version.arguments
        ),
        note=version.note,
        created_at=moment(version.created_s),
    )


def metric_view(metric: Metric) -> MetricView:
    return MetricView(
        id=metric.id,
        key=metric.key,
        name=metric.name,
        kind=metric.kind,
        better=metric.better,
        description=metric.description,
        is_built_in=metric.is_built_in,
        created_at=None if metric.is_built_in else moment(metric.created_s),
    )


def tool_server_view(server: ToolServer) -> ToolServerView:
    return ToolServerView(
        key=server.key,
        kind=server.kind,
        url=server.url,
        program=server.command[0] if server.command else None,
        environment=_settings(server.environment),
        headers=_settings(server.headers),
        tools=tuple(
            HttpToolView(
                name=tool.name,
                description=tool.description,
                parameters=tool.parameters,
                path=tool.path,
                method=tool.method,
            )
            for tool in server.tools
        ),
        allow_private=server.allow_private,
        is_enabled=server.disabled_s is None,
        is_in_settings=server.applied is not None,
        created_at=moment(server.created_s),
        disabled_at=maybe_moment(server.disabled_s),
    )


def server_tool_view(tool: ServerTool) -> ServerToolView:
    return ServerToolView(
        id=tool.id,
        function=tool.function.name,
        description=tool.function.description,
        parameters=tool.function.parameters,
    )


def _settings(pairs: tuple[tuple[str, str], ...]) -> tuple[SettingView, ...]:
    return tuple(
        SettingView(name=name, reference=value if value.startswith(_REFERENCES) else None)
        for name, value in pairs
    )
