"""One completion of a project, as it is kept: who asked, what answered, and, unless that is not wanted, the
words."""

from __future__ import annotations

from typing import Literal

import msgspec

from dragoman.chat import NanoUSD, Usage
from dragoman.records.account import AccountId
from dragoman.records.campaign import CampaignId
from dragoman.records.key import KeyId
from dragoman.records.project import ProjectId
from dragoman.records.template import TemplateId
from dragoman.records.tool_server import ToolCallRecord
from dragoman.records.usage_record import NO_USAGE, UsageStatus

InteractionSource = Literal["completion", "import"]
"""`completion`: answered here. `import`: answered elsewhere, and told of."""
EnteredBy = Literal["split", "request"]
"""How it came into its campaign: by the traffic split, or because the request named the campaign."""


class InteractionContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The words. All JSON is in the form of OpenAI's chat messages, which fine-tuning tools read."""

    messages: msgspec.Raw
    """A list: what the client sent."""
    completion: msgspec.Raw | None = None
    """The assistant's message; `None`: there was none."""
    system_prompt: str | None = None
    """As rendered from the template."""
    arguments: msgspec.Raw | None = None
    """What the template was rendered with: the client's object."""
    tools: msgspec.Raw | None = None
    """A list: the functions that the client offered."""
    tool_calls: tuple[ToolCallRecord, ...] = ()
    """Of server-side tools."""


class Interaction(msgspec.Struct, frozen=True, kw_only=True):
    """Of a request for several choices there is one for each; the first has the request's usage, cost and
    times, so that sums are right."""

    completion_id: str
    """A UUID."""
    request_id: str | None = None
    """`None`: it was imported."""
    choice: int = 0
    source: InteractionSource = "completion"
    project_id: ProjectId
    account_id: AccountId
    key_id: KeyId | None = None
    created_s: float
    session_id: str
    user: str | None = None
    attached: str | None = None
    """Key of the project's model that was asked."""
    model: str | None = None
    """Id of the model that answered; a fallback's, where one did."""
    template_id: TemplateId | None = None
    template_version: int | None = None
    labels: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    campaign_id: CampaignId | None = None
    unit: str | None = None
    """What the campaign's arm was chosen for: `session:…`, `user:…` or `request:…`."""
    arm: str | None = None
    """The arm that was meant: what counts."""
    served_arm: str | None = None
    """The arm whose model answered; `None`: a fallback that is no arm's."""
    entered_by: EnteredBy | None = None
    status: UsageStatus = "ok"
    error: str | None = None
    finish_reason: str | None = None
    usage: Usage = NO_USAGE
    cost_nano_usd: NanoUSD = NanoUSD(0)
    first_token_ms: float | None = None
    total_ms: float | None = None
    content: InteractionContent | None = None
    """`None`: not kept, or no longer."""
