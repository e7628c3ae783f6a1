"""`python -m bench.usage_scale`: how long questions about usage take over millions of records.

Fills a store in a temporary directory by SQL alone: requests of a quarter of a year, few keys with
many of them and many with few, as it is in practice; charges and sums as the ledger writes them. Then
each question is asked several times, of the store as the server opens it.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from dragoman.records.account import AccountId
from dragoman.records.key import KeyId
from dragoman.records.usage_query import EVERYTHING, UsageFilter
from dragoman.stores import Store, open_store
from dragoman.stores.connection import DATABASE_NAME

DAY_S = 86_400
DAYS = 90
FIRST_DAY = 20_000
ACCOUNTS, KEYS_OF_EACH, MODELS = 20, 10, 8
RUNS = 5
ROWS_AT_ONCE = 250_000

_RANDOM = "(abs(random()) / 9223372036854775808.0)"
# Numbers from 0 up to a bound, of which the small ones come often.
_SKEWED = f"CAST({{bound}} * {_RANDOM} * {_RANDOM} AS INTEGER)"

_FILL = f"""
WITH RECURSIVE numbers(n) AS (
  SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :end
), drawn AS MATERIALIZED (
  SELECT n, {_SKEWED.format(bound=ACCOUNTS)} AS account, {_SKEWED.format(bound=KEYS_OF_EACH)} AS key,
    {_SKEWED.format(bound=MODELS)} AS model, abs(random()) % 2000 AS input,
    abs(random()) % 1000 AS output, abs(random()) % 100 AS luck FROM numbers
)
INSERT INTO usage_records (
  request_id, account_id, key_id, project, dialect, model_asked, model, provider, is_stream,
  input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
  is_estimated, cost, hold, started_s, total_ms, status, finish_reason, http_status, session_id,
  end_user, labels)
SELECT lower(hex(randomblob(16))), printf('acct_%d', account), printf('key_%d_%d', account, key),
  CASE WHEN key % 3 = 0 THEN printf('project-%d', account) END, 'openai', printf('model-%d', model),
  printf('model-%d', model), 'provider', luck % 2, input, input / 4, 0, output, 0, luck < 2,
  CASE WHEN luck < 95 THEN input * 150 + output * 600 ELSE 0 END, 2000000,
  {FIRST_DAY * DAY_S}.0 + n * {DAYS * DAY_S}.0 / :total, 5.0 + luck,
  CASE WHEN luck < 95 THEN 'ok' WHEN luck < 98 THEN 'failed' ELSE 'refused' END, 'stop',
  CASE WHEN luck < 95 THEN 200 ELSE 503 END, lower(hex(randomblob(16))), printf('user-%d', n % 977),
  CASE WHEN n % 4 = 0 THEN printf('{{"team":"t%d"}}', n % 7) END
FROM drawn
"""
_SUMS = (
    "count(*), sum(input_tokens), sum(cached_input_tokens), sum(cache_write_tokens),"
    " sum(output_tokens), sum(reasoning_tokens), sum(cost), sum(is_estimated)"
)
_AFTERWARDS = (
    "INSERT INTO usage_days SELECT CAST(started_s AS INTEGER) / 86400 AS day, account_id, key_id,"
    f" coalesce(project, '') AS project, model, status, {_SUMS} FROM usage_records"
    " GROUP BY day, account_id, key_id, coalesce(project, ''), model, status",
    "INSERT INTO usage_labels SELECT CAST(started_s AS INTEGER) / 86400 AS day, account_id,"
    f" label.key, label.value, {_SUMS} FROM usage_records, json_each(labels) AS label"
    " WHERE labels IS NOT NULL GROUP BY day, account_id, label.key, label.value",
    "INSERT INTO ledger (posted_s, kind, account_id, amount, from_book, to_book, idempotency_key,"
    " request_id) SELECT started_s, 'grant', account_id, cost, 'house', 'revenue',"
    " 'settlement:' || request_id, request_id FROM usage_records WHERE cost > 0 ORDER BY sequence",
)


class Timing(NamedTuple):
    question: str
    best_ms: float
    median_ms: float


def fill(data_dir: Path, records: int, *, charges: bool = True) -> None:
    """Make a store with so many records, their sums and, with `charges`, what the ledger has of them."""
    open_store(data_dir).close()
    connection = sqlite3.connect(data_dir / DATABASE_NAME, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-2000000")
    try:
        for first in range(0, records, ROWS_AT_ONCE):
            end = min(records, first + ROWS_AT_ONCE)
            connection.execute(_FILL, {"first": first, "end": end, "total": records})
        for text in _AFTERWARDS if charges else _AFTERWARDS[:-1]:
            connection.execute(text)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def questions(store: Store) -> dict[str, Callable[[], object]]:
    account, key = AccountId("acct_3"), KeyId("key_12_4")
    middle = float((FIRST_DAY + DAYS // 2) * DAY_S)
    deep = store.list_usage(UsageFilter(to_s=middle), limit=1).records[0].sequence
    return {
        "groups: day, model": lambda: store.usage_groups(EVERYTHING, ["day", "model"]),
        "groups: day": lambda: store.usage_groups(EVERYTHING, ["day"]),
        "groups: key": lambda: store.usage_groups(EVERYTHING, ["key"]),
        "groups: label:team": lambda: store.usage_groups(EVERYTHING, ["label:team"]),
        "groups: day, model of an account": lambda: store.usage_groups(
            UsageFilter(account_id=account), ["day", "model"]
        ),
        "groups: model, 30 days and a half": lambda: store.usage_groups(
            UsageFilter(from_s=middle, to_s=middle + 30.5 * DAY_S), ["model"]
        ),
        "page: newest": lambda: store.list_usage(EVERYTHING),
        "page: from the middle on": lambda: store.list_usage(EVERYTHING, before=deep),
        "page: of an account": lambda: store.list_usage(UsageFilter(account_id=account)),
        "page: of a key, in the middle": lambda: store.list_usage(
            UsageFilter(key_id=key, account_id=AccountId("acct_12"), to_s=middle)
        ),
        "page: of a user": lambda: store.list_usage(UsageFilter(user="user-5")),
        "page: of a session that is none": lambda: store.list_usage(UsageFilter(session_id="none")),
        "page: of a label that is none": lambda: store.list_usage(
            UsageFilter(label=("team", "none"))
        ),
    }


def measure(store: Store, runs: int = RUNS) -> list[Timing]:
    return [_timing(name, ask, runs) for name, ask in questions(store).items()]


def _timing(name: str, ask: Callable[[], object], runs: int) -> Timing:
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - started) * 1000)
    return Timing(name, min(taken), statistics.median(taken))


def _timed(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.usage_scale", description=__doc__)
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--verify", action="store_true", help="recompute the books, too")
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="dragoman-usage-") as name:
        data_dir = Path(name)
        filled_s = _timed(lambda: fill(data_dir, options.records))
        size = (data_dir / DATABASE_NAME).stat().st_size / 1e9
        console.print(f"{options.records:,} records in {filled_s:.0f} s, {size:.2f} GB")
        store = open_store(data_dir)
        table = Table("question", "best, ms", "median, ms")
        for timing in measure(store):
            table.add_row(timing.question, f"{timing.best_ms:.1f}", f"{timing.median_ms:.1f}")
        console.print(table)
        if options.verify:
            found: list[str] = []
            verified_s = _timed(lambda: found.extend(store.verify()))
            console.print(f"verified in {verified_s:.1f} s: {len(found)} differences")
            for sentence in found[:5]:
                console.print(sentence)
        store.close()


if __name__ == "__main__":
    main()
