"""Looks at campaigns: counts what is new, judges, and writes down what that changes; ends what has come to its end.

Looking is cheap and may be done by anybody at any time, because the statistics allow it: one process does it every
second, and so do reports and feedback. What a look changes is judged anew under the write lock, so a campaign ends
once, whoever looks, and its winner is deployed in the same transaction. All of it waits for the store: call it in a
thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from dragoman.errors import DragomanError, UnknownEntity
from dragoman.policy.campaigns import wording
from dragoman.policy.campaigns.deployment import obstacle_to, with_arm
from dragoman.policy.campaigns.judging import Judgement, judge
from dragoman.policy.campaigns.reporting import CampaignReport, report
from dragoman.ports import Clock
from dragoman.ports.administration import Atomic
from dragoman.ports.projects import CampaignRepository, MetricRepository, ProjectRepository
from dragoman.ports.repositories import AuditRepository
from dragoman.records.audit_event import AuditEvent
from dragoman.records.campaign import Arm, Campaign, CampaignId, Tally
from dragoman.records.metric import BUILT_IN_METRICS, Metric
from dragoman.records.project import Project
from dragoman.records.template import Template

ACTOR = "server"
GATHER_AT_ONCE = 200
"""Interactions in one transaction: settlements wait no longer than these take, five milliseconds."""
MOST_GATHERED = 250
"""Times before a single look: a report does not wait for a day's backlog."""

_BUILT_IN = {metric.id: metric for metric in BUILT_IN_METRICS}


class ClerkStore(
    CampaignRepository, MetricRepository, ProjectRepository, AuditRepository, Atomic, Protocol
):
    """What is asked of the store."""


