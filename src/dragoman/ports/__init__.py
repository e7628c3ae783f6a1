"""The Protocols that `pipeline`, `policy` and `web` are given, and `app` fills in.

A port is stated where it is used from: nothing here does I/O or imports an adapter.
"""

from dragoman.ports.accounting import Accounting
from dragoman.ports.clock import Clock
from dragoman.ports.dialects import Dialect, Example, StreamEncoder, WireTypes
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

__all__ = [
    "AccountRepository",
    "Accounting",
    "AlertRepository",
    "AuditRepository",
    "Clock",
    "Dialect",
    "Example",
    "Generations",
    "KeyRepository",
    "MoneyRepository",
    "PriceRepository",
    "Provider",
    "ProviderHealth",
    "StreamEncoder",
    "UsageRepository",
    "WireTypes",
]
