"""What an administrator may ask for of projects and all that belongs to them: the bodies of the admin API, what
the command line builds, and the sections of the settings file.

A field of a change that is left out stays as it is; one that is null is emptied.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dragoman.policy.administration.wishes import LimitsWish, Name, Text
from dragoman.records.campaign import CampaignKind, GuardMeasure
from dragoman.records.metric import Better, MetricKind
from dragoman.records.project import Right
from dragoman.records.tool_server import ToolServerKind

Slug = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z")]
"""A key: lower-case letters, digits, `-` and `_`."""
ModelKey = Annotated[str, Meta(min_length=1, max_length=200)]
Share = Annotated[float, Meta(ge=0, le=1)]
Reference = Annotated[str, Meta(max_length=4096)]


class SamplingWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Where a request says nothing."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    """How much chance there is in the choice of words: 0 is the least."""
    top_p: Share | None = None
    """Words are chosen among the likeliest that together have this share."""
    top_k: Annotated[int, Meta(ge=0, le=1 << 30)] | None = None
    """Words are chosen among so many of the likeliest."""
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    """Against words, the more the oftener they came already."""
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    """Against words that came already."""
    seed: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None = None
    """The same seed gives the same answer, as far as the model can."""


class AttachedToolWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    id: Annotated[str, Meta(min_length=1, max_length=200)]
    """A tool server's key (all of its tools), or `{server}/{tool}`."""
    enabled: bool = True
    """Whether `use_tools: true` turns it on, unless the request switches it itself."""


class ToolBoundsWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How far a request may go with server-side tools."""

    rounds: Annotated[int, Meta(ge=1, le=32)] = 5
    """Calls of the model; the last one may call no tools."""
    total_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """For all rounds together."""
    call_s: Annotated[float, Meta(gt=0, le=600)] = 20.0
    """For one call of one tool."""
    result_bytes: Annotated[int, Meta(ge=256, le=1 << 20)] = 32 * 1024
    """Of one result; a longer one is cut."""
    calls_per_round: Annotated[int, Meta(ge=1, le=64)] = 8
    """Those beyond it are refused, and the model is told."""


class AttachedModelWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A model of the project."""

    model: Name
    """Id or alias of the model that is asked."""
    key: ModelKey | None = None
    """What follows the slash in `{project}/{model}`. Default: the model as it is named above."""
    sampling: SamplingWish = SamplingWish()
    """Where a request says nothing; goes before the model's own defaults."""
    max_output_tokens: Annotated[int, Meta(ge=1, le=1 << 30)] | None = None
    """Where a request says nothing."""
    max_ttft_ms: Annotated[int, Meta(ge=1, le=86_400_000)] | None = None
    """The longest wait for a first token, everything included."""
    template: Slug | None = None
    """Key of the project's template that makes the system prompt."""
    tools: Annotated[tuple[AttachedToolWish, ...], Meta(max_length=64)] = ()
    """Server-side tools that it may use."""
    tool_bounds: ToolBoundsWish = ToolBoundsWish()
    """How far a request may go with them."""


class RedactionWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    kind: Literal["email", "phone", "card", "ip_address", "pattern"]
    """What is looked for."""
    pattern: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    """Of the kind `pattern`: a regular expression in RE2's syntax."""
    replacement: Annotated[str, Meta(max_length=200)] | None = None
    """What stands in its place. Default: `[email]`, `[phone]`, and so on."""


class ContentWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What is kept of the words of conversations."""

    is_stored: bool = True
    """Off: as if every request said `store: false`. Counts and times are kept always."""
    redact: Annotated[tuple[RedactionWish, ...], Meta(max_length=32)] = ()
    """What is replaced before anything is stored."""
    keep_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    """Words that are older are deleted. Default: they are kept."""


class RightWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    member: Annotated[str, Meta(min_length=1, max_length=320)]
    """Id or e-mail address of a member of the project's account."""
    right: Right
    """`view`: read interactions and reports. `edit`: also models, templates, metrics and campaigns. `admin`:
    also rights, content rules and the public switch."""


class ProjectWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A project to be made."""

    key: Slug
    """How requests name it. Unique, also among ids and aliases of models."""
    name: Name | None = None
    """Default: the key."""
    account_id: Annotated[str, Meta(min_length=1, max_length=40)] = "acct_default"
    models: Annotated[tuple[AttachedModelWish, ...], Meta(max_length=256)] = ()
    default_model: ModelKey | None = None
    """Key of one of its models. Default: the first."""
    public: LimitsWish | None = None
    """Serve it without a key, within these limits for everybody together. Null: a key is needed."""
    content: ContentWish = ContentWish()
    rights: Annotated[tuple[RightWish, ...], Meta(max_length=256)] = ()


class ProjectChange(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What is left out stays as it is; a list replaces the whole list."""

    name: Name | UnsetType = UNSET
    models: Annotated[tuple[AttachedModelWish, ...], Meta(max_length=256)] | UnsetType = UNSET
    default_model: ModelKey | UnsetType | None = UNSET
    public: LimitsWish | UnsetType | None = UNSET
    content: ContentWish | UnsetType = UNSET
    rights: Annotated[tuple[RightWish, ...], Meta(max_length=256)] | UnsetType = UNSET


class ArgumentWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    """As in the text, dots and all: `customer.name`."""
    default: Any = UNSET
    """Any JSON. Left out: the argument has to be given."""
    description: Text | None = None
    """For whoever fills it in."""


class TemplateVersionWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The next version of a template."""

    text: Annotated[str, Meta(min_length=1, max_length=65_536)]
    """`{{name}}` stands for an argument's value."""
    arguments: Annotated[tuple[ArgumentWish, ...], Meta(max_length=256)] = ()
    """Those with a default or a description; every name in the text is an argument."""
    note: Text | None = None
    activate: bool = True


class TemplateWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A template to be made, with its first version."""

    key: Slug
    """Unique in the project."""
    text: Annotated[str, Meta(min_length=1, max_length=65_536)]
    """`{{name}}` stands for an argument's value; nothing else in it means anything."""
    arguments: Annotated[tuple[ArgumentWish, ...], Meta(max_length=256)] = ()
    """Those with a default or a description; every name in the text is an argument."""
    note: Text | None = None
    """Why it is as it is."""


class ActivationWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Which version answers from now on: an earlier one, to roll back."""

    version: Annotated[int, Meta(ge=1)]


class PreviewWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What a text, or a version of a template, comes out as."""

    arguments: dict[str, Any] = {}
    version: Annotated[int, Meta(ge=1)] | None = None
    """Default: the active one."""
    text: Annotated[str, Meta(min_length=1, max_length=65_536)] | None = None
    """In place of a version: a text that is not kept."""


class HttpToolWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]
    """As the model calls it, behind the server's key. Unique in the server."""
    description: Annotated[str, Meta(max_length=4000)] | None = None
    """Tells the model what it is good for."""
    parameters: dict[str, Any] = msgspec.field(
        default_factory=lambda: {"type": "object", "properties": {}}
    )
    """A JSON Schema of its arguments."""
    path: Annotated[str, Meta(max_length=1000)] = ""
    """Below the server's `url`."""
    method: Literal["POST", "GET"] = "POST"
    """`POST` sends the arguments as JSON, `GET` as the query."""


class ToolServerWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Who runs tools."""

    key: Slug
    """Unique. What projects' models name it by, and the first half of its tools' names."""
    kind: ToolServerKind
    """MCP over streamable HTTP, MCP over the pipes of a program, or addresses that take JSON."""
    url: Annotated[str, Meta(max_length=2000)] | None = None
    """Of `mcp_http` and `http`."""
    command: Annotated[tuple[Annotated[str, Meta(max_length=4096)], ...], Meta(max_length=64)] = ()
    """Of `mcp_stdio`: program and arguments. Only the settings file and the command line may set it."""
    environment: dict[str, Reference] = {}
    """Of `mcp_stdio`. A value may be `env:NAME` or `file:PATH`, and has to be if it is secret."""
    headers: dict[str, Reference] = {}
    """Sent with every request. A value may be a reference, and has to be if it is secret."""
    tools: Annotated[tuple[HttpToolWish, ...], Meta(max_length=128)] = ()
    """Of `http`."""
    allow_private: bool = False
    """Whether its address may be this machine's or a private network's, and without TLS."""
    is_enabled: bool = True
    """Off: its tools are offered to nobody."""


class MetricWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    key: Slug
    """How feedback names it. Unique in the project."""
    name: Name | None = None
    """Default: the key."""
    kind: MetricKind
    """`bool` takes 0 and 1, `scalar` any number. It never changes."""
    better: Better = "higher_is_better"
    """Which of two values is the better one. It never changes."""
    description: Text | None = None
    """What it tells."""


class MetricChange(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Neither its kind nor what is better may change: what was said of it would mean something else."""

    name: Name | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET


class ArmWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    model: ModelKey
    """Key of one of the project's models."""
    key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")] | None = None
    """Default: `A`, `B`, … in order."""
    template_version: Annotated[int, Meta(ge=1)] | None = None
    """Of the template of that model. Default: whichever is active."""
    sampling: SamplingWish = SamplingWish()
    """Goes before the model's own."""


class GuardrailWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    measure: GuardMeasure
    """The share of requests that fail, their cost, or the time until their first token."""
    margin: Annotated[float, Meta(ge=0, le=1e9)]
    """How much worse an arm may be: a share of requests, US dollars, milliseconds."""


class CampaignWish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A comparison of two to eight arms, which begins at once. Arms may be the same, to check the set-up."""

    key: Slug
    """What `ab_campaign` names it by. Unique in the project, for good."""
    name: Name | None = None
    """Default: the key."""
    metric: Name
    """Id or key of a metric of the project, or a built-in one (`direct` only)."""
    kind: CampaignKind = "direct"
    """By values of the metric, or by which of two completions is preferred."""
    arms: Annotated[tuple[ArmWish, ...], Meta(min_length=2, max_length=8)]
    """What is compared. It never changes."""
    traffic_split: Share = 1.0
    """The share of sessions, users or requests that enter, of those that name no model."""
    auto_deploy: bool = False
    """Whether the winner becomes the project's default."""
    alpha: Annotated[float, Meta(gt=0, le=0.5)] = 0.05
    """The chance that a difference is found where there is none, over all pairs, however often one looks."""
    guard_alpha: Annotated[float, Meta(gt=0, le=0.5)] = 0.05
    """The same for all guardrails together."""
    min_scores: Annotated[int, Meta(ge=2, le=1_000_000)] | None = None
    """Of each arm (`direct`) or each pair (`comparison`), before anything is tested. Default: 30; where the
    metric is `scalar` 100, and 300 where it is built in: what may be any number is uneven, and its mean
    settles later."""
    mixture_variance: Annotated[float, Meta(gt=0, le=100)] = 0.01
    """Where the test is sharpest, in units of the score's variance: less for later. It never changes."""
    guardrails: Annotated[tuple[GuardrailWish, ...], Meta(max_length=3)] = ()
    """What ends it without a winner: one for each measure."""


class CampaignChange(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What may change while it runs."""

    name: Name | UnsetType = UNSET
    traffic_split: Share | UnsetType = UNSET
    """Units that are in with a smaller share stay in with a larger one."""
    auto_deploy: bool | UnsetType = UNSET
    """Whether the winner becomes the project's default."""


class ProjectDefinition(
    ProjectWish, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A whole project, as the settings file has it: `[[projects]]`."""

    templates: Annotated[tuple[TemplateWish, ...], Meta(max_length=256)] = ()
    """A text that differs from the active version's becomes the next version."""
    metrics: Annotated[tuple[MetricWish, ...], Meta(max_length=256)] = ()
