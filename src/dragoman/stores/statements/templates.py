"""What is asked of the tables of templates and their versions."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import template_versions, templates

# In one question, so that a template and its versions are of one moment.
_whole = (
    select(
        templates, *(column for column in template_versions.columns if column.name != "template_id")
    )
    .join_from(templates, template_versions)
    .order_by(templates.c.created_s, templates.c.id, template_versions.c.version)
)

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_TEMPLATES": _whole,
    "LIST_TEMPLATES_OF": _whole.where(templates.c.project_id == bindparam("project_id")),
    "ADD_TEMPLATE": insert(templates),
    "ADD_VERSION": insert(template_versions),
    "FIND_VERSION": select(template_versions.c.version).where(
        template_versions.c.template_id == bindparam("template_id"),
        template_versions.c.version == bindparam("version"),
    ),
    "ACTIVATE": (
        update(templates)
        .where(templates.c.id == bindparam("template_id"))
        .values(active_version=bindparam("version"))
    ),
    "DELETE_VERSIONS": delete(template_versions).where(
        template_versions.c.template_id == bindparam("template_id")
    ),
    "DELETE_TEMPLATE": delete(templates).where(templates.c.id == bindparam("template_id")),
}
