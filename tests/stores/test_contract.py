"""What every store promises, whatever database is beneath it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.chat import NanoUSD
from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.records.account import (
    DEFAULT_ACCOUNT,
    Account,
    AccountId,
    Alerts,
    Member,
    MemberId,
    Plan,
    PlanId,
)
from dragoman.records.audit_event import AuditEvent
from dragoman.records.key import Key, KeyId, Scopes
from dragoman.records.limits import Limits
from dragoman.records.price import Price, PriceId, PriceTier
from dragoman.stores import Store

OpenAgain = Callable[[], Store]


def make_key(number: int, *, created_s: float = 0.0, name: str = "n") -> Key:
    return Key(
        id=KeyId(f"key_{number}"),
        name=name,
        hash=number.to_bytes(32, "big"),
        hint=f"…{number}",
        created_s=created_s,
    )


def test_a_new_store_has_no_keys(store: Store) -> None:
    assert store.list_keys() == []


def test_a_key_is_kept_as_it_was_given(store: Store, open_again: OpenAgain) -> None:
    key = Key(
        id=KeyId("key_a"),
        name="a 'quoted' näme ☃",
        hash=bytes(range(32)),
        hint="drg_sk_…abcd",
        created_s=1763760000.123456,
        revoked_s=1763760001.5,
    )
    store.add_key(key)
    assert store.list_keys() == [key]
    assert open_again().list_keys() == [key]


def test_keys_are_listed_oldest_first(store: Store) -> None:
    keys = [make_key(1, created_s=3.0), make_key(2, created_s=1.0), make_key(3, created_s=2.0)]
    for key in keys:
        store.add_key(key)
    assert [key.created_s for key in store.list_keys()] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("change", [{"id": KeyId("key_2")}, {"hash": bytes(32)}])
def test_an_id_or_hash_is_kept_once(store: Store, change: dict[str, str | bytes]) -> None:
    store.add_key(make_key(1))
    with pytest.raises(Conflict):
        store.add_key(msgspec.structs.replace(make_key(1), **change))
    assert store.list_keys() == [make_key(1)]


def test_a_revoked_key_stays_and_shows_when_it_was_first_revoked(store: Store) -> None:
    store.add_key(make_key(1))
    store.add_key(make_key(2))
    assert store.revoke_key(KeyId("key_1"), 5.0) is True
    assert store.revoke_key(KeyId("key_1"), 6.0) is False
    assert [key.revoked_s for key in store.list_keys()] == [5.0, None]


def test_revoking_what_is_not_there_says_so(store: Store) -> None:
    assert store.revoke_key(KeyId("key_1"), 5.0) is False


def test_every_change_moves_the_generation_for_everyone(
    store: Store, open_again: OpenAgain
) -> None:
    other = open_again()
    seen = [other.generation()]
    store.add_key(make_key(1))
    seen.append(other.generation())
    store.revoke_key(KeyId("key_1"), 5.0)
    seen.append(other.generation())
    assert len(set(seen)) == 3
    assert store.generation() == other.generation()


def test_reading_moves_no_generation(store: Store) -> None:
    before = store.generation()
    store.list_keys()
    assert store.generation() == before


def test_a_refused_change_is_seen_by_nobody(store: Store) -> None:
    store.add_key(make_key(1))
    before = store.generation()
    with pytest.raises(Conflict):
        store.add_key(make_key(1))
    assert store.generation() == before


def test_threads_may_share_a_store(store: Store) -> None:
    def add(first: int) -> None:
        for number in range(first, first + 20):
            store.add_key(make_key(number))
            store.list_keys()

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.list_keys()) == 60


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=25,
    deadline=None,
)
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "revoke"]), st.integers(0, 5)), min_size=1, max_size=12
    )
)
def test_any_order_of_changes_ends_as_a_plain_table_would(
    open_again: OpenAgain, changes: list[tuple[str, int]]
) -> None:
    store = open_again()
    model = {key.id: key for key in store.list_keys()}
    for time_s, (change, number) in enumerate(changes):
        key = make_key(number)
        if change == "revoke":
            can = key.id in model and model[key.id].revoked_s is None
            assert store.revoke_key(key.id, float(time_s)) is can
            if can:
                model[key.id] = msgspec.structs.replace(model[key.id], revoked_s=float(time_s))
        elif key.id in model:
            with pytest.raises(Conflict):
                store.add_key(key)
        else:
            store.add_key(key)
            model[key.id] = key
    assert store.list_keys() == sorted(model.values(), key=lambda key: (key.created_s, key.id))


# --- Keys, in full ---


def test_everything_of_a_key_is_kept_and_can_be_written_anew(
    store: Store, open_again: OpenAgain
) -> None:
    store.add_key(make_key(1))
    changed = Key(
        id=KeyId("key_1"),
        name="other",
        hash=bytes(32),
        hint="…x",
        created_s=2.0,
        kind="admin",
        account_id=AccountId("acct_x"),
        project="p",
        expires_s=9.0,
        last_used_s=3.0,
        scopes=Scopes(models=("m",), dialects=(), networks=("10.0.0.0/8",)),
        limits=Limits(requests_per_minute=0, tokens_per_minute=1 << 40),
        replaces=KeyId("key_0"),
        creation_token="t",
    )
    store.replace_key(changed)
    # The hash is what a key is: it stays.
    expected = msgspec.structs.replace(changed, hash=make_key(1).hash)
    assert open_again().list_keys() == [expected]
    with pytest.raises(UnknownEntity):
        store.replace_key(make_key(2))


def test_one_wish_makes_one_key_in_each_account(store: Store) -> None:
    first = msgspec.structs.replace(make_key(1), creation_token="t")
    store.add_key(first)
    with pytest.raises(Conflict):
        store.add_key(msgspec.structs.replace(make_key(2), creation_token="t"))
    other = msgspec.structs.replace(
        make_key(3), creation_token="t", account_id=AccountId("acct_other")
    )
    store.add_key(other)
    assert len(store.list_keys()) == 2


def test_use_of_keys_is_noted_without_telling_anyone(store: Store) -> None:
    store.add_key(make_key(1))
    store.add_key(make_key(2))
    before = store.generation()
    store.touch_keys([(KeyId("key_1"), 5.0), (KeyId("key_9"), 6.0)])
    assert [key.last_used_s for key in store.list_keys()] == [5.0, None]
    assert store.generation() == before


# --- Accounts, plans, members ---

PAID = Account(
    id=AccountId("acct_paid"),
    name="Påid",
    plan_id=PlanId("small"),
    monthly_limit_nano_usd=NanoUSD(5 * 10**9),
    time_zone="Europe/Vienna",
    alerts=Alerts(
        webhook_url="https://example.com/hook",
        balance_below_nano_usd=(NanoUSD(1),),
        month_percent=(80, 100),
    ),
    created_s=2e9,
    suspended_s=2e9 + 1,
)
SMALL = Plan(
    id=PlanId("small"),
    name="Small",
    limits=Limits(requests_per_minute=60, concurrent_requests=4),
    models=("m", "n"),
    created_s=1.0,
)


def test_a_new_store_has_the_owners_account(store: Store) -> None:
    (account,) = store.list_accounts()
    assert (account.id, account.is_prepaid, account.time_zone) == (DEFAULT_ACCOUNT, False, "UTC")
    assert store.balance(DEFAULT_ACCOUNT, 0.0).total_nano_usd == 0


def test_accounts_and_plans_are_kept_as_they_were_given(
    store: Store, open_again: OpenAgain
) -> None:
    store.put_plan(SMALL)
    store.add_account(PAID)
    other = open_again()
    assert other.list_accounts()[1:] == [PAID]
    assert other.list_plans() == [SMALL]
    changed = msgspec.structs.replace(PAID, name="x", plan_id=None, suspended_s=None)
    store.replace_account(changed)
    store.put_plan(msgspec.structs.replace(SMALL, models=None))
    assert other.list_accounts()[1:] == [changed]
    assert other.list_plans() == [msgspec.structs.replace(SMALL, models=None)]


def test_changes_of_accounts_plans_prices_and_balances_move_the_generation(store: Store) -> None:
    seen = [store.generation()]
    for change in (
        lambda: store.put_plan(SMALL),
        lambda: store.add_account(PAID),
        lambda: store.replace_account(msgspec.structs.replace(PAID, plan_id=None)),
        lambda: store.delete_plan(SMALL.id),
        lambda: store.add_price(PRICE),
        lambda: store.post_money(PAID.id, NanoUSD(1), "top_up", "k", at_s=1.0),
    ):
        change()
        seen.append(store.generation())
    assert len(set(seen)) == 7


def test_what_a_name_or_reference_forbids_is_refused(store: Store) -> None:
    with pytest.raises(UnknownEntity, match="plan 'small'"):
        store.add_account(PAID)
    store.put_plan(SMALL)
    store.add_account(PAID)
    with pytest.raises(Conflict, match="Påid"):
        store.add_account(msgspec.structs.replace(PAID, id=AccountId("acct_2")))
    with pytest.raises(Conflict):
        store.add_account(msgspec.structs.replace(PAID, name="other"))
    with pytest.raises(Conflict, match="plan"):
        store.delete_plan(SMALL.id)
    with pytest.raises(UnknownEntity):
        store.delete_plan(PlanId("none"))
    with pytest.raises(UnknownEntity):
        store.replace_account(msgspec.structs.replace(PAID, id=AccountId("a"), name="b"))
    assert len(store.list_accounts()) == 2


def test_members_belong_to_an_account_once(store: Store) -> None:
    member = Member(
        id=MemberId("mem_1"),
        account_id=DEFAULT_ACCOUNT,
        email="a@example.com",
        role="owner",
        created_s=1.0,
    )
    store.put_member(member)
    changed = msgspec.structs.replace(member, role="viewer")
    store.put_member(changed)
    assert store.list_members(DEFAULT_ACCOUNT) == [changed]
    with pytest.raises(Conflict, match=r"a@example\.com"):
        store.put_member(msgspec.structs.replace(member, id=MemberId("mem_2")))
    with pytest.raises(UnknownEntity, match="account"):
        store.put_member(
            msgspec.structs.replace(member, id=MemberId("m"), account_id=AccountId("none"))
        )
    store.delete_member(member.id)
    assert store.list_members(DEFAULT_ACCOUNT) == []
    with pytest.raises(UnknownEntity):
        store.delete_member(member.id)


# --- Prices, audit, alerts, server values ---

PRICE = Price(
    id=PriceId("price_1"),
    model="m",
    valid_from_s=5.0,
    source="api",
    tiers=(
        PriceTier(input=1, cached_input=2, cache_write=3, output=4),
        PriceTier(above_input_tokens=9, input=10**15, cached_input=0, cache_write=0, output=1),
    ),
)


def test_every_version_of_a_price_is_kept(store: Store) -> None:
    later = msgspec.structs.replace(PRICE, id=PriceId("price_2"), valid_from_s=6.0)
    store.add_price(later)
    store.add_price(PRICE)
    assert store.list_prices() == [PRICE, later]
    with pytest.raises(Conflict):
        store.add_price(msgspec.structs.replace(PRICE, id=PriceId("price_3")))


def test_changes_are_logged_in_order(store: Store) -> None:
    for number in range(5):
        store.add_event(
            AuditEvent(
                at_s=float(number),
                actor="cli:x",
                action="key.revoke",
                subject=f"key_{number % 2}",
                detail=msgspec.Raw(b'{"a":1}'),
            )
        )
    first = store.list_events(limit=2)
    assert [event.at_s for _, event in first] == [4.0, 3.0]
    assert bytes(first[0][1].detail) == b'{"a":1}'
    assert [event.at_s for _, event in store.list_events(before=first[-1][0])] == [2.0, 1.0, 0.0]
    assert [event.at_s for _, event in store.list_events(subject="key_1")] == [3.0, 1.0]


def test_an_alert_is_told_once_and_until_it_is_delivered_or_given_up(store: Store) -> None:
    payload = msgspec.Raw(b"{}")
    assert store.next_alert_s() is None
    assert store.add_alert(DEFAULT_ACCOUNT, "a", payload, 1.0)
    assert not store.add_alert(DEFAULT_ACCOUNT, "a", payload, 2.0)
    assert store.add_alert(DEFAULT_ACCOUNT, "b", payload, 3.0)
    assert [alert.occasion for alert in store.due_alerts(2.0)] == ["a"]
    assert store.next_alert_s() == 1.0
    first, second = store.due_alerts(3.0)
    store.note_failed_delivery(first.sequence, "x" * 9000, 50.0)
    store.note_delivery(second.sequence, 4.0)
    assert store.due_alerts(49.0) == []
    assert store.next_alert_s() == 50.0
    (again,) = store.due_alerts(50.0)
    assert (again.occasion, again.attempts, len(again.last_error or "")) == ("a", 1, 500)
    store.note_failed_delivery(again.sequence, "gone", None)
    assert store.due_alerts(1e9) == []
    assert store.next_alert_s() is None


def test_a_server_secret_is_drawn_once(store: Store, open_again: OpenAgain) -> None:
    secret = store.server_secret("a")
    assert len(secret) == 32
    assert open_again().server_secret("a") == secret
    assert store.server_secret("b") != secret
    store.put_server_value("mark", b"1")
    store.put_server_value("mark", b"2")
    assert open_again().server_value("mark") == b"2"
    assert store.server_value("none") is None


# --- Money ---


def test_money_is_posted_once_for_each_idempotency_key(store: Store, open_again: OpenAgain) -> None:
    entry, is_new = store.post_money(
        DEFAULT_ACCOUNT, NanoUSD(500), "top_up", "k", at_s=1.0, note="n"
    )
    again = open_again().post_money(DEFAULT_ACCOUNT, NanoUSD(500), "top_up", "k", at_s=2.0)
    assert is_new
    assert again == (entry, False)
    for account, amount, kind in (
        (DEFAULT_ACCOUNT, 501, "top_up"),
        (DEFAULT_ACCOUNT, 500, "refund"),
        (AccountId("acct_other"), 500, "top_up"),
    ):
        with pytest.raises(Conflict, match="Idempotency-Key"):
            store.post_money(account, NanoUSD(amount), kind, "k", at_s=3.0)
    assert store.balance(DEFAULT_ACCOUNT, 0.0).free_nano_usd == 500
    assert store.list_entries(DEFAULT_ACCOUNT) == [entry]


def test_an_adjustment_takes_no_more_than_is_free(store: Store) -> None:
    store.post_money(DEFAULT_ACCOUNT, NanoUSD(500), "top_up", "1", at_s=1.0)
    taken, _ = store.post_money(DEFAULT_ACCOUNT, NanoUSD(-500), "adjustment", "2", at_s=1.0)
    assert (taken.from_book, taken.to_book, taken.amount_nano_usd) == ("free", "house", 500)
    with pytest.raises(Conflict, match="only 0 are free"):
        store.post_money(DEFAULT_ACCOUNT, NanoUSD(-1), "adjustment", "3", at_s=1.0)
    store.post_money(DEFAULT_ACCOUNT, NanoUSD(7), "refund", "4", at_s=1.0, request_id="r")
    assert store.balance(DEFAULT_ACCOUNT, 0.0).free_nano_usd == 7
    assert store.verify() == []


@pytest.mark.parametrize(
    ("amount", "kind"),
    [
        (0, "top_up"),
        (-1, "top_up"),
        (-1, "refund"),
        (0, "adjustment"),
        (1 << 61, "top_up"),
        (10**30, "adjustment"),
        (1, "settlement"),
        (1, ""),
    ],
)
def test_amounts_and_kinds_that_are_none_are_refused(store: Store, amount: int, kind: str) -> None:
    with pytest.raises(InvalidRequest):
        store.post_money(DEFAULT_ACCOUNT, NanoUSD(amount), kind, "k", at_s=1.0)
    assert store.list_entries(None) == []


def test_a_balance_cannot_outgrow_the_database(store: Store) -> None:
    store.post_money(DEFAULT_ACCOUNT, NanoUSD(1 << 60), "top_up", "1", at_s=1.0)
    with pytest.raises(Conflict):
        store.post_money(DEFAULT_ACCOUNT, NanoUSD(1), "top_up", "2", at_s=1.0)


def test_nobody_has_a_balance_without_an_account(store: Store) -> None:
    with pytest.raises(UnknownEntity):
        store.balance(AccountId("none"), 0.0)
    with pytest.raises(UnknownEntity):
        store.post_money(AccountId("none"), NanoUSD(1), "top_up", "k", at_s=1.0)


def test_entries_are_paged_newest_first(store: Store) -> None:
    for number in range(5):
        store.post_money(DEFAULT_ACCOUNT, NanoUSD(1), "top_up", f"k{number}", at_s=float(number))
    first = store.list_entries(None, limit=3)
    assert [entry.posted_s for entry in first] == [4.0, 3.0, 2.0]
    rest = store.list_entries(DEFAULT_ACCOUNT, before=first[-1].sequence)
    assert [entry.posted_s for entry in rest] == [1.0, 0.0]
    assert store.list_entries(AccountId("none")) == []


# --- Changes that belong together ---


def test_what_is_changed_together_is_kept_whole_or_not_at_all(
    store: Store, open_again: OpenAgain
) -> None:
    def add_and_fail(*numbers: int) -> None:
        with store.atomically():
            for number in numbers:
                store.add_key(make_key(number))
            with store.atomically():
                store.add_key(make_key(90))
            store.add_key(make_key(90))

    other = open_again()
    before = other.generation()
    with pytest.raises(Conflict):
        add_and_fail(1, 2)
    assert other.list_keys() == []
    assert other.generation() == before
    with store.atomically():
        store.add_key(make_key(3))
        with pytest.raises(Conflict):
            add_and_fail(4)
        # Nobody is told before it is durable.
        assert other.generation() == before
    assert [key.id for key in other.list_keys()] == ["key_3"]
    assert other.generation() != before


@pytest.mark.parametrize("name", ["\ud800", "a" * 10])
def test_texts_that_cannot_be_stored_are_the_askers_fault(store: Store, name: str) -> None:
    account = Account(id=AccountId("acct_a"), name=name)
    if name.isalpha():
        store.add_account(account)
    else:
        with pytest.raises(InvalidRequest):
            store.add_account(account)
    assert len(store.list_accounts()) == (2 if name.isalpha() else 1)
