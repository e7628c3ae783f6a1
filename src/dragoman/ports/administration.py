"""The Protocol of what administration needs of a store: all that is kept, and changes that are whole."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from dragoman.ports.interactions import InteractionRepository
from dragoman.ports.projects import CampaignRepository, MetricRepository, ProjectRepository
from dragoman.ports.repositories import (
    AccountRepository,
    AuditRepository,
    KeyRepository,
    MoneyRepository,
    PriceRepository,
    UsageRepository,
)


class ServerSecrets(Protocol):
    def server_secret(self, name: str) -> bytes:
        """32 random bytes of the server's own, drawn when they are first asked for: the same ever after."""
        ...


class Atomic(Protocol):
    def atomically(self) -> AbstractContextManager[object]:
        """What this thread changes within it is kept as a whole, or not at all."""
        ...


class AdministrationStore(
    KeyRepository,
    AccountRepository,
    PriceRepository,
    MoneyRepository,
    AuditRepository,
    UsageRepository,
    ProjectRepository,
    MetricRepository,
    CampaignRepository,
    InteractionRepository,
    ServerSecrets,
    Atomic,
    Protocol,
):
    """One store that is all of them."""
