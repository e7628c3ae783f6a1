"""What administrators do: the one set of operations beneath the admin API and the command line.

Each checks what it is given and says what to do about it, makes its change whole, and leaves one line
in the audit log; whatever is repeated with the same token or idempotency key changes nothing more.
All of them wait for the store: call them in a thread.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from dragoman.policy.administration.accounts import AccountAdministration, AccountStanding
from dragoman.policy.administration.amounts import format_usd, parse_usd
from dragoman.policy.administration.desk import Desk
from dragoman.policy.administration.keys import KeyAdministration, KeyMade
from dragoman.policy.administration.metrics import MetricAdministration
from dragoman.policy.administration.money import MoneyAdministration
from dragoman.policy.administration.prices import PriceAdministration
from dragoman.policy.administration.project_wishes import (
    ActivationWish,
    AttachedModelWish,
    CampaignChange,
    CampaignWish,
    MetricChange,
    MetricWish,
    PreviewWish,
    ProjectChange,
    ProjectDefinition,
    ProjectWish,
    RightWish,
    TemplateVersionWish,
    TemplateWish,
    ToolServerWish,
)
from dragoman.policy.administration.projects import ProjectAdministration
from dragoman.policy.administration.rights import may, right_of
from dragoman.policy.administration.templates import Preview, TemplateAdministration
from dragoman.policy.administration.tool_servers import ToolServerAdministration
from dragoman.policy.administration.usage import (
    UsageAdministration,
    UsageQuestion,
    UsageSum,
    usage_row,
    usage_sum,
)
from dragoman.policy.administration.whole_projects import Applied, WholeProjects
from dragoman.policy.administration.wishes import (
    AccountChange,
    AccountWish,
    Adjustment,
    AlertsWish,
    KeyChange,
    KeyWish,
    LimitsWish,
    MemberChange,
    MemberWish,
    Payment,
    PlanWish,
    PriceWish,
    Refund,
    RotationWish,
    ScopesWish,
    TierWish,
)
from dragoman.policy.routing import ModelDirectory
from dragoman.ports import Clock
from dragoman.ports.administration import AdministrationStore
from dragoman.records.audit_event import AuditEvent

if TYPE_CHECKING:
    from dragoman.policy.administration.campaigns import CampaignAdministration
    from dragoman.policy.administration.interactions import InteractionAdministration


class Administration:
    """On behalf of one actor: `key_…` of an admin key, or `cli:USER`."""

    def __init__(
        self,
        store: AdministrationStore,
        clock: Clock,
        actor: str,
        *,
        directory: ModelDirectory | None = None,
        allows_plain_webhooks: bool = True,
        allows_commands: bool = True,
    ) -> None:
        """`directory` knows the models that keys, plans, prices and projects may name; without it any name
        will do. `allows_plain_webhooks`: whether alerts are sent to `http://` too. `allows_commands`:
        whether the actor has this machine's shell, and may set up commands that it runs, and refer to all
        of its secrets."""
        desk = Desk(
            store,
            clock,
            actor,
            directory,
            allows_plain_webhooks=allows_plain_webhooks,
            allows_commands=allows_commands,
        )
        self.accounts = AccountAdministration(desk)
        self.keys = KeyAdministration(desk)
        self.prices = PriceAdministration(desk)
        self.money = MoneyAdministration(desk)
        self.usage = UsageAdministration(desk)
        self.projects = ProjectAdministration(desk)
        self.templates = TemplateAdministration(desk)
        self.metrics = MetricAdministration(desk)
        self.tool_servers = ToolServerAdministration(desk)
        self.whole_projects = WholeProjects(desk, self.projects, self.templates, self.metrics)
        self._desk = desk

    # These load when they are asked for: much of what they are made of names this package's wishes.

    @cached_property
    def campaigns(self) -> CampaignAdministration:
        from dragoman.policy.administration.campaigns import (  # noqa: PLC0415
            CampaignAdministration,
        )

        return CampaignAdministration(self._desk)

    @cached_property
    def interactions(self) -> InteractionAdministration:
        from dragoman.policy.administration.interactions import (  # noqa: PLC0415
            InteractionAdministration,
        )

        return InteractionAdministration(self._desk)

    def audit(
        self, *, subject: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, AuditEvent]]:
        """Newest first, each with its sequence number; `before` is the one that the last page ended with."""
        return self._desk.store.list_events(subject=subject, before=before, limit=limit)


__all__ = [
    "AccountChange",
    "AccountStanding",
    "AccountWish",
    "ActivationWish",
    "Adjustment",
    "Administration",
    "AlertsWish",
    "Applied",
    "AttachedModelWish",
    "CampaignChange",
    "CampaignWish",
    "KeyChange",
    "KeyMade",
    "KeyWish",
    "LimitsWish",
    "MemberChange",
    "MemberWish",
    "MetricChange",
    "MetricWish",
    "Payment",
    "PlanWish",
    "Preview",
    "PreviewWish",
    "PriceWish",
    "ProjectChange",
    "ProjectDefinition",
    "ProjectWish",
    "Refund",
    "RightWish",
    "RotationWish",
    "ScopesWish",
    "TemplateVersionWish",
    "TemplateWish",
    "TierWish",
    "ToolServerWish",
    "UsageQuestion",
    "UsageSum",
    "format_usd",
    "may",
    "parse_usd",
    "right_of",
    "usage_row",
    "usage_sum",
]
