"""Accounts, members and plans: checked, made once, and told in the audit log."""

from __future__ import annotations

import pytest
from tests.policy.administration.conftest import actions, refused

from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration import (
    AccountChange,
    AccountWish,
    Administration,
    AlertsWish,
    LimitsWish,
    MemberChange,
    MemberWish,
    PlanWish,
)
from dragoman.records.account import DEFAULT_ACCOUNT

DOLLAR = 1_000_000_000


# --- Accounts -----------------------------------------------------------------------------------


def test_an_account_is_made_changed_suspended_and_resumed(administration: Administration) -> None:
    account, is_new = administration.accounts.create(
        AccountWish(name=" Müller & Söhne ", monthly_limit="100.00", time_zone="Europe/Vienna")
    )
    assert is_new
    assert account.name == "Müller & Söhne"
    assert account.monthly_limit_nano_usd == 100 * DOLLAR
    changed = administration.accounts.change(
        account.id, AccountChange(monthly_limit=None, name="Müller")
    )
    assert (changed.name, changed.monthly_limit_nano_usd) == ("Müller", None)
    assert changed.time_zone == "Europe/Vienna"
    assert administration.accounts.suspend(account.id).suspended_s == 1_700_000_000.0
    administration.accounts.suspend(account.id)
    assert administration.accounts.resume(account.id).suspended_s is None
    assert administration.accounts.find(account.id) == changed
    assert actions(administration) == [
        "account.create",
        "account.change",
        "account.suspend",
        "account.resume",
    ]


def test_a_change_that_changes_nothing_leaves_no_line(administration: Administration) -> None:
    account, _ = administration.accounts.create(AccountWish(name="a"))
    administration.accounts.change(account.id, AccountChange(name="a", is_prepaid=True))
    assert actions(administration) == ["account.create"]


def test_the_same_wish_for_an_account_is_granted_once(administration: Administration) -> None:
    first, _ = administration.accounts.create(AccountWish(name="a"), token="t1")
    again, is_new = administration.accounts.create(AccountWish(name="a"), token="t1")
    assert (again, is_new) == (first, False)
    with pytest.raises(Conflict, match="Idempotency-Key"):
        administration.accounts.create(AccountWish(name="b"), token="t1")
    with pytest.raises(Conflict, match=first.id):
        administration.accounts.create(AccountWish(name="a"), token="t2")


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        (AccountWish(name=""), "name"),
        (AccountWish(name="   "), "name"),
        (AccountWish(name="x" * 201), "name"),
        (AccountWish(name="a\x00b"), "name"),
        (AccountWish(name="a\u202eb"), "name"),
        (AccountWish(name="a", plan_id="'; DROP TABLE accounts; --"), "plan_id"),
        (AccountWish(name="a", time_zone="../../etc/passwd"), "time_zone"),
        (AccountWish(name="a", time_zone="Europe"), "time_zone"),
        (AccountWish(name="a", time_zone="x\x00y"), "time_zone"),
        (AccountWish(name="a", monthly_limit="-1"), "monthly_limit"),
        (AccountWish(name="a", monthly_limit_nano_usd=-1), "monthly_limit_nano_usd"),
        (AccountWish(name="a", monthly_limit="1", monthly_limit_nano_usd=2), "monthly_limit"),
        (AccountWish(name="a", monthly_limit_nano_usd=10**30), "monthly_limit_nano_usd"),
        (
            AccountWish(name="a", alerts=AlertsWish(webhook_url="file:///etc/passwd")),
            "alerts.webhook_url",
        ),
        (
            AccountWish(name="a", alerts=AlertsWish(webhook_url="https://u:p@example.com/")),
            "alerts.webhook_url",
        ),
        (
            AccountWish(name="a", alerts=AlertsWish(webhook_url="https://[::1")),
            "alerts.webhook_url",
        ),
        (AccountWish(name="a", alerts=AlertsWish(month_percent=(0,))), "alerts.month_percent[0]"),
    ],
)
def test_an_unusable_account_is_refused_by_field(
    administration: Administration, wish: AccountWish, param: str
) -> None:
    before = administration.accounts.list_all()
    with pytest.raises(InvalidRequest) as error:
        administration.accounts.create(wish)
    assert refused(error) == param
    assert administration.accounts.list_all() == before
    assert actions(administration) == []


