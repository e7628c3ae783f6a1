"""`dragoman credits`, `ledger`, `prices` and `audit`: money, exactly."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from tests.cli.conftest import Run


def balance(dragoman: Run, account: str = "acme") -> int:
    value = dragoman("credits", "show", account, "--json").json["balance_nano_usd"]
    assert isinstance(value, int)
    return value


def test_a_balance_is_topped_up_to_the_nano_dollar(dragoman: Run) -> None:
    dragoman("accounts", "create", "acme")
    ran = dragoman("credits", "top-up", "acme", "12.345678901", "--note", "invoice 7")
    assert re.fullmatch(r"acct_\w+ \(acme\) has \$12\.345678901\.\n", ran.out)
    assert balance(dragoman) == 12_345_678_901
    (entry,) = dragoman("ledger", "list", "--account", "acme", "--json").json
    assert (entry["kind"], entry["amount"], entry["note"]) == (
        "top_up",
        "12.345678901",
        "invoice 7",
    )
    assert "$12.345678901" in dragoman("ledger", "list").out


def test_what_is_repeated_with_the_told_key_changes_nothing(dragoman: Run) -> None:
    dragoman("accounts", "create", "acme")
    first = dragoman("credits", "top-up", "acme", "5")
    key = re.search(r"Idempotency key: (\S+)", first.err)
    assert key is not None
    again = dragoman("credits", "top-up", "acme", "5", "--idempotency-key", key[1])
    assert again.code == 0
    assert "nothing changed" in again.err
    other = dragoman("credits", "top-up", "acme", "6", "--idempotency-key", key[1])
    assert other.code == 1
    assert balance(dragoman) == 5_000_000_000
    assert len(dragoman("ledger", "list", "--json").json) == 1


def test_an_adjustment_never_takes_more_than_there_is(dragoman: Run) -> None:
    dragoman("accounts", "create", "acme")
    dragoman("credits", "top-up", "acme", "5")
    assert dragoman("credits", "adjust", "acme", "-2.5", "--note", "why").code == 0
    assert balance(dragoman) == 2_500_000_000
    assert dragoman("credits", "adjust", "acme", "-2.500000001", "--note", "why").code == 1
    assert balance(dragoman) == 2_500_000_000
    posted = dragoman("credits", "adjust", "acme", "1", "--note", "why", "--json").json
    assert (posted["is_new"], posted["balance"]["balance"]) == (True, "3.50")


def test_no_more_is_refunded_than_was_charged(dragoman: Run) -> None:
    dragoman("accounts", "create", "acme")
    ran = dragoman("credits", "refund", "acme", "1")
    assert ran.code == 1
    assert "adjust" in ran.err
    assert balance(dragoman) == 0
    assert dragoman("ledger", "verify").code == 0


@pytest.mark.parametrize("amount", ["0", "-1", "abc", "1e9", "1.0000000001", "9" * 13, "٣"])
def test_what_is_no_amount_is_refused(dragoman: Run, amount: str) -> None:
    ran = dragoman("credits", "top-up", "default", "--", amount)
    assert (ran.code, ran.out) == (2, "")
    assert "amount" in ran.err
    assert dragoman("ledger", "list", "--json").json == []


def test_every_balance_is_shown(dragoman: Run) -> None:
    dragoman("accounts", "create", "acme")
    dragoman("credits", "top-up", "acme", "5")
    rows = dragoman("credits", "show", "--json").json
    assert {row["name"]: row["balance"] for row in rows} == {"default": "0.00", "acme": "5.00"}
    assert "$5.00" in dragoman("credits", "show").out
    assert "free                 $5.00" in dragoman("credits", "show", "acme").out


def test_a_wrong_balance_is_found_and_ends_with_1(dragoman: Run, data_dir: Path) -> None:
    dragoman("accounts", "create", "acme")
    dragoman("credits", "top-up", "acme", "5")
    assert "All is right" in dragoman("ledger", "verify").out
    with sqlite3.connect(data_dir / "dragoman.db") as database:
        database.execute("UPDATE balances SET free = free + 1 WHERE free > 0")
    database.close()
    ran = dragoman("ledger", "verify")
    assert ran.code == 1
    assert "acct_" in ran.out
    verdict = dragoman("ledger", "verify", "--json")
    assert (verdict.code, verdict.json["is_right"]) == (1, False)
    assert verdict.json["differences"]


def test_pages_of_the_ledger_follow_each_other(dragoman: Run) -> None:
    for number in range(3):
        dragoman("credits", "top-up", "default", str(number + 1))
    ran = dragoman("ledger", "list", "--limit", "2")
    assert "More: dragoman ledger list --before 2" in ran.err
    (entry,) = dragoman("ledger", "list", "--limit", "2", "--before", "2", "--json").json
    assert entry["amount"] == "1.00"


def test_a_price_is_set_with_its_tiers_and_its_history_kept(dragoman: Run) -> None:
    assert "requests cost nothing" in dragoman("prices", "list").err
    ran = dragoman(
        *("prices", "set", "local", "--input", "0.15", "--output", "0.6"),
        *("--cached-input", "0.075", "--tier", "above=200000,input=1,output=2,write=3", "--json"),
    )
    tiers = ran.json["tiers"]
    assert tiers[0] == {
        "above_input_tokens": 0,
        "input": "0.15",
        "cached_input": "0.075",
        "cache_write": "0.15",
        "output": "0.60",
    }
    assert (tiers[1]["above_input_tokens"], tiers[1]["cache_write"]) == (200_000, "3.00")
    dragoman("prices", "set", "local", "--input", "1", "--output", "1")
    dragoman("prices", "set", "local", "--input", "2", "--output", "2", "--from", "7d")
    shown = dragoman("prices", "list", "--model", "smollm2-135m-instruct", "--json").json
    assert [price["tiers"][0]["input"] for price in shown] == ["1.00", "2.00"]
    assert len(dragoman("prices", "list", "--all", "--json").json) == 3
    assert "$2.00" in dragoman("prices", "list").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("gpt-9", "--input", "1", "--output", "1"),
        ("local", "--input", "-1", "--output", "1"),
        ("local", "--input", "1", "--output", "x"),
        ("local", "--input", "1", "--output", "1", "--tier", "above=1"),
        ("local", "--input", "1", "--output", "1", "--tier", "above=0,input=1,output=1"),
        ("local", "--input", "1", "--output", "1", "--tier", "above=1,input=1,output=1,x=1"),
        ("local", "--input", "1", "--output", "1", "--from", "2001-01-01"),
    ],
)
def test_what_is_no_price_is_refused(dragoman: Run, arguments: tuple[str, ...]) -> None:
    ran = dragoman("prices", "set", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert dragoman("prices", "list", "--all", "--json").json == []


def test_every_change_is_in_the_audit_log_with_who_made_it(dragoman: Run) -> None:
    assert "Nothing was changed yet" in dragoman("audit", "list").err
    secret = dragoman("keys", "create", "app").out.strip()
    dragoman("accounts", "create", "acme")
    dragoman("credits", "top-up", "acme", "5")
    events = dragoman("audit", "list", "--json").json
    assert [event["action"] for event in events] == [
        "credits.top_up",
        "account.create",
        "key.create",
    ]
    assert all(re.fullmatch(r"cli:\S+", event["actor"]) for event in events)
    assert secret not in dragoman("audit", "list").out
    account = events[1]["subject"]
    assert len(dragoman("audit", "list", "--subject", account, "--json").json) == 2
    assert "--before 3" in dragoman("audit", "list", "--limit", "1").err


def test_no_books_are_made_to_be_verified(dragoman: Run, tmp_path: Path) -> None:
    mistyped = tmp_path / "mistyped"
    ran = dragoman("ledger", "verify", "--data-dir", str(mistyped))
    assert ran.code == 1
    assert "there are no books in" in ran.err
    assert not mistyped.exists()


def test_a_model_without_a_price_is_told_of_alone(dragoman: Run) -> None:
    dragoman("prices", "set", "local", "--input", "1", "--output", "2")
    assert "no prices of other" in dragoman("prices", "list", "--model", "other").err
