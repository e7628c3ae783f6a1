"""A project with its templates and metrics as one definition: as it is written in the settings file."""

from __future__ import annotations

import msgspec

from dragoman.errors import Conflict
from dragoman.policy.administration.attached import wish_for
from dragoman.policy.administration.desk import Desk, checked, draw_id
from dragoman.policy.administration.metrics import MetricAdministration
from dragoman.policy.administration.project_wishes import (
    ContentWish,
    MetricWish,
    ProjectDefinition,
    ProjectWish,
    RedactionWish,
    RightWish,
    TemplateWish,
)
from dragoman.policy.administration.projects import ProjectAdministration, told
from dragoman.policy.administration.templates import TemplateAdministration, argument_wishes
from dragoman.policy.administration.wishes import LimitsWish
from dragoman.records.metric import Metric
from dragoman.records.project import Project
from dragoman.records.template import Template


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    project: Project
    is_new: bool
    has_changed: bool
    """Whether anything that requests meet is other than before."""


class WholeProjects:
    def __init__(
        self,
        desk: Desk,
        projects: ProjectAdministration,
        templates: TemplateAdministration,
        metrics: MetricAdministration,
    ) -> None:
        self._desk = desk
        self._projects = projects
        self._templates = templates
        self._metrics = metrics

    def current(self, project: str) -> ProjectDefinition:
        """The definition that makes exactly what there is now. Raises `UnknownEntity`."""
        kept = self._desk.project(project)
        return definition_of(
            kept,
            self._desk.store.list_templates(kept.id),
            self._desk.store.list_metrics(kept.id),
        )

    def put(self, definition: ProjectDefinition, *, applied: msgspec.Raw | None = None) -> Applied:
        """Make the project, its templates and metrics as defined, as a whole or not at all.

        A template's text that differs from the active version's becomes the next version; templates and
        metrics that are not in the definition stay. `applied` is kept as what the settings file said last;
        `None` leaves that as it is. Raises `InvalidRequest`, or `Conflict` where the key is taken, the project
        archived or another account's, or a campaign that runs forbids it.
        """
        definition = checked(definition)
        with self._desk.store.atomically():
            before = self._before(definition)
            project_id = draw_id("proj_") if before is None else before.id
            if before is None:
                # First without models, since these may name templates that belong to it.
                bare = self._projects.built(_wish(definition, with_models=False), project_id)
                self._projects.refuse_taken_key(bare.key, self._desk.store.list_projects())
                self._desk.store.add_project(bare)
            owner = before if before is not None else bare
            changes = [self._templates.put(owner, wish) for wish in definition.templates]
            changes += [self._metrics.put(owner, wish) for wish in definition.metrics]
            after = self._projects.built(_wish(definition), project_id)
            after = msgspec.structs.replace(
                after,
                created_s=owner.created_s,
                applied=owner.applied if applied is None else applied,
            )
            if before is None:
                self._desk.store.replace_project(after)
                self._desk.note("project.create", after.id, told(after))
            else:
                self._projects.replace(before, after, "project.change")
                changes.append(msgspec.structs.replace(before, applied=after.applied) != after)
        return Applied(
            project=after, is_new=before is None, has_changed=before is None or any(changes)
        )

    def _before(self, definition: ProjectDefinition) -> Project | None:
        for project in self._desk.store.list_projects():
            if project.key != definition.key:
                continue
            if project.archived_s is not None:
                raise Conflict(
                    f"key: project '{project.key}' is archived; restore it, or take it from the"
                    " settings",
                    param="key",
                )
            if project.account_id != definition.account_id:
                raise Conflict(
                    f"account_id: project '{project.key}' belongs to account {project.account_id}, which"
                    " cannot change; define a project with another key",
                    param="account_id",
                )
            return project
        return None


def definition_of(
    project: Project, templates: list[Template], metrics: list[Metric]
) -> ProjectDefinition:
    return ProjectDefinition(
        key=project.key,
        name=project.name,
        account_id=project.account_id,
        models=tuple(wish_for(model) for model in project.models),
        default_model=project.default_model,
        public=None
        if project.public is None
        else msgspec.convert(project.public, LimitsWish, from_attributes=True),
        content=ContentWish(
            is_stored=project.content.is_stored,
            redact=tuple(
                RedactionWish(kind=r.kind, pattern=r.pattern, replacement=r.replacement)
                for r in project.content.redact
            ),
            keep_days=project.content.keep_days,
        ),
        rights=tuple(RightWish(member=r.member_id, right=r.right) for r in project.rights),
        templates=tuple(_template_wish(template) for template in templates),
        metrics=tuple(
            MetricWish(
                key=metric.key,
                name=metric.name,
                kind=metric.kind,
                better=metric.better,
                description=metric.description,
            )
            for metric in metrics
        ),
    )


def _template_wish(template: Template) -> TemplateWish:
    """Of its active version."""
    version = template.version()
    assert version is not None
    return TemplateWish(
        key=template.key,
        text=version.text,
        arguments=argument_wishes(version.arguments),
        note=version.note,
    )


def _wish(definition: ProjectDefinition, *, with_models: bool = True) -> ProjectWish:
    return ProjectWish(
        key=definition.key,
        name=definition.name,
        account_id=definition.account_id,
        models=definition.models if with_models else (),
        default_model=definition.default_model if with_models else None,
        public=definition.public,
        content=definition.content,
        rights=definition.rights,
    )
