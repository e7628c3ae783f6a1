"""What administrators do: the one set of operations beneath the admin API and the command line.

Each checks what it is given and says what to do about it, makes its change whole, and leaves one line
in the audit log; whatever is repeated with the same token or idempotency key changes nothing more.
All of them wait for the store: call them in a thread.

What is wished for loads with this package, because settings files are made of it; the operations load when
they are asked for, because most commands need few of them, or none.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from dragoman.policy.administration.amounts import format_usd, parse_usd
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

if TYPE_CHECKING:
    from dragoman.policy.administration.accounts import AccountAdministration
    from dragoman.policy.administration.campaigns import CampaignAdministration
    from dragoman.policy.administration.interactions import InteractionAdministration
    from dragoman.policy.administration.keys import KeyAdministration
    from dragoman.policy.administration.metrics import MetricAdministration
    from dragoman.policy.administration.money import MoneyAdministration
    from dragoman.policy.administration.prices import PriceAdministration
    from dragoman.policy.administration.projects import ProjectAdministration
    from dragoman.policy.administration.templates import TemplateAdministration
    from dragoman.policy.administration.tool_servers import ToolServerAdministration
    from dragoman.policy.administration.usage import UsageAdministration
    from dragoman.policy.administration.whole_projects import WholeProjects
    from dragoman.policy.routing import ModelDirectory
    from dragoman.ports import Clock
    from dragoman.ports.administration import AdministrationStore
    from dragoman.records.audit_event import AuditEvent


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
        keeps_interactions: bool = True,
    ) -> None:
        """`directory` knows the models that keys, plans, prices and projects may name; without it any name
        will do. `allows_plain_webhooks`: whether alerts are sent to `http://` too. `allows_commands`:
        whether the actor has this machine's shell, and may set up commands that it runs, and refer to all
        of its secrets. `keeps_interactions`: whether completions leave anything that campaigns can count."""
        from dragoman.policy.administration.desk import Desk  # noqa: PLC0415

        self._desk = Desk(
            store,
            clock,
            actor,
            directory,
            allows_plain_webhooks=allows_plain_webhooks,
            allows_commands=allows_commands,
            keeps_interactions=keeps_interactions,
        )

    @cached_property
    def accounts(self) -> AccountAdministration:
        from dragoman.policy.administration.accounts import AccountAdministration  # noqa: PLC0415

        return AccountAdministration(self._desk)

    @cached_property
    def keys(self) -> KeyAdministration:
        from dragoman.policy.administration.keys import KeyAdministration  # noqa: PLC0415

        return KeyAdministration(self._desk)

    @cached_property
    def prices(self) -> PriceAdministration:
        from dragoman.policy.administration.prices import PriceAdministration  # noqa: PLC0415

        return PriceAdministration(self._desk)

    @cached_property
    def money(self) -> MoneyAdministration:
        from dragoman.policy.administration.money import MoneyAdministration  # noqa: PLC0415

        return MoneyAdministration(self._desk)

    @cached_property
    def usage(self) -> UsageAdministration:
        from dragoman.policy.administration.usage import UsageAdministration  # noqa: PLC0415

        return UsageAdministration(self._desk)

    @cached_property
    def projects(self) -> ProjectAdministration:
        from dragoman.policy.administration.projects import ProjectAdministration  # noqa: PLC0415

        return ProjectAdministration(self._desk)

    @cached_property
    def templates(self) -> TemplateAdministration:
        from dragoman.policy.administration.templates import TemplateAdministration  # noqa: PLC0415

        return TemplateAdministration(self._desk)

    @cached_property
    def metrics(self) -> MetricAdministration:
        from dragoman.policy.administration.metrics import MetricAdministration  # noqa: PLC0415

        return MetricAdministration(self._desk)

    @cached_property
    def tool_servers(self) -> ToolServerAdministration:
        from dragoman.policy.administration.tool_servers import (  # noqa: PLC0415
            ToolServerAdministration,
        )

        return ToolServerAdministration(self._desk)

    @cached_property
    def campaigns(self) -> CampaignAdministration:
        from dragoman.policy.administration.campaigns import CampaignAdministration  # noqa: PLC0415

        return CampaignAdministration(self._desk)

    @cached_property
    def interactions(self) -> InteractionAdministration:
        from dragoman.policy.administration.interactions import (  # noqa: PLC0415
            InteractionAdministration,
        )

        return InteractionAdministration(self._desk)

    @cached_property
    def whole_projects(self) -> WholeProjects:
        from dragoman.policy.administration.whole_projects import WholeProjects  # noqa: PLC0415

        return WholeProjects(self._desk, self.projects, self.templates, self.metrics)

    def audit(
        self, *, subject: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, AuditEvent]]:
        """Newest first, each with its sequence number; `before` is the one that the last page ended with."""
        return self._desk.store.list_events(subject=subject, before=before, limit=limit)


__all__ = [
    "AccountChange",
    "AccountWish",
    "ActivationWish",
    "Adjustment",
    "Administration",
    "AlertsWish",
    "AttachedModelWish",
    "CampaignChange",
    "CampaignWish",
    "KeyChange",
    "KeyWish",
    "LimitsWish",
    "MemberChange",
    "MemberWish",
    "MetricChange",
    "MetricWish",
    "Payment",
    "PlanWish",
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
    "format_usd",
    "parse_usd",
]
