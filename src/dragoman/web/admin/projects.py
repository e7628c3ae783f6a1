"""`/admin/v1/projects`, their models and their members' rights."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, Response, delete, get, patch, post, put
from litestar.params import JSONBody, QueryParameter

from dragoman.policy.administration import (
    AttachedModelWish,
    ProjectChange,
    ProjectWish,
    RightWish,
)
from dragoman.web.admin.parameters import (
    AnyRequest,
    Cursor,
    ForActor,
    Id,
    IdempotencyKey,
    Limit,
    PathText,
    before,
    exact_rest,
    made,
)
from dragoman.web.admin.project_views import (
    AttachedModelView,
    ProjectView,
    attached_view,
    project_view,
)
from dragoman.web.admin.views import Page, slice_of


class Projects(Controller):
    path = "/projects"
    tags = ("projects",)

    @get(sync_to_thread=True, summary="Projects, oldest first")
    def list_projects(
        self,
        administration: ForActor,
        account_id: Annotated[str | None, QueryParameter(description="Of this account.")] = None,
        archived: Annotated[bool, QueryParameter(description="Archived ones too.")] = False,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[ProjectView]:
        return slice_of(
            administration.projects.list_all(account_id, with_archived=True),
            project_view,
            start=before(cursor),
            limit=limit,
            is_wanted=lambda project: archived or project.archived_s is None,
        )

    @post(sync_to_thread=True, summary="Make a project")
    def create_project(
        self,
        administration: ForActor,
        data: JSONBody[ProjectWish],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[ProjectView]:
        project, is_new = administration.projects.create(data, token=idempotency_key)
        return made(project_view(project), is_new=is_new)

    @get("/{project:str}", sync_to_thread=True, summary="A project, by id or key")
    def show_project(self, administration: ForActor, project: Id) -> ProjectView:
        return project_view(administration.projects.find(project))

    @patch("/{project:str}", sync_to_thread=True, summary="Change a project")
    def change_project(
        self, administration: ForActor, project: Id, data: JSONBody[ProjectChange]
    ) -> ProjectView:
        return project_view(administration.projects.change(project, data))

    @post(
        "/{project:str}/archive",
        sync_to_thread=True,
        status_code=200,
        summary="Let a project answer nothing from now on; its interactions are kept",
    )
    def archive_project(self, administration: ForActor, project: Id) -> ProjectView:
        return project_view(administration.projects.archive(project))

    @post(
        "/{project:str}/restore",
        sync_to_thread=True,
        status_code=200,
        summary="Let an archived project answer again",
    )
    def restore_project(self, administration: ForActor, project: Id) -> ProjectView:
        return project_view(administration.projects.restore(project))

    @post("/{project:str}/models", sync_to_thread=True, summary="Attach a model to a project")
    def attach_model(
        self, administration: ForActor, project: Id, data: JSONBody[AttachedModelWish]
    ) -> AttachedModelView:
        owner, model = administration.projects.attach(project, data)
        return attached_view(owner, model)

    @get(
        "/{project:str}/models/{model:path}",
        sync_to_thread=True,
        summary="A project's model, by its key there",
    )
    def show_attached_model(
        self, administration: ForActor, project: Id, model: PathText, request: AnyRequest
    ) -> AttachedModelView:
        key = exact_rest(request, model)
        return attached_view(
            administration.projects.find(project), administration.projects.find_model(project, key)
        )

    @put(
        "/{project:str}/models/{model:path}",
        sync_to_thread=True,
        summary="Attach a model under a key, or write the one there anew",
    )
    def put_attached_model(
        self,
        administration: ForActor,
        project: Id,
        model: PathText,
        request: AnyRequest,
        data: JSONBody[AttachedModelWish],
    ) -> AttachedModelView:
        key = exact_rest(request, model)
        owner, _ = administration.projects.put_model(project, key, data)
        attached = owner.attached(key)
        assert attached is not None
        return attached_view(owner, attached)

    @delete("/{project:str}/models/{model:path}", sync_to_thread=True, summary="Detach a model")
    def detach_model(
        self, administration: ForActor, project: Id, model: PathText, request: AnyRequest
    ) -> None:
        administration.projects.detach(project, exact_rest(request, model))

    @post(
        "/{project:str}/rights",
        sync_to_thread=True,
        status_code=200,
        summary="Give a member a right in a project, in place of what the role gives",
    )
    def set_right(
        self, administration: ForActor, project: Id, data: JSONBody[RightWish]
    ) -> ProjectView:
        return project_view(administration.projects.set_right(project, data))

    @delete(
        "/{project:str}/rights/{member:str}",
        sync_to_thread=True,
        status_code=200,
        summary="Leave a member, by id or e-mail address, what the role gives",
    )
    def remove_right(self, administration: ForActor, project: Id, member: Id) -> ProjectView:
        return project_view(administration.projects.remove_right(project, member))
