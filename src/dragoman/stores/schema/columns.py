"""What tables are made of, and are made in."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    TextClause,
)

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

# SQLite numbers rows by itself only where the key is an INTEGER.
Sequence = BigInteger().with_variant(Integer, "sqlite")


def index_of_some(where: TextClause, name: str, *columns: str, unique: bool = False) -> Index:
    """Of the rows `where` that holds."""
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def counts(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


def limits() -> list[Column[int]]:
    names = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")
    return [Column(name, BigInteger) for name in names]


def token_counts() -> list[Column[int]]:
    kinds = ("input", "cached_input", "cache_write", "output", "reasoning")
    return counts(*(f"{kind}_tokens" for kind in kinds))


def usage_sums() -> list[Column[int]]:
    return [*counts("requests"), *token_counts(), *counts("cost", "estimated")]


def welford_sums(prefix: str = "") -> list[Column[int] | Column[float]]:
    """Of `records.campaign.Sums`."""
    numbers = (Column(f"{prefix}{name}", Double, nullable=False) for name in ("mean", "m2"))
    return [*counts(f"{prefix}n"), *numbers]