class Clerk:
    """Any number of them may look at once, in any process and thread; at everything, one thread of each."""

    def __init__(self, store: ClerkStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[CampaignId, tuple[Campaign, Tally]] = {}
        """What the last look at everything found: what has not changed since is not judged again."""

    def look(self, campaign_id: CampaignId) -> Judgement | None:
        """Judge an active campaign by what has been counted, and write down what that changes.

        `None`: there is no active one of that id.
        """
        campaign = _one(self._store.active_campaigns(), campaign_id)
        if campaign is None:
            return None
        return self._look(campaign, self._store.tally(campaign.id))

    def look_at_all(self, stop: threading.Event | None = None) -> int:
        """Count what is new, and look at every active campaign that has more; returns how many those were.

        What fails for one campaign is raised when the others have been looked at.
        """
        self._gather(lambda: stop is not None and stop.is_set())
        seen: dict[CampaignId, tuple[Campaign, Tally]] = {}
        looked = 0
        failure: DragomanError | None = None
        for campaign in self._store.active_campaigns():
            try:
                tally = self._store.tally(campaign.id)
                if self._seen.get(campaign.id) != (campaign, tally):
                    self._look(campaign, tally)
                    looked += 1
            except DragomanError as error:
                failure = error
            else:
                seen[campaign.id] = (campaign, tally)
        self._seen = seen
        if failure is not None:
            raise failure
        return looked

    def report(self, campaign_id: CampaignId) -> CampaignReport:
        """Of a campaign, active or ended, with all that has happened by now. Raises `UnknownEntity`."""
        campaign = self._find(campaign_id)
        if campaign.is_active:
            self._gather_some()
            self.look(campaign_id)
            campaign = self._find(campaign_id)
        metric = self._metric(campaign)
        return report(campaign, judge(campaign, self._store.tally(campaign.id), metric), metric)

    # --- Steps ---

    def _gather(self, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            if not self._store.gather(GATHER_AT_ONCE):
                return

    def _gather_some(self) -> None:
        gathered = iter(range(MOST_GATHERED))
        self._gather(lambda: next(gathered, None) is None)

    def _look(self, campaign: Campaign, tally: Tally) -> Judgement:
        judged = judge(campaign, tally, self._metric(campaign))
        if judged.status != campaign.status:
            # Nothing is counted of a campaign that has ended: whatever came before its end is counted now.
            self._gather_some()
            return self._write(campaign, judged)
        if _is_less(judged, campaign):
            self._store.note_least_p(campaign.id, judged.least_p)
        return judged

    def _write(self, campaign: Campaign, judged: Judgement) -> Judgement:
        """Judge again with everything held still, and write what comes of it."""
        with self._store.atomically():
            fresh = _one(self._store.active_campaigns(), campaign.id)
            if fresh is None:
                return judged
            metric = self._metric(fresh)
            judged = judge(fresh, self._store.tally(fresh.id), metric)
            if judged.status == "DONE":
                self._end(fresh, judged, metric)
            elif judged.status != fresh.status:
                self._store.replace_campaign(
                    msgspec.structs.replace(fresh, status=judged.status, least_p=judged.least_p)
                )
        return judged

    def _end(self, campaign: Campaign, judged: Judgement, metric: Metric) -> None:
        now_s = self._clock.unix_s()
        arm = None if judged.winner is None else campaign.arm(judged.winner)
        reason = _reason(campaign, judged, metric)
        project = self._project(campaign)
        templates = self._store.list_templates(campaign.project_id)
        is_deployed = False
        if arm is not None and campaign.auto_deploy:
            obstacle = _obstacle(project, arm, templates, judged)
            is_deployed = obstacle is None
            reason += (
                f" {arm.key} is the project's default now."
                if obstacle is None
                else f" {arm.key} is not made the project's default: {obstacle}."
            )
        ended = msgspec.structs.replace(
            campaign,
            status="DONE",
            ended_s=now_s,
            end_reason=reason,
            winner=judged.winner,
            deployed_s=now_s if is_deployed else None,
            least_p=judged.least_p,
        )
        if not self._store.replace_campaign(ended):
            return
        self._note(
            "campaign.end",
            campaign.id,
            {
                "project": campaign.project_id,
                "key": campaign.key,
                "winner": judged.winner,
                "reason": reason,
            },
        )
        if is_deployed and arm is not None and project is not None:
            self._deploy(ended, project, arm, templates)

    def _deploy(
        self, campaign: Campaign, project: Project, arm: Arm, templates: list[Template]
    ) -> None:
        deployed = with_arm(project, arm)
        if deployed != project:
            self._store.replace_project(deployed)
        attached = project.attached(arm.model)
        if arm.template_version is not None and attached is not None:
            for template in templates:
                if (
                    template.key == attached.template
                    and template.active_version != arm.template_version
                ):
                    self._store.activate_template(template.id, arm.template_version)
        self._note(
            "campaign.deploy",
            project.id,
            {"campaign": campaign.id, "before": project.default_model, "arm": arm},
        )

    def _note(self, action: str, subject: str, detail: object) -> None:
        self._store.add_event(
            AuditEvent(
                at_s=self._clock.unix_s(),
                actor=ACTOR,
                action=action,
                subject=subject,
                detail=msgspec.Raw(msgspec.json.encode(detail)),
            )
        )

    def _find(self, campaign_id: CampaignId) -> Campaign:
        found = _one(self._store.list_campaigns(), campaign_id)
        if found is None:
            raise UnknownEntity(
                f"campaign {campaign_id[:64]!r} does not exist",
                entity="ab_campaign",
                param="campaign",
            )
        return found

    def _metric(self, campaign: Campaign) -> Metric:
        built_in = _BUILT_IN.get(campaign.metric_id)
        if built_in is not None:
            return built_in
        for metric in self._store.list_metrics(campaign.project_id):
            if metric.id == campaign.metric_id:
                return metric
        raise UnknownEntity(
            f"metric {campaign.metric_id!r} of campaign '{campaign.key}' does not exist",
            entity="metric",
            param="metric",
        )

    def _project(self, campaign: Campaign) -> Project | None:
        return next((p for p in self._store.list_projects() if p.id == campaign.project_id), None)


def _one(campaigns: list[Campaign], campaign_id: CampaignId) -> Campaign | None:
    return next((each for each in campaigns if each.id == campaign_id), None)


def _is_less(judged: Judgement, campaign: Campaign) -> bool:
    noted = dict(campaign.least_p)
    return any(p < noted.get(pair, 1.0) for pair, p in judged.least_p)


def _reason(campaign: Campaign, judged: Judgement, metric: Metric) -> str:
    if judged.winner is not None:
        return wording.winning(campaign, judged, metric)
    breach = judged.breach
    told = None if breach is None else wording.of_guard(breach)
    return "A guardrail ended it." if told is None else f"A guardrail ended it: {told}"


def _obstacle(
    project: Project | None, arm: Arm, templates: list[Template], judged: Judgement
) -> str | None:
    """Why the winner is not deployed by itself."""
    if judged.ratio.is_off:
        return "the arms got different numbers of units, so the comparison cannot be trusted"
    return obstacle_to(project, arm, templates)
