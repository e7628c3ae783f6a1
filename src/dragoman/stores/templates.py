"""Prompt templates and their versions."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

import msgspec

from dragoman.errors import UnknownEntity
from dragoman.records.project import ProjectId
from dragoman.records.template import Template, TemplateArgument, TemplateId, TemplateVersion
from dragoman.stores.compiled import templates as sql
from dragoman.stores.database import Area, Row, Value
from dragoman.stores.json_column import JsonColumn


class _KeptArgument(msgspec.Struct, frozen=True, omit_defaults=True):
    """As in the column: where nothing is said of a default, there is none; `null` is one."""

    name: str
    default: msgspec.Raw = msgspec.Raw()
    description: str | None = None


_arguments = JsonColumn(tuple[_KeptArgument, ...])


class TemplateArea(Area):
    def list_templates(self, project_id: ProjectId | None = None) -> list[Template]:
        """Oldest first."""
        if project_id is None:
            rows = self._database.rows(sql.SQLITE_LIST_TEMPLATES, {})
        else:
            rows = self._database.rows(sql.SQLITE_LIST_TEMPLATES_OF, {"project_id": project_id})
        return [_template(list(group)) for _, group in groupby(rows, itemgetter(0))]

    def add_template(self, template: Template) -> None:
        """With its versions. Raises `UnknownEntity` where its project does not exist."""
        values: dict[str, Value] = {
            "id": template.id,
            "project_id": template.project_id,
            "key": template.key,
            "active_version": template.active_version,
            "created_s": template.created_s,
        }
        with self._database.transaction():
            self._database.change(
                sql.SQLITE_ADD_TEMPLATE,
                values,
                taken=f"The project has a template with the key '{template.key}' already.",
                missing=f"project '{template.project_id}' does not exist",
            )
            for version in template.versions:
                self._add_version(template.id, version)
            self._must_have(template.id, template.active_version)
            self._database.announce()

    def add_template_version(self, template_id: TemplateId, version: TemplateVersion) -> None:
        self._add_version(template_id, version)
        self._database.announce()

    def activate_template(self, template_id: TemplateId, version: int) -> None:
        with self._database.transaction():
            self._must_have(template_id, version)
            self._database.change(
                sql.SQLITE_ACTIVATE, {"template_id": template_id, "version": version}
            )
            self._database.announce()

    def delete_template(self, template_id: TemplateId) -> None:
        with self._database.transaction():
            self._database.change(sql.SQLITE_DELETE_VERSIONS, {"template_id": template_id})
            if not self._database.change(sql.SQLITE_DELETE_TEMPLATE, {"template_id": template_id}):
                raise _no_template(template_id)
            self._database.announce()

    def _add_version(self, template_id: TemplateId, version: TemplateVersion) -> None:
        values: dict[str, Value] = {
            "template_id": template_id,
            "version": version.version,
            "text": version.text,
            "arguments": _arguments.text(tuple(map(_kept_argument, version.arguments))),
            "note": version.note,
            "created_s": version.created_s,
        }
        self._database.change(
            sql.SQLITE_ADD_VERSION,
            values,
            taken=f"The template has a version {version.version} already.",
            missing=f"template '{template_id}' does not exist",
        )

    def _must_have(self, template_id: TemplateId, version: int) -> None:
        values: dict[str, Value] = {"template_id": template_id, "version": version}
        if not self._database.rows(sql.SQLITE_FIND_VERSION, values):
            raise UnknownEntity(
                f"version {version} of template '{template_id}' does not exist", entity="version"
            )


def _no_template(template_id: TemplateId) -> UnknownEntity:
    return UnknownEntity(f"template '{template_id}' does not exist", entity="template")


def _template(rows: list[Row]) -> Template:
    """From a row for each version."""
    id_, project_id, key, active_version, created_s = rows[0][:5]
    return Template(
        id=id_,
        project_id=project_id,
        key=key,
        active_version=active_version,
        versions=tuple(_version(row[5:]) for row in rows),
        created_s=created_s,
    )


def _version(row: Row) -> TemplateVersion:
    version, text, arguments, note, created_s = row
    return TemplateVersion(
        version=version,
        text=text,
        arguments=tuple(map(_argument, _arguments.value(arguments))),
        note=note,
        created_s=created_s,
    )


def _kept_argument(argument: TemplateArgument) -> _KeptArgument:
    if argument.default is None:
        return _KeptArgument(argument.name, description=argument.description)
    return _KeptArgument(argument.name, argument.default, argument.description)


def _argument(kept: _KeptArgument) -> TemplateArgument:
    return TemplateArgument(
        name=kept.name,
        default=kept.default if bytes(kept.default) else None,
        description=kept.description,
    )
