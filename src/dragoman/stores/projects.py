"""Projects."""

from __future__ import annotations

from dragoman.errors import UnknownEntity
from dragoman.records.limits import Limits
from dragoman.records.project import AttachedModel, ContentRules, MemberRight, Project
from dragoman.stores.compiled import projects as sql
from dragoman.stores.database import Area, Row, Value
from dragoman.stores.json_column import JsonColumn, raw_text, raw_value

_models = JsonColumn(tuple[AttachedModel, ...])
_public = JsonColumn(Limits)
_content = JsonColumn(ContentRules)
_rights = JsonColumn(tuple[MemberRight, ...])


class ProjectArea(Area):
    def list_projects(self) -> list[Project]:
        """Oldest first, archived ones too."""
        return [_project(row) for row in self._database.rows(sql.SQLITE_LIST_PROJECTS, {})]

    def add_project(self, project: Project) -> None:
        """Raises `UnknownEntity` where its account does not exist."""
        self._database.change(
            sql.SQLITE_ADD_PROJECT,
            {"id": project.id, **_values(project)},
            taken=_taken(project),
            missing=_no_account(project),
        )
        self._database.announce()

    def replace_project(self, project: Project) -> None:
        changed = self._database.change(
            sql.SQLITE_REPLACE_PROJECT,
            {"project_id": project.id, **_values(project)},
            taken=_taken(project),
            missing=_no_account(project),
        )
        if not changed:
            raise UnknownEntity(f"project '{project.id}' does not exist", entity="project")
        self._database.announce()


def _taken(project: Project) -> str:
    return f"There is a project with the key '{project.key}' already."


def _no_account(project: Project) -> str:
    return f"account '{project.account_id}' does not exist"


def _values(project: Project) -> dict[str, Value]:
    """Every column but the id."""
    return {
        "key": project.key,
        "name": project.name,
        "account_id": project.account_id,
        "models": _models.text(project.models),
        "default_model": project.default_model,
        "public": None if project.public is None else _public.text(project.public),
        "content": _content.text(project.content),
        "rights": _rights.text(project.rights),
        "applied": raw_text(project.applied),
        "created_s": project.created_s,
        "archived_s": project.archived_s,
    }


def _project(row: Row) -> Project:
    id_, key, name, account_id, models, default_model, public, content, rights = row[:9]
    applied, created_s, archived_s = row[9:]
    return Project(
        id=id_,
        key=key,
        name=name,
        account_id=account_id,
        models=_models.value(models),
        default_model=default_model,
        public=None if public is None else _public.value(public),
        content=_content.value(content),
        rights=_rights.value(rights),
        applied=raw_value(applied),
        created_s=created_s,
        archived_s=archived_s,
    )
