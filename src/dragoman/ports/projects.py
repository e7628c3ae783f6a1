"""The Protocols of projects and what belongs to them; as `repositories`, for callers that may wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dragoman.ports.repositories import Generations
from dragoman.records.campaign import Campaign, CampaignId, Tally
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import Project, ProjectId
from dragoman.records.template import Template, TemplateId, TemplateVersion
from dragoman.records.tool_server import ToolServer


class ProjectRepository(Generations, Protocol):
    """Every change raises the generation."""

    def list_projects(self) -> list[Project]:
        """Oldest first, archived ones too."""
        ...

    def add_project(self, project: Project) -> None: ...

    def replace_project(self, project: Project) -> None:
        """Write everything of the project with `project.id` anew."""
        ...

    def list_templates(self, project_id: ProjectId | None = None) -> list[Template]: ...

    def add_template(self, template: Template) -> None:
        """With its first version."""
        ...

    def add_template_version(self, template_id: TemplateId, version: TemplateVersion) -> None:
        """Raises `Conflict` where there is a version of that number."""
        ...

    def activate_template(self, template_id: TemplateId, version: int) -> None: ...

    def delete_template(self, template_id: TemplateId) -> None: ...

    def list_tool_servers(self) -> list[ToolServer]: ...

    def put_tool_server(self, server: ToolServer) -> None:
        """Add it, or write the one with its key anew."""
        ...

    def delete_tool_server(self, key: str) -> None: ...


class MetricRepository(Generations, Protocol):
    def list_metrics(self, project_id: ProjectId | None = None) -> list[Metric]:
        """Without the built-in ones."""
        ...

    def add_metric(self, metric: Metric) -> None: ...

    def replace_metric(self, metric: Metric) -> None: ...

    def delete_metric(self, metric_id: MetricId) -> None:
        """Raises `Conflict` while there is feedback of it, or a campaign."""
        ...


class CampaignRepository(Generations, Protocol):
    def list_campaigns(self, project_id: ProjectId | None = None) -> list[Campaign]:
        """Newest first."""
        ...

    def active_campaigns(self) -> list[Campaign]: ...

    def add_campaign(self, campaign: Campaign) -> None:
        """Raises `Conflict` where the project has an active one."""
        ...

    def replace_campaign(self, campaign: Campaign) -> bool:
        """Write what may change of it, and raise the generation; `False`, with nothing changed, where it
        has ended meanwhile."""
        ...

    def note_least_p(self, campaign_id: CampaignId, least_p: Sequence[tuple[str, float]]) -> None:
        """Raises no generation."""
        ...

    def tally(self, campaign_id: CampaignId) -> Tally:
        """Of one moment."""
        ...

    def gather(self, limit: int = 1000) -> list[CampaignId]:
        """Count interactions in that have not been counted yet, `limit` at most: units, guards, and scores of
        built-in metrics. Returns the campaigns that have more now; empty: nothing was left to count."""
        ...
