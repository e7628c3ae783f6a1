"""The Protocols that `pipeline`, `policy` and `web` are given, and `app` fills in.

A port is stated where it is used from: nothing here does I/O or imports an adapter.
"""

from dragoman.ports.accounting import Accounting, Keep
from dragoman.ports.clock import Clock
from dragoman.ports.dialects import Dialect, Example, StreamEncoder, WireTypes
from dragoman.ports.interactions import FeedbackRepository, InteractionRepository
from dragoman.ports.projects import CampaignRepository, MetricRepository, ProjectRepository
from dragoman.ports.providers import Provider, ProviderHealth
from dragoman.ports.repositories import (
    AccountRepository,
    AlertRepository,
    AuditRepository,
    Generations,
    KeyRepository,
    MoneyRepository,
    PriceRepository,
    UsageRepository,
)
from dragoman.ports.tools import ToolBox

__all__ = [
    "AccountRepository",
    "Accounting",
    "AlertRepository",
    "AuditRepository",
    "CampaignRepository",
    "Clock",
    "Dialect",
    "Example",
    "FeedbackRepository",
    "Generations",
    "InteractionRepository",
    "Keep",
    "KeyRepository",
    "MetricRepository",
    "MoneyRepository",
    "PriceRepository",
    "ProjectRepository",
    "Provider",
    "ProviderHealth",
    "StreamEncoder",
    "ToolBox",
    "UsageRepository",
    "WireTypes",
]
