"""The tables, for every database alike. A change here needs a migration in `migrations/versions`."""

from __future__ import annotations

from sqlalchemy import Column, Double, LargeBinary, MetaData, String, Table

# Every constraint has a name, so that a later migration can refer to it on any database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("hint", String(64), nullable=False),
    Column("created_s", Double, nullable=False),
    Column("revoked_s", Double),
)
