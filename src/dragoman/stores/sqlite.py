"""The store on SQLite: every area over one database."""

from __future__ import annotations

from contextlib import AbstractContextManager

from dragoman.stores.accounts import AccountArea
from dragoman.stores.alerts import AlertArea
from dragoman.stores.audit import AuditArea
from dragoman.stores.campaigns import CampaignArea
from dragoman.stores.erasure import ErasureArea
from dragoman.stores.feedback import FeedbackArea
from dragoman.stores.interactions import InteractionArea
from dragoman.stores.keys import KeyArea
from dragoman.stores.metrics import MetricArea
from dragoman.stores.money import MoneyArea
from dragoman.stores.prices import PriceArea
from dragoman.stores.projects import ProjectArea
from dragoman.stores.retention import RetentionArea
from dragoman.stores.server_values import ServerValueArea
from dragoman.stores.templates import TemplateArea
from dragoman.stores.tool_servers import ToolServerArea
from dragoman.stores.usage import UsageArea


class SqliteStore(
    KeyArea,
    AccountArea,
    PriceArea,
    MoneyArea,
    AuditArea,
    UsageArea,
    RetentionArea,
    AlertArea,
    ServerValueArea,
    ProjectArea,
    TemplateArea,
    ToolServerArea,
    MetricArea,
    CampaignArea,
    InteractionArea,
    FeedbackArea,
    ErasureArea,
):
    """May be used from any thread. Raises `StoreFailed` or `StoreUnavailable`."""

    def atomically(self) -> AbstractContextManager[None]:
        """What this thread changes within it is kept as a whole, or not at all."""
        return self._database.transaction()

    def generation(self) -> int:
        return self._database.generation()

    def close(self) -> None:
        self._database.close()
