"""Lines of conversations, kept in a project as the API would keep them."""

from __future__ import annotations

import time

from dragoman.cli.terminal import Failure
from dragoman.errors import ClientError
from dragoman.policy.feedback import FeedbackDesk
from dragoman.policy.interactions.imported import Teller
from dragoman.policy.interactions.imports import Imported, Importer
from dragoman.policy.routing import ModelDirectory
from dragoman.records.project import Project
from dragoman.stores import Store
from dragoman.web.interactions_wire import decode_lines


def import_batch(
    store: Store, models: ModelDirectory, project: Project, lines: bytes, *, first_line: int
) -> list[Imported]:
    """All of `lines`, or none of them; ends the command where one is at fault."""
    if not lines.strip():
        return []

    def find(named: str | None) -> Project:
        if named is not None and named not in (project.key, project.id):
            raise Failure(
                f"a line from {first_line} on is of project {named[:64]!r}, and the import is into"
                f" '{project.key}'; import each project's lines by themselves"
            )
        return project

    now_s = time.time()
    importer = Importer(store, models, FeedbackDesk(store, models))
    teller = Teller(account_id=project.account_id, key_id=None, now_s=now_s)
    try:
        imports, _ = decode_lines(lines, find, now_s)
        return importer.add(imports, teller)
    except ClientError as error:
        begin = "" if first_line == 1 else f"Counted from line {first_line} on: "
        raise Failure(f"{begin}{error.message}") from None
