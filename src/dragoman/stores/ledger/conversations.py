"""What is kept of a conversation, in the transaction that settles its request."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from dragoman.chat import NanoUSD
from dragoman.ports.accounting import Keep
from dragoman.records.interaction import Interaction
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.interaction_rows import content_text
from dragoman.stores.ledger.jobs import SettleJob

_log = logging.getLogger("dragoman.ledger")

_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
)
"""What a mistake in making a copy may raise. The settlement must not be lost by it."""


def kept_interactions(job: SettleJob, keep: Keep, record: UsageRecord) -> tuple[Interaction, ...]:
    """Made once; a transaction that is tried again has them amended to what the record says then."""
    if job.interactions is None:
        try:
            job.interactions = keep(record)
        except _BROKEN as error:
            # Without the error's text, which may quote the conversation.
            _log.error(
                "the conversation of request %s is not kept: %s",
                record.request_id,
                type(error).__name__,
            )
            job.interactions = ()
    elif job.interactions:
        job.interactions = tuple([_amended(each, record) for each in job.interactions])
    return job.interactions


def _amended(interaction: Interaction, record: UsageRecord) -> Interaction:
    cost = record.cost_nano_usd if interaction.choice == 0 else NanoUSD(0)
    if (interaction.status, interaction.cost_nano_usd) == (record.status, cost):
        return interaction
    return msgspec.structs.replace(
        interaction, status=record.status, error=record.error, cost_nano_usd=cost
    )


def make_storable(job: SettleJob) -> None:
    """After something of its conversation could not be written: what is surely in order stays."""
    job.interactions = tuple([_storable(each) for each in job.interactions or ()])


def _storable(interaction: Interaction) -> Interaction:
    """Lone surrogates, which no database can hold, are replaced; in the words they cannot be."""
    content = interaction.content
    if content is not None:
        try:
            content_text(content)
        except UnicodeError:
            content = None
    changed: dict[str, Any] = {
        name: _clean(value)
        for name, value in msgspec.structs.asdict(interaction).items()
        if isinstance(value, str)
    }
    return msgspec.structs.replace(
        interaction,
        **changed,
        labels=tuple([(_clean(name), _clean(value)) for name, value in interaction.labels]),
        tags=tuple([_clean(tag) for tag in interaction.tags]),
        content=content,
    )


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()
