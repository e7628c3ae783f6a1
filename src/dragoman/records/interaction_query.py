"""What can be asked about interactions."""

from __future__ import annotations

import msgspec

from dragoman.records.account import AccountId
from dragoman.records.campaign import CampaignId
from dragoman.records.feedback import Feedback
from dragoman.records.interaction import Interaction, InteractionSource
from dragoman.records.project import ProjectId
from dragoman.records.usage_record import UsageStatus


class InteractionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Each field that is not `None` has to hold."""

    account_id: AccountId | None = None
    project_ids: tuple[ProjectId, ...] | None = None
    """One of them."""
    completion_id: str | None = None
    request_id: str | None = None
    model: str | None = None
    """Id of the model that answered, or key of the attached model."""
    session_id: str | None = None
    user: str | None = None
    labels: tuple[tuple[str, str | None], ...] = ()
    """All of them; `None` for any value."""
    tags: tuple[str, ...] = ()
    """All of them."""
    campaign_id: CampaignId | None = None
    arm: str | None = None
    status: UsageStatus | None = None
    source: InteractionSource | None = None
    metric: str | None = None
    """Id of a metric that it has feedback of."""
    text: str | None = None
    """Words that all occur in it, in any order; `"in quotes"`: a phrase."""
    from_s: float | None = None
    to_s: float | None = None
    """Made at the first moment or later, and before the second."""


class KeptInteraction(msgspec.Struct, frozen=True):
    sequence: int
    """Its number in the store."""
    interaction: Interaction
    feedback: tuple[Feedback, ...] = ()
    """Oldest first."""


class InteractionPage(msgspec.Struct, frozen=True):
    interactions: tuple[KeptInteraction, ...]
    """The newest first, by when they were made. A page may hold fewer than were asked for and still not be
    the last."""
    before: str | None
    """What to ask for the next page with; `None`: this was the last."""


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted of one user."""

    interactions: int = 0
    feedback: int = 0
    comparisons: int = 0
    outcomes: int = 0
    usage_records: int = 0
    """Kept as counts, without the user, labels and tags."""
    kept_answers: int = 0
    """Copies of answers that were kept for an `Idempotency-Key`."""
    archives: int = 0
    """Files that were written anew."""
