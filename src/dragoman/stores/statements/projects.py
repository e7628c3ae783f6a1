"""What is asked of the table of projects."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import projects
from dragoman.stores.statements.upserts import names_beside_key

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_PROJECTS": select(projects).order_by(projects.c.created_s, projects.c.id),
    "ADD_PROJECT": insert(projects),
    "REPLACE_PROJECT": (
        update(projects)
        .where(projects.c.id == bindparam("project_id"))
        .values({name: bindparam(name) for name in names_beside_key(projects)})
    ),
}
