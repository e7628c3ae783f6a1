"""`dragoman accounts` and `dragoman plans`."""

from __future__ import annotations

import pytest
from tests.cli.conftest import Run


def test_an_account_is_made_shown_and_changed(dragoman: Run) -> None:
    dragoman("plans", "set", "small", "--requests-per-minute", "60", "--model", "local")
    alerts = (
        "--webhook",
        "https://example.com/hook",
        "--alert-below",
        "5",
        "--alert-percent",
        "80",
    )
    ran = dragoman(
        *("accounts", "create", "acme", "--plan", "small", "--monthly-limit", "100.5"),
        *("--time-zone", "Europe/Vienna", *alerts),
    )
    assert ran.code == 0
    assert "Next: dragoman credits top-up acct_" in ran.err
    for words in ("$100.50", "Europe/Vienna", "small", "$5.00", "80 %", "https://example.com/hook"):
        assert words in ran.out
    changed = dragoman(
        *("accounts", "change", "acme", "--monthly-limit", "none", "--plan", "none"),
        *("--alert-below", "0.000000001", "--alert-below", "2", "--name", "Acme Ltd", "--json"),
    ).json
    assert (changed["name"], changed["plan"], changed["monthly_limit"]) == ("Acme Ltd", None, None)
    assert set(changed["alert_below_nano_usd"]) == {1, 2_000_000_000}
    assert (changed["alert_percent"], changed["time_zone"]) == ([80], "Europe/Vienna")
    assert dragoman("accounts", "show", changed["id"], "--json").json == changed


def test_the_first_account_is_there_from_the_start(dragoman: Run) -> None:
    (default,) = dragoman("accounts", "list", "--json").json
    assert (default["id"], default["name"], default["is_prepaid"]) == (
        "acct_default",
        "default",
        False,
    )
    assert "not prepaid" in dragoman("accounts", "list").out


def test_the_same_wish_makes_one_account(dragoman: Run) -> None:
    made = [dragoman("accounts", "create", "acme", "--token", "t", "--json").json for _ in range(2)]
    assert made[0]["id"] == made[1]["id"]
    taken = dragoman("accounts", "create", "acme")
    assert taken.code == 1
    assert f"account {made[0]['id']} has this name already" in taken.err


def test_an_account_is_suspended_and_resumed(dragoman: Run) -> None:
    dragoman("accounts", "create", "acme")
    ran = dragoman("accounts", "suspend", "acme")
    assert "undo: dragoman accounts resume acct_" in ran.out
    assert dragoman("accounts", "show", "acme", "--json").json["suspended"] is not None
    assert dragoman("accounts", "resume", "acme").code == 0
    assert dragoman("accounts", "show", "acme", "--json").json["suspended"] is None


def test_people_come_change_and_go(dragoman: Run) -> None:
    dragoman("accounts", "create", "acme")
    assert (
        "dragoman accounts members add acme" in dragoman("accounts", "members", "list", "acme").err
    )
    members = ("accounts", "members")
    added = dragoman(*members, "add", "acme", "ann@example.com", "--json").json
    assert added["role"] == "viewer"
    assert dragoman(*members, "add", "acme", "ANN@example.com", "--role", "owner").code == 0
    (listed,) = dragoman(*members, "list", "acme", "--json").json
    assert (listed["id"], listed["role"]) == (added["id"], "owner")
    assert dragoman(*members, "remove", "acme", "ann@example.com").code == 0
    gone = dragoman(*members, "remove", "acme", "ann@example.com")
    assert (gone.code, "see: dragoman accounts members list acct_" in gone.err) == (1, True)


def test_a_plan_is_written_anew_whole_and_deleted_when_nobody_has_it(dragoman: Run) -> None:
    assert "plans set PLAN" in dragoman("plans", "list").err
    dragoman("plans", "set", "small", "--requests-per-minute", "60")
    changed = dragoman("plans", "set", "small", "--tokens-per-minute", "1000", "--json").json
    assert (changed["requests_per_minute"], changed["tokens_per_minute"]) == (None, 1000)
    assert "1,000" in dragoman("plans", "list").out
    dragoman("accounts", "create", "acme", "--plan", "small")
    refused = dragoman("plans", "delete", "small")
    assert refused.code == 1
    assert "give its accounts another first" in refused.err
    dragoman("accounts", "change", "acme", "--plan", "none")
    assert dragoman("plans", "delete", "small").out == "Deleted plan small.\n"
    assert dragoman("plans", "list", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("accounts", "show", "nobody"), 1, "there is no account 'nobody'; see: dragoman accounts"),
        (("accounts", "create", "x", "--plan", "p"), 2, "there is no plan 'p'; there are none yet"),
        (("accounts", "create", "x", "--time-zone", "Mars/Base"), 2, "time_zone"),
        (("accounts", "create", "x", "--monthly-limit", "-1"), 2, "monthly_limit"),
        (("accounts", "create", "x", "--monthly-limit", "1.0000000001"), 2, "at most 9 decimals"),
        (("accounts", "create", "x", "--alert-percent", "101"), 2, "month_percent"),
        (("accounts", "create", "x", "--webhook", "ftp://x"), 2, "webhook_url"),
        (("accounts", "members", "add", "default", "no-address"), 2, "email"),
        (("plans", "set", "Big Plan"), 2, "lower-case letters"),
        (("plans", "delete", "nothing"), 1, "plan 'nothing' does not exist"),
    ],
)
def test_refusals_name_what_is_wrong(
    dragoman: Run, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = dragoman(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


def test_a_webhook_that_alerts_would_never_reach_is_refused(dragoman: Run) -> None:
    wish = ("accounts", "create", "acme", "--webhook", "http://127.0.0.1/alerts")
    ran = dragoman(*wish)
    assert ran.code == 2
    assert "webhook_allow_private" in ran.err
    assert dragoman(*wish, env={"DRAGOMAN_WEBHOOK_ALLOW_PRIVATE": "true"}).code == 0
