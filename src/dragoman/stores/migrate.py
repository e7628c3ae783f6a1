"""Brings a database to the newest schema, in one transaction: all of it, or nothing.

Importing this imports SQLAlchemy and Alembic; `open` does so only for a database that needs it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from dragoman.stores.revisions import HEAD

SCRIPTS = Path(__file__).with_name("migrations")


def upgrade_sqlite(connect: Callable[[], sqlite3.Connection], revision: str = HEAD) -> None:
    """Migrate the database that `connect` opens, in autocommit mode, up to `revision`.

    The write lock is taken before the current version is read, so that of two processes that start
    at once the second finds nothing left to do. Raises `sqlite3.Error`, with nothing changed.
    """
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", _begin_immediate)
    try:
        with engine.begin() as connection:
            upgrade(connection, revision)
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from error
        raise
    finally:
        engine.dispose()


def upgrade(connection: Connection, revision: str) -> None:
    """Migrate within the transaction that is open on `connection`."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
