"""What administrators do: checked, once, and told in the audit log."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.chat import NanoUSD
from dragoman.errors import Conflict, DragomanError, InvalidRequest, UnknownEntity
from dragoman.policy.administration import (
    AccountChange,
    AccountWish,
    Adjustment,
    Administration,
    AlertsWish,
    KeyChange,
    KeyWish,
    LimitsWish,
    MemberChange,
    MemberWish,
    Payment,
    PlanWish,
    PriceWish,
    Refund,
    RotationWish,
    ScopesWish,
    TierWish,
    format_usd,
    parse_usd,
)
from dragoman.policy.administration.amounts import MAX_AMOUNT
from dragoman.policy.administration.usage import inert
from dragoman.policy.keys import hash_secret
from dragoman.policy.routing import ModelDirectory
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.model import Model
from dragoman.stores import Store, open_store

DAY_S = 86400.0
DOLLAR = 1_000_000_000


class SetClock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def administration(store: Store, clock: SetClock) -> Administration:
    directory = ModelDirectory(
        [
            Model(id="small", provider="p", upstream_name="s", aliases=("s",)),
            Model(id="large", provider="p", upstream_name="l"),
        ],
        "small",
    )
    return Administration(store, clock, "cli:tester", directory=directory)


def actions(administration: Administration) -> list[str]:
    """Oldest first."""
    return [event.action for _, event in reversed(administration.audit())]


def refused(error: pytest.ExceptionInfo[DragomanError]) -> str | None:
    return error.value.param


# --- Amounts ------------------------------------------------------------------------------------


@given(st.integers(min_value=-(10**20), max_value=10**20))
def test_an_amount_is_read_as_it_was_written(nano: int) -> None:
    assert parse_usd(format_usd(nano)) == nano


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("25.00", 25 * DOLLAR),
        ("0.000000001", 1),
        ("-3.5", -3_500_000_000),
        ("  $7 ", 7 * DOLLAR),
        ("0", 0),
    ],
)
def test_amounts_are_exact(text: str, nano: int) -> None:
    assert parse_usd(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "1e9",
        "1,000",
        "0.0000000001",
        "NaN",
        "Infinity",
        "٣",
        "1.",
        ".5",
        "--1",
        "9" * 13,
        "1\n2",
    ],
)
def test_what_is_no_amount_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        parse_usd(text)
    assert refused(error) == "amount"


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


# --- Keys ---------------------------------------------------------------------------------------


def test_a_key_is_made_with_all_that_bounds_it(
    administration: Administration, clock: SetClock
) -> None:
    account, _ = administration.accounts.create(AccountWish(name="a"))
    made = administration.keys.create(
        KeyWish(
            name="ci",
            account_id=account.id,
            project="p1",
            expires_in_s=DAY_S,
            scopes=ScopesWish(
                models=("s", "large"), dialects=("openai",), networks=("10.0.0.7/8", "2001:db8::1")
            ),
            limits=LimitsWish(concurrent_requests=3),
        )
    )
    key = made.key
    assert made.secret.startswith("drg_sk_")
    assert key.hash == hash_secret(made.secret)
    assert key.expires_s == clock.now_s + DAY_S
    assert key.scopes.models == ("small", "large")
    assert key.scopes.networks == ("10.0.0.0/8", "2001:db8::1/128")
    assert key.limits.concurrent_requests == 3
    assert administration.keys.find(key.id) == key
    assert [k.id for k in administration.keys.list_all(account.id)] == [key.id]


def test_an_admin_key_has_its_own_prefix_and_no_scopes(administration: Administration) -> None:
    made = administration.keys.create(KeyWish(name="boss", kind="admin"))
    assert made.secret.startswith("drg_admin_")
    assert administration.keys.list_all(kind="admin") == [made.key]
    with pytest.raises(InvalidRequest) as error:
        administration.keys.create(
            KeyWish(name="boss", kind="admin", scopes=ScopesWish(models=("small",)))
        )
    assert refused(error) == "scopes"


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        (KeyWish(name="\t"), "name"),
        (KeyWish(name="k", account_id="acct_nobody"), "account_id"),
        (KeyWish(name="k", expires_at=datetime(2001, 1, 1, tzinfo=UTC)), "expires_at"),
        (KeyWish(name="k", expires_at=datetime(2099, 1, 1)), "expires_at"),  # noqa: DTZ001
        (KeyWish(name="k", expires_in_s=-1), "expires_in_s"),
        (KeyWish(name="k", expires_in_s=float("inf")), "expires_in_s"),
        (
            KeyWish(name="k", expires_in_s=1, expires_at=datetime(2099, 1, 1, tzinfo=UTC)),
            "expires_in_s",
        ),
        (KeyWish(name="k", scopes=ScopesWish(models=("huge",))), "scopes.models[0]"),
        (KeyWish(name="k", scopes=ScopesWish(networks=("10.0.0.0/33",))), "scopes.networks[0]"),
        (KeyWish(name="k", scopes=ScopesWish(projects=("a", " "))), "scopes.projects[1]"),
        (
            KeyWish(name="k", limits=LimitsWish(tokens_per_minute=-1)),
            "limits.tokens_per_minute",
        ),
        (KeyWish(name="k", creation_token="t\n"), "creation_token"),
    ],
)
def test_an_unusable_key_is_refused_by_field(
    administration: Administration, wish: KeyWish, param: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.keys.create(wish)
    assert refused(error) == param
    assert administration.keys.list_all() == []


def test_the_same_wish_gives_the_same_key_and_secret_for_a_day(
    administration: Administration, store: Store, clock: SetClock
) -> None:
    wish = KeyWish(name="ci", creation_token="build-7", expires_in_s=3 * DAY_S)
    first = administration.keys.create(wish)
    clock.now_s += DAY_S
    # Another process, which shares nothing but the store.
    again = Administration(store, clock, "cli:other").keys.create(wish)
    assert (again.key, again.secret, again.is_new) == (first.key, first.secret, False)
    with pytest.raises(Conflict, match="another wish"):
        administration.keys.create(msgspec.structs.replace(wish, name="cd"))
    clock.now_s += 1.0
    with pytest.raises(Conflict, match="24 hours") as error:
        administration.keys.create(wish)
    assert first.secret not in error.value.message
    assert actions(administration) == ["key.create"]


def test_one_token_of_two_accounts_makes_two_keys(administration: Administration) -> None:
    account, _ = administration.accounts.create(AccountWish(name="a"))
    one = administration.keys.create(KeyWish(name="k", creation_token="t"))
    two = administration.keys.create(KeyWish(name="k", creation_token="t", account_id=account.id))
    assert one.key.id != two.key.id
    assert one.secret != two.secret


def test_the_token_of_a_revoked_key_is_spent(administration: Administration) -> None:
    wish = KeyWish(name="k", creation_token="t")
    made = administration.keys.create(wish)
    administration.keys.revoke(made.key.id)
    with pytest.raises(Conflict, match="revoked"):
        administration.keys.create(wish)


def test_many_who_wish_the_same_at_once_get_one_key(
    tmp_path: Path, clock: SetClock, store: Store
) -> None:
    wish = KeyWish(name="k", creation_token="t")
    secrets: list[str] = []
    barrier = threading.Barrier(8)

    def create() -> None:
        other = open_store(tmp_path)
        try:
            barrier.wait()
            secrets.append(Administration(other, clock, "cli:x").keys.create(wish).secret)
        finally:
            other.close()

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(secrets) == 8
    assert len(set(secrets)) == 1
    assert len(store.list_keys()) == 1


def test_a_key_is_changed_in_what_is_given(administration: Administration, clock: SetClock) -> None:
    key = administration.keys.create(KeyWish(name="k", limits=LimitsWish(tokens_per_minute=5))).key
    end = datetime.fromtimestamp(clock.now_s + 60, UTC)
    changed = administration.keys.change(
        key.id, KeyChange(expires_at=end, scopes=ScopesWish(models=("s",)))
    )
    assert changed.expires_s == clock.now_s + 60
    assert changed.scopes.models == ("small",)
    assert changed.limits == key.limits
    assert administration.keys.change(key.id, KeyChange(expires_at=None)).expires_s is None
    administration.keys.revoke(key.id)
    with pytest.raises(Conflict, match="revoked"):
        administration.keys.change(key.id, KeyChange(name="x"))


def test_a_rotated_key_works_exactly_as_long_as_said(
    administration: Administration, clock: SetClock
) -> None:
    old = administration.keys.create(
        KeyWish(
            name="k", scopes=ScopesWish(models=("small",)), limits=LimitsWish(concurrent_requests=1)
        )
    ).key
    made = administration.keys.rotate(old.id, RotationWish(grace_s=3600))
    assert made.replaced is not None
    assert administration.keys.find(old.id).expires_s == clock.now_s + 3600
    assert made.replaced.expires_s == clock.now_s + 3600
    successor = made.key
    assert (successor.replaces, successor.expires_s) == (old.id, None)
    assert (successor.scopes, successor.limits, successor.name) == (old.scopes, old.limits, "k")
    assert successor.hash == hash_secret(made.secret) != old.hash
    with pytest.raises(Conflict, match=successor.id):
        administration.keys.rotate(old.id, RotationWish(grace_s=7200))
    assert administration.keys.find(old.id).expires_s == clock.now_s + 3600


def test_the_same_rotation_again_changes_nothing(
    administration: Administration, clock: SetClock
) -> None:
    old = administration.keys.create(KeyWish(name="k")).key
    wish = RotationWish(grace_s=60, creation_token="r")
    first = administration.keys.rotate(old.id, wish)
    clock.now_s += 30
    again = administration.keys.rotate(old.id, wish)
    assert (again.key, again.secret, again.is_new) == (first.key, first.secret, False)
    assert again.replaced == first.replaced
    clock.now_s += 60
    assert administration.keys.rotate(old.id, wish).secret == first.secret
    with pytest.raises(Conflict):
        administration.keys.rotate(old.id, msgspec.structs.replace(wish, grace_s=61))
    assert len(administration.keys.list_all()) == 2


def test_a_key_that_has_ended_is_not_rotated(
    administration: Administration, clock: SetClock
) -> None:
    key = administration.keys.create(KeyWish(name="k", expires_in_s=10)).key
    clock.now_s += 10
    with pytest.raises(Conflict, match="expired"):
        administration.keys.rotate(key.id, RotationWish())


def test_revoking_twice_keeps_the_first_moment(
    administration: Administration, clock: SetClock
) -> None:
    key = administration.keys.create(KeyWish(name="k")).key
    administration.keys.revoke(key.id)
    clock.now_s += 5
    assert administration.keys.revoke(key.id).revoked_s == 1_700_000_000.0
    assert administration.keys.list_all() == []
    assert [k.id for k in administration.keys.list_all(with_revoked=True)] == [key.id]
    assert actions(administration) == ["key.create", "key.revoke"]


def test_no_secret_or_hash_is_in_the_audit_log(administration: Administration) -> None:
    made = administration.keys.create(KeyWish(name="k", creation_token="token-of-mine"))
    rotated = administration.keys.rotate(made.key.id, RotationWish(creation_token="other-token"))
    administration.keys.change(rotated.key.id, KeyChange(name="k2"))
    administration.keys.revoke(rotated.key.id)
    told = b"".join(msgspec.json.encode(event) for _, event in administration.audit())
    assert len(administration.audit()) == 4
    for secret in (made.secret, rotated.secret, "token-of-mine", "other-token"):
        assert secret.encode() not in told
    assert b"hash" not in told


# --- Prices -------------------------------------------------------------------------------------


def tier(price: int, above: int = 0) -> TierWish:
    return TierWish(above_input_tokens=above, input=price, output=2 * price)


def test_a_price_holds_from_its_moment_on(administration: Administration, clock: SetClock) -> None:
    price, is_new = administration.prices.set(PriceWish(model="s", tiers=(tier(5), tier(9, 1000))))
    assert is_new
    assert (price.model, price.valid_from_s, price.source) == ("small", clock.now_s, "api")
    assert price.tiers[0].cached_input == price.tiers[0].cache_write == 5
    assert administration.prices.set(PriceWish(model="small", tiers=(tier(5), tier(9, 1000)))) == (
        price,
        False,
    )
    with pytest.raises(Conflict) as error:
        administration.prices.set(PriceWish(model="small", tiers=(tier(6),)))
    assert refused(error) == "valid_from"
    later = datetime.fromtimestamp(clock.now_s + 100, UTC)
    second, _ = administration.prices.set(
        PriceWish(model="small", tiers=(tier(6),), valid_from=later)
    )
    assert administration.prices.list_all("small") == [price, second]
    assert administration.prices.list_all("large") == []


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        (PriceWish(model="huge", tiers=(tier(1),)), "model"),
        (PriceWish(model="small", tiers=()), "tiers"),
        (PriceWish(model="small", tiers=(tier(1, 5),)), "tiers[0].above_input_tokens"),
        (PriceWish(model="small", tiers=(tier(1), tier(1))), "tiers[1].above_input_tokens"),
        (PriceWish(model="small", tiers=(tier(-1),)), "tiers[0].input"),
        (PriceWish(model="small", tiers=(tier(10**16),)), "tiers[0].input"),
        (
            PriceWish(model="small", tiers=(tier(1),), valid_from=datetime(2001, 1, 1, tzinfo=UTC)),
            "valid_from",
        ),
    ],
)
def test_an_unusable_price_is_refused_by_field(
    administration: Administration, wish: PriceWish, param: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.prices.set(wish)
    assert refused(error) == param
    assert administration.prices.list_all() == []


# --- Money --------------------------------------------------------------------------------------


def test_money_is_posted_once_for_each_idempotency_key(administration: Administration) -> None:
    account, _ = administration.accounts.create(AccountWish(name="a"))
    entry, is_new = administration.money.top_up(account.id, Payment(amount="25.00"), "pay_1")
    assert is_new
    again, is_new = administration.money.top_up(
        account.id, Payment(amount_nano_usd=25 * DOLLAR), "pay_1"
    )
    assert (again, is_new) == (entry, False)
    with pytest.raises(Conflict):
        administration.money.top_up(account.id, Payment(amount="26.00"), "pay_1")
    with pytest.raises(Conflict):
        administration.money.top_up(DEFAULT_ACCOUNT, Payment(amount="25.00"), "pay_1")
    administration.money.adjust(account.id, Adjustment(amount="-5.00", note="chargeback"), "adj_1")
    with pytest.raises(Conflict):
        administration.money.adjust(
            account.id, Adjustment(amount="-20.000000001", note="x"), "adj_2"
        )
    assert administration.money.balance(account.id).free_nano_usd == 20 * DOLLAR
    assert [e.kind for e in administration.money.entries(account.id)] == ["adjustment", "top_up"]
    assert administration.money.verify() == []
    assert actions(administration) == ["account.create", "credits.top_up", "credits.adjustment"]


@pytest.mark.parametrize(
    "payment",
    [
        Payment(),
        Payment(amount="0"),
        Payment(amount="-1"),
        Payment(amount_nano_usd=0),
        Payment(amount="1", amount_nano_usd=1),
        Payment(amount=format_usd(MAX_AMOUNT + 1)),
        Payment(amount="1e3"),
    ],
)
def test_an_unusable_amount_moves_nothing(administration: Administration, payment: Payment) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.money.top_up(DEFAULT_ACCOUNT, payment, "k")
    assert refused(error) == "amount"
    assert administration.money.entries() == []


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "schlüssel"])
def test_an_unusable_idempotency_key_moves_nothing(
    administration: Administration, key: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.money.top_up(DEFAULT_ACCOUNT, Payment(amount="1"), key)
    assert refused(error) == "Idempotency-Key"


def test_an_idempotency_key_cannot_stand_in_for_one_of_the_ledgers_own(
    administration: Administration,
) -> None:
    entry, _ = administration.money.top_up(DEFAULT_ACCOUNT, Payment(amount="1"), "settlement:req_1")
    assert not entry.idempotency_key.startswith("settlement:")


def test_a_refund_needs_a_request_or_an_idempotency_key(administration: Administration) -> None:
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        administration.money.refund(DEFAULT_ACCOUNT, Refund(amount="1"))
    with pytest.raises(UnknownEntity) as error:
        administration.money.refund(DEFAULT_ACCOUNT, Refund(request_id="req_none"))
    assert refused(error) == "request_id"


def test_a_change_that_cannot_be_told_is_not_made(
    administration: Administration, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(event: object) -> None:
        raise Conflict("the audit log is full")

    monkeypatch.setattr(store, "add_event", fail)
    with pytest.raises(Conflict):
        administration.money.top_up(DEFAULT_ACCOUNT, Payment(amount="1"), "k")
    with pytest.raises(Conflict):
        administration.keys.create(KeyWish(name="k"))
    assert administration.money.balance(DEFAULT_ACCOUNT).free_nano_usd == NanoUSD(0)
    assert store.list_keys() == []


# --- Exports ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n-2"])
def test_no_text_is_a_formula_in_a_spreadsheet(text: str) -> None:
    assert inert(text) == "'" + text


@pytest.mark.parametrize("text", ["", "plain", "a=b", '{"a":"=1"}', "req_1"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert inert(text) == text