def test_text_that_looks_like_sql_is_only_text(administration: Administration) -> None:
    name = "Robert'); DROP TABLE accounts;--"
    account, _ = administration.accounts.create(AccountWish(name=name))
    assert administration.accounts.show(account.id).account.name == name


def test_a_webhook_with_its_secret_stays_out_of_the_audit_log(
    administration: Administration,
) -> None:
    url = "https://hooks.example.com/services/T0/B0/verysecret"
    account, _ = administration.accounts.create(
        AccountWish(name="a", alerts=AlertsWish(webhook_url=url, month_percent=(80, 100, 80)))
    )
    assert account.alerts.month_percent == (80, 100)
    administration.accounts.change(
        account.id, AccountChange(alerts=AlertsWish(webhook_url=url + "2"))
    )
    told = [bytes(event.detail) for _, event in administration.audit()]
    assert len(told) == 2
    assert all(b"hooks.example.com" in detail and b"verysecret" not in detail for detail in told)


def test_members_come_change_and_go(administration: Administration) -> None:
    account, _ = administration.accounts.create(AccountWish(name="a"))
    wish = MemberWish(email="ann@example.com", role="owner")
    member, is_new = administration.accounts.add_member(account.id, wish, token="m")
    assert is_new
    assert administration.accounts.add_member(account.id, wish, token="m") == (member, False)
    with pytest.raises(Conflict):
        administration.accounts.add_member(account.id, MemberWish(email="Ann@Example.com"))
    changed = administration.accounts.change_member(
        account.id, member.id, MemberChange(role="viewer")
    )
    assert administration.accounts.show(account.id).members == (changed,)
    with pytest.raises(UnknownEntity):
        administration.accounts.remove_member(DEFAULT_ACCOUNT, member.id)
    administration.accounts.remove_member(account.id, member.id)
    assert administration.accounts.members(account.id) == []
    assert actions(administration)[1:] == ["member.add", "member.change", "member.remove"]


@pytest.mark.parametrize("email", ["nobody", "a b@c", "a@b@c", "a@", "<a@b>", "a\n@b.c"])
def test_what_is_no_address_is_refused(administration: Administration, email: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.accounts.add_member(DEFAULT_ACCOUNT, MemberWish(email=email))
    assert refused(error) == "email"


def test_a_plan_is_made_changed_used_and_deleted(administration: Administration) -> None:
    wish = PlanWish(limits=LimitsWish(requests_per_minute=60), models=("s", "small"))
    plan, is_new = administration.accounts.put_plan("basic", wish)
    assert (is_new, plan.name, plan.models) == (True, "basic", ("small",))
    assert administration.accounts.put_plan("basic", wish) == (plan, False)
    account, _ = administration.accounts.create(AccountWish(name="a", plan_id="basic"))
    assert administration.accounts.show(account.id).plan == plan
    with pytest.raises(Conflict, match=account.id):
        administration.accounts.delete_plan("basic")
    administration.accounts.change(account.id, AccountChange(plan_id=None))
    administration.accounts.delete_plan("basic")
    with pytest.raises(UnknownEntity):
        administration.accounts.find_plan("basic")


@pytest.mark.parametrize("plan_id", ["", "Basic", "a b", "a/b", "x" * 65, "ä"])
def test_a_plan_has_a_plain_id(administration: Administration, plan_id: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.accounts.put_plan(plan_id, PlanWish())
    assert refused(error) == "plan_id"


def test_a_plan_names_models_that_there_are(administration: Administration) -> None:
    with pytest.raises(InvalidRequest, match="huge") as error:
        administration.accounts.put_plan("basic", PlanWish(models=("small", "huge")))
    assert refused(error) == "models[1]"
