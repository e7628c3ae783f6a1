"""`/admin/v1/projects/{project}/templates` and their versions."""

from __future__ import annotations

from litestar import Controller, Response, delete, get, post
from litestar.params import JSONBody

from dragoman.policy.administration import (
    ActivationWish,
    PreviewWish,
    TemplateVersionWish,
    TemplateWish,
)
from dragoman.policy.administration.templates import Preview
from dragoman.web.admin.parameters import (
    Cursor,
    ForActor,
    Id,
    Limit,
    Number,
    TextCursor,
    before,
    made,
)
from dragoman.web.admin.project_views import (
    TemplateVersionView,
    TemplateView,
    template_view,
    version_view,
)
from dragoman.web.admin.views import Page, slice_after, slice_of


class Templates(Controller):
    path = "/projects/{project:str}/templates"
    tags = ("templates",)

    @get(sync_to_thread=True, summary="A project's templates, by key")
    def list_templates(
        self, administration: ForActor, project: Id, cursor: TextCursor = None, limit: Limit = 100
    ) -> Page[TemplateView]:
        return slice_after(
            administration.templates.list_all(project),
            template_view,
            order=lambda template: template.key,
            after=cursor,
            limit=limit,
        )

    @post(sync_to_thread=True, summary="Make a template, with its first version")
    def create_template(
        self, administration: ForActor, project: Id, data: JSONBody[TemplateWish]
    ) -> Response[TemplateView]:
        template, is_new = administration.templates.create(project, data)
        return made(template_view(template), is_new=is_new)

    @post(
        "/preview",
        sync_to_thread=True,
        status_code=200,
        summary="What a text would come out as; nothing is kept",
    )
    def preview_text(
        self, administration: ForActor, project: Id, data: JSONBody[PreviewWish]
    ) -> Preview:
        return administration.templates.preview(project, None, data)

    @get("/{template:str}", sync_to_thread=True, summary="A template, by id or key")
    def show_template(self, administration: ForActor, project: Id, template: Id) -> TemplateView:
        return template_view(administration.templates.find(project, template))

    @delete(
        "/{template:str}",
        sync_to_thread=True,
        summary="Delete a template that no model of the project has",
    )
    def delete_template(self, administration: ForActor, project: Id, template: Id) -> None:
        administration.templates.delete(project, template)

    @get("/{template:str}/versions", sync_to_thread=True, summary="Versions, oldest first")
    def list_versions(
        self,
        administration: ForActor,
        project: Id,
        template: Id,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[TemplateVersionView]:
        kept = administration.templates.find(project, template)
        return slice_of(
            kept.versions,
            lambda version: version_view(kept, version),
            start=before(cursor),
            limit=limit,
        )

    @post(
        "/{template:str}/versions",
        sync_to_thread=True,
        summary="Add a version; the newest one's text adds none",
    )
    def add_version(
        self,
        administration: ForActor,
        project: Id,
        template: Id,
        data: JSONBody[TemplateVersionWish],
    ) -> Response[TemplateVersionView]:
        kept, version, is_new = administration.templates.add_version(project, template, data)
        return made(version_view(kept, version), is_new=is_new)

    @get("/{template:str}/versions/{version:int}", sync_to_thread=True, summary="A version's text")
    def show_version(
        self, administration: ForActor, project: Id, template: Id, version: Number
    ) -> TemplateVersionView:
        kept = administration.templates.find(project, template)
        return version_view(kept, administration.templates.find_version(project, template, version))

    @post(
        "/{template:str}/activate",
        sync_to_thread=True,
        status_code=200,
        summary="Choose which version answers from now on",
    )
    def activate_version(
        self,
        administration: ForActor,
        project: Id,
        template: Id,
        data: JSONBody[ActivationWish],
    ) -> TemplateView:
        return template_view(administration.templates.activate(project, template, data.version))

    @post(
        "/{template:str}/roll-back",
        sync_to_thread=True,
        status_code=200,
        summary="Activate the version before the active one",
    )
    def roll_back_template(
        self, administration: ForActor, project: Id, template: Id
    ) -> TemplateView:
        return template_view(administration.templates.roll_back(project, template))

    @post(
        "/{template:str}/preview",
        sync_to_thread=True,
        status_code=200,
        summary="What a version comes out as, or an edited text in its place",
    )
    def preview_template(
        self, administration: ForActor, project: Id, template: Id, data: JSONBody[PreviewWish]
    ) -> Preview:
        return administration.templates.preview(project, template, data)
