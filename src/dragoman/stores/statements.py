"""Every statement, in SQLAlchemy Core, and how it becomes the text in `compiled`.

The tables' own definitions are compiled too: an empty database is made by them at once, and only
an older one goes through the migrations. Tests compare the two ways.

After a change: `python -m dragoman.stores.statements`. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import keys, metadata

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_KEYS": select(keys).order_by(keys.c.created_s, keys.c.id),
    "ADD_KEY": insert(keys),
    "REVOKE_KEY": (
        update(keys)
        .where(keys.c.id == bindparam("key_id"), keys.c.revoked_s.is_(None))
        .values(revoked_s=bindparam("at_s"))
    ),
}

COMPILED_FILE = Path(__file__).with_name("compiled.py")

_HEAD = '''"""SQL text, compiled from `statements` by `python -m dragoman.stores.statements`: do not edit."""
'''

# As Alembic makes it.
_VERSION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def compile_statement(statement: ClauseElement, dialect: Dialect) -> str:
    return " ".join(str(statement.compile(dialect=dialect)).split())


def definitions(dialect: Dialect) -> list[str]:
    """What makes every table and index in an empty database."""
    elements: list[ClauseElement] = []
    for table in metadata.sorted_tables:
        elements.append(CreateTable(table))
        elements += [CreateIndex(index) for index in sorted(table.indexes, key=str)]
    return [_VERSION_TABLE, *(compile_statement(element, dialect) for element in elements)]


def compiled_source() -> str:
    """The text of `compiled.py`."""
    # The stubs leave the argument out that every DBAPI dialect takes.
    make_dialect: Any = sqlite.dialect
    dialect = make_dialect(paramstyle="named")
    tables = "".join(f'    """\\\n{text}\n""",\n' for text in definitions(dialect))
    lines = [
        f'SQLITE_{name} = """\\\n{compile_statement(statement, dialect)}\n"""\n'
        for name, statement in STATEMENTS.items()
    ]
    return f"{_HEAD}\nSQLITE_TABLES = (\n{tables})\n" + "".join(lines)


if __name__ == "__main__":
    COMPILED_FILE.write_text(compiled_source())
