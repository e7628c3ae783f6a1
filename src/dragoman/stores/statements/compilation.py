"""How statements become the SQL text that the drivers execute.

The tables' own definitions are compiled too: an empty database is made by them at once, and only
an older one goes through the migrations. Tests compare the two ways.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import WORD_INDEX_OF_SQLITE, metadata

_TOOLS = ("__init__", "__main__", "compilation", "upserts")
AREAS = tuple(
    sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _TOOLS)
)
COMPILED = Path(__file__).parent.parent / "compiled"

_HEAD = '''"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""
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
        elements += [CreateIndex(index) for index in sorted(table.indexes, key=_name_of)]
    texts = [compile_statement(element, dialect) for element in elements]
    if dialect.name == "sqlite":
        texts.append(WORD_INDEX_OF_SQLITE)
    return [_VERSION_TABLE, *texts]


def _name_of(index: Any) -> str:
    return str(index.name)


def compiled_sources(areas: Iterable[str] = AREAS) -> dict[str, str]:
    """The text of each file in `compiled`, by its name; of `areas`, and of the tables."""
    # The stubs leave the argument out that every DBAPI dialect takes.
    make_dialect: Any = sqlite.dialect
    dialect = make_dialect(paramstyle="named")
    tables = "".join(f'    """\\\n{text}\n""",\n' for text in definitions(dialect))
    sources = {"__init__.py": _HEAD, "tables.py": f"{_HEAD}\nSQLITE_TABLES = (\n{tables})\n"}
    for area in areas:
        module = importlib.import_module(f"dragoman.stores.statements.{area}")
        lines = [
            f'SQLITE_{name} = """\\\n{compile_statement(statement, dialect)}\n"""\n'
            for name, statement in module.STATEMENTS.items()
        ]
        sources[f"{area}.py"] = _HEAD + "".join(["\n"[: len(lines)], *lines])
    return sources


def write_compiled(areas: Iterable[str] = AREAS) -> None:
    for name, source in compiled_sources(areas).items():
        (COMPILED / name).write_text(source)
