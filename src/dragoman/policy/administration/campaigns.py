"""Campaigns, as administrators begin, change, cancel and read them."""

from __future__ import annotations

import msgspec

from dragoman.errors import Conflict
from dragoman.policy.administration.desk import (
    Desk,
    checked,
    named_of,
    refuse_id_as_key,
    same_or_conflict,
    text_checked,
)
from dragoman.policy.administration.metrics import metric_named
from dragoman.policy.administration.project_wishes import CampaignChange, CampaignWish
from dragoman.policy.campaigns.clerk import Clerk
from dragoman.policy.campaigns.lifecycle import Ground, begin, cancel, change
from dragoman.policy.campaigns.reporting import CampaignReport
from dragoman.records.campaign import Campaign, CampaignId
from dragoman.records.metric import BUILT_IN_METRICS, MetricId
from dragoman.records.project import Project


class CampaignAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_all(self, project: str | None = None) -> list[Campaign]:
        """Newest first; of every project for `None`. Raises `UnknownEntity`."""
        owner = None if project is None else self._desk.project(project).id
        return self._desk.store.list_campaigns(owner)

    def find(self, project: str, campaign: str) -> Campaign:
        """By id or key. Raises `UnknownEntity`."""
        return self._found(self._desk.project(project), campaign)

    def metric_keys(self, *campaigns: Campaign) -> dict[MetricId, str]:
        """The keys of what these compare by, and perhaps of others."""
        keys = {metric.id: metric.key for metric in BUILT_IN_METRICS}
        for project_id in {campaign.project_id for campaign in campaigns}:
            keys |= {metric.id: metric.key for metric in self._desk.store.list_metrics(project_id)}
        return keys

    def create(
        self, project: str, wish: CampaignWish, *, token: str | None = None
    ) -> tuple[Campaign, bool]:
        """The campaign, which runs from now on, and whether it is new: the same wish with the same `token`
        begins one only.

        Raises `UnknownEntity`, `InvalidRequest`, or `Conflict` where the key was used, another one
        runs, or nothing would be counted.
        """
        wish = checked(wish)
        if not self._desk.keeps_interactions:
            raise Conflict(
                "a campaign would count nothing: nothing is kept of completions while accounting = false;"
                " set it to true in the settings, and restart the server"
            )
        refuse_id_as_key(wish.key)
        if wish.name is not None:
            wish = msgspec.structs.replace(wish, name=text_checked(wish.name, "name"))
        with self._desk.store.atomically():
            owner = self._desk.project(project, for_change=True)
            campaigns = self._desk.store.list_campaigns(owner.id)
            campaign_id = CampaignId(self._desk.uuid_for(f"campaign:{owner.id}", token))
            again = next((c for c in campaigns if c.id == campaign_id), None)
            ground = self._ground(owner, wish, () if again is not None else tuple(campaigns))
            campaign = begin(wish, ground, campaign_id, self._desk.now_s())
            if again is not None:
                same_or_conflict(campaign, _as_begun(again))
                return again, False
            self._desk.store.add_campaign(campaign)
            self._desk.note("campaign.create", campaign.id, _told(campaign))
        return campaign, True

    def change(self, project: str, campaign: str, wish: CampaignChange) -> Campaign:
        """Raises `UnknownEntity`, `InvalidRequest`, or `Conflict` where it has ended."""
        wish = checked(wish)
        if isinstance(wish.name, str):
            wish = msgspec.structs.replace(wish, name=text_checked(wish.name, "name"))
        with self._desk.store.atomically():
            before = self.find(project, campaign)
            after = change(before, wish)
            if after != before:
                self._replace(after)
                earlier, later = _told(before), _told(after)
                self._desk.note(
                    "campaign.change",
                    after.id,
                    {name: value for name, value in later.items() if earlier[name] != value},
                )
        return after

    def cancel(self, project: str, campaign: str) -> Campaign:
        """End it without a winner. Doing it twice changes nothing. Raises `UnknownEntity`, or `Conflict`
        where it ended by itself."""
        with self._desk.store.atomically():
            before = self.find(project, campaign)
            after = cancel(before, self._desk.now_s())
            if after != before:
                self._replace(after)
                self._desk.note(
                    "campaign.cancel", after.id, {"project": after.project_id, "key": after.key}
                )
        return after

    def report(self, project: str, campaign: str) -> CampaignReport:
        """Of all that has happened by now. Raises `UnknownEntity`."""
        found = self.find(project, campaign)
        return Clerk(self._desk.store, self._desk.clock).report(found.id)

    # --- Steps ---

    def _found(self, project: Project, campaign: str) -> Campaign:
        campaigns = self._desk.store.list_campaigns(project.id)
        return named_of(project, campaigns, campaign, "campaign", entity="ab_campaign")

    def _ground(
        self, project: Project, wish: CampaignWish, campaigns: tuple[Campaign, ...]
    ) -> Ground:
        metrics = self._desk.store.list_metrics(project.id)
        return Ground(
            project=project,
            metric=metric_named(wish.metric, project, metrics),
            templates=self._desk.store.list_templates(project.id),
            campaigns=campaigns,
        )

    def _replace(self, campaign: Campaign) -> None:
        if not self._desk.store.replace_campaign(campaign):
            raise Conflict(f"campaign '{campaign.key}' has ended meanwhile", param="campaign")


def _as_begun(campaign: Campaign) -> Campaign:
    """Without what happened since."""
    return msgspec.structs.replace(
        campaign,
        status="WARMUP",
        ended_s=None,
        end_reason=None,
        winner=None,
        deployed_s=None,
        least_p=(),
    )


def _told(campaign: Campaign) -> dict[str, object]:
    told: dict[str, object] = msgspec.to_builtins(_as_begun(campaign))
    return {"project": campaign.project_id, **told}
