"""Campaigns, and what was counted of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from msgspec import structs

from dragoman.errors import Conflict, UnknownEntity
from dragoman.records.campaign import Campaign, CampaignId, PairTally, Tally
from dragoman.records.project import ProjectId
from dragoman.stores.campaign_gathering import gather
from dragoman.stores.campaign_rows import (
    campaign_values,
    kept_campaign,
    least_p_text,
    least_p_value,
)
from dragoman.stores.compiled import campaigns as sql
from dragoman.stores.compiled import scores
from dragoman.stores.database import Area, Value
from dragoman.stores.scores import arm_tallies


class CampaignArea(Area):
    def list_campaigns(self, project_id: ProjectId | None = None) -> list[Campaign]:
        """Newest first."""
        if project_id is None:
            rows = self._database.rows(sql.SQLITE_LIST_CAMPAIGNS, {})
        else:
            rows = self._database.rows(sql.SQLITE_LIST_CAMPAIGNS_OF, {"project_id": project_id})
        return [kept_campaign(row) for row in rows]

    def active_campaigns(self) -> list[Campaign]:
        return [kept_campaign(row) for row in self._database.rows(sql.SQLITE_LIST_ACTIVE, {})]

    def add_campaign(self, campaign: Campaign) -> None:
        with self._database.transaction():
            if campaign.is_active:
                active = self._database.rows(
                    sql.SQLITE_ACTIVE_OF, {"project_id": campaign.project_id}
                )
                if active:
                    raise Conflict(
                        f"The project has an active campaign, '{active[0][0]}'; cancel it, or wait"
                        " until it ends."
                    )
            self._database.change(
                sql.SQLITE_ADD_CAMPAIGN,
                campaign_values(campaign),
                taken=f"The project has had a campaign with the key '{campaign.key}'.",
                missing=f"project '{campaign.project_id}' does not exist",
            )
            self._database.announce()

    def replace_campaign(self, campaign: Campaign) -> bool:
        """Keeps what another process has found meanwhile: that there are enough scores, and lesser
        p-values."""
        with self._database.transaction():
            status, least_p = self._progress(campaign.id)
            if status == "IN_PROGRESS" and campaign.status == "WARMUP":
                campaign = structs.replace(campaign, status="IN_PROGRESS")
            values = campaign_values(
                structs.replace(campaign, least_p=_least(least_p, campaign.least_p))
            )
            changed = self._database.change(
                sql.SQLITE_REPLACE_CAMPAIGN, {"campaign_id": campaign.id, **values}
            )
            if changed:
                self._database.announce()
        return changed == 1

    def note_least_p(self, campaign_id: CampaignId, least_p: Sequence[tuple[str, float]]) -> None:
        with self._database.transaction():
            _, noted = self._progress(campaign_id)
            text = least_p_text(_least(noted, least_p))
            self._database.change(
                sql.SQLITE_NOTE_LEAST_P, {"campaign_id": campaign_id, "least_p": text}
            )

    def tally(self, campaign_id: CampaignId) -> Tally:
        with self._database.moment() as connection:
            return _tally(connection, {"campaign_id": campaign_id})

    def gather(self, limit: int = 1000) -> list[CampaignId]:
        return gather(self._database, limit)

    def _progress(self, campaign_id: CampaignId) -> tuple[str, tuple[tuple[str, float], ...]]:
        rows = self._database.rows(sql.SQLITE_READ_PROGRESS, {"campaign_id": campaign_id})
        if not rows:
            raise UnknownEntity(f"campaign '{campaign_id}' does not exist", entity="campaign")
        status, least_p = rows[0]
        return status, least_p_value(least_p)


def _least(
    noted: Sequence[tuple[str, float]], found: Sequence[tuple[str, float]]
) -> tuple[tuple[str, float], ...]:
    least = dict(noted)
    for pair, p in found:
        least[pair] = min(p, least.get(pair, p))
    return tuple(least.items())


def _tally(connection: sqlite3.Connection, asked: dict[str, Value]) -> Tally:
    arms = connection.execute(scores.SQLITE_LIST_ARMS, asked).fetchall()
    guards = connection.execute(scores.SQLITE_LIST_GUARDS, asked).fetchall()
    pairs = connection.execute(scores.SQLITE_LIST_PAIRS, asked).fetchall()
    return Tally(
        arms=tuple(arm_tallies(arms, guards)),
        pairs=tuple(PairTally(**dict(zip(_PAIR_FIELDS, pair, strict=True))) for pair in pairs),
    )


_PAIR_FIELDS = ("first", "second", "wins", "losses", "ties", "later")
