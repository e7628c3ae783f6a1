"""`dragoman usage`: records, sums and exports that agree."""

from __future__ import annotations

import csv
import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import Run
from tests.stores.kept_usage import DAY_S, keep, sample

from dragoman.stores import open_store

FIRST_DAY_S = 1_767_225_600.0
"""2026-01-01, UTC."""


@pytest.fixture(name="kept")
def keep_ten(data_dir: Path) -> int:
    """Ten requests over five days: what they cost in all, in nano-USD."""
    open_store(data_dir).close()
    records = [
        sample(
            number,
            model="big" if number % 2 else "small",
            started_s=FIRST_DAY_S + number // 2 * DAY_S + number,
            cost=number * 1_000_001,
            status="failed" if number == 9 else "ok",
            labels=(("team", 'blue\r\n"quoted", =1+1'),) if number < 4 else (),
            user="ann" if number == 3 else None,
        )
        for number in range(10)
    ]
    connection = sqlite3.connect(data_dir / "dragoman.db")
    keep(connection, records)
    connection.close()
    return sum(record.cost_nano_usd for record in records)


def test_nothing_yet_is_said(dragoman: Run) -> None:
    ran = dragoman("usage", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "There are no such requests." in ran.err


def test_records_come_newest_first_in_pages(dragoman: Run, kept: int) -> None:
    ran = dragoman("usage", "list", "--limit", "4")
    assert len(ran.out.splitlines()) == 5
    assert "req_9" in ran.out.splitlines()[1]
    page = dragoman("usage", "list", "--limit", "4", "--json").json
    assert f"dragoman usage list --before {page['next']}" in ran.err
    found = [record["request_id"] for record in page["records"]]
    while page["next"] is not None:
        page = dragoman(
            "usage", "list", "--limit", "4", "--before", str(page["next"]), "--json"
        ).json
        found += [record["request_id"] for record in page["records"]]
    assert found == [f"req_{number}" for number in range(9, -1, -1)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--model", "big", "--status", "ok"), [7, 5, 3, 1]),
        (("--from", "2026-01-02", "--to", "2026-01-03T00:00+00:00"), [3, 2]),
        (("--user", "ann"), [3]),
        (
            ("--account", "default", "--key", "key_a", "--dialect", "openai", "--to", "2026-01-02"),
            [1, 0],
        ),
        (("--project", "none"), []),
    ],
)
def test_filters_hold_together(
    dragoman: Run, kept: int, filters: tuple[str, ...], expected: list[int]
) -> None:
    records = dragoman("usage", "list", *filters, "--json").json["records"]
    assert [record["request_id"] for record in records] == [f"req_{n}" for n in expected]


def test_one_request_is_shown_whole(dragoman: Run, kept: int) -> None:
    record = dragoman("usage", "show", "req_3", "--json").json
    assert (record["cost"], record["cost_nano_usd"]) == ("0.003000003", 3_000_003)
    assert record["user"] == "ann"
    assert "0.003000003" in dragoman("usage", "show", "req_3").out
    gone = dragoman("usage", "show", "req_nothing")
    assert (gone.code, "is not known" in gone.err) == (1, True)


@pytest.mark.parametrize("by", ["day", "model", "day,model", "key", "account,status", "label:team"])
def test_sums_by_anything_add_up(dragoman: Run, kept: int, by: str) -> None:
    rows = dragoman("usage", "groups", "--by", by, "--json").json
    assert sum(row["cost_nano_usd"] for row in rows) == kept
    assert sum(row["requests"] for row in rows) == 10
    ran = dragoman("usage", "groups", "--by", by)
    assert len([line for line in ran.out.splitlines() if "$" in line]) == len(rows)


def test_an_account_is_shown_by_its_name(dragoman: Run, kept: int) -> None:
    assert "default" in dragoman("usage", "groups", "--by", "account").out


@pytest.mark.parametrize("name", ["november.csv", "november.jsonl"])
def test_an_export_is_whole_and_adds_up(
    dragoman: Run, kept: int, tmp_path: Path, name: str
) -> None:
    ran = dragoman("usage", "export", "--output", name)
    assert ran.code == 0
    assert "Wrote 10 records to november" in ran.err
    text = (tmp_path / name).read_bytes().decode()
    if name.endswith("csv"):
        rows = list(csv.DictReader(text.splitlines(keepends=True)))
        assert "'=" not in rows[0]["request_id"]
    else:
        rows = [msgspec.json.decode(line) for line in text.splitlines()]
    assert [row["request_id"] for row in rows] == [f"req_{number}" for number in range(10)]
    assert sum(int(row["cost_nano_usd"]) for row in rows) == kept
    told = dragoman("usage", "export", "--output", name, "--model", "big", "--json").json
    assert told == {"file": name, "records": 5}
    assert [path.name for path in tmp_path.iterdir() if "november" in path.name] == [name]


def test_a_pipe_gets_the_records_alone(shell: Run, kept: int) -> None:
    ran = shell("usage", "export", "--format", "jsonl", "--status", "failed")
    assert (ran.code, ran.err) == (0, "")
    assert msgspec.json.decode(ran.out)["request_id"] == "req_9"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("list", "--status", "fine"), 2, "status"),
        (("list", "--from", "2026-02-01", "--to", "2026-01-01"), 2, "from must be before to"),
        (("list", "--label", "x"), 2, "NAME:VALUE"),
        (("groups", "--by", "moon"), 2, "moon"),
        (("groups", "--by", "day,model,key"), 2, ""),
        (("export", "--json"), 2, "--output"),
        (("export", "--output", "/nowhere/x.csv"), 1, "/nowhere/x.csv cannot be written"),
        (("list", "--account", "nobody"), 1, "dragoman accounts list"),
    ],
)
def test_refusals_name_what_is_wrong(
    dragoman: Run, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = dragoman("usage", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
