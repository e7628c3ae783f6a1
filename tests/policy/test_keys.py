"""Keys: made once, kept hashed, recognised without I/O, refused as soon as they are revoked."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.errors import Conflict, Forbidden, StoreUnavailable, Unauthenticated
from dragoman.policy.keys import (
    MAX_GRACE_S,
    MAX_SECRET_CHARS,
    KeyRing,
    UnusableKey,
    bootstrap_key,
    hash_secret,
    mint_key,
    rotate_key,
)
from dragoman.policy.snapshots import MAX_AGE_S, MAX_LOADING_SHARE
from dragoman.records.account import (
    DEFAULT_ACCOUNT,
    Account,
    AccountId,
    Member,
    MemberId,
    Plan,
    PlanId,
)
from dragoman.records.audit_event import AuditEvent
from dragoman.records.key import Key, KeyId, Scopes
from dragoman.records.limits import NO_LIMITS, Limits
from dragoman.stores import open_store

NOW_S = 1000.0
CHOSEN = "chosen-by-the-operator-0123456789"


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


class MemoryKeys:
    """A key repository in a list, which counts how often it is read."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)
        self.accounts = [Account(id=DEFAULT_ACCOUNT, name="default", is_prepaid=False)]
        self.plans: list[Plan] = []
        self.events: list[AuditEvent] = []
        self.reads = 0
        self.changes = 0
        self.failure: Exception | None = None

    def list_keys(self) -> list[Key]:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return list(self.keys)

    def add_key(self, key: Key) -> None:
        if any(key.hash == other.hash or key.id == other.id for other in self.keys):
            raise Conflict
        self.keys.append(key)
        self.changes += 1

    def revoke_key(self, key_id: KeyId, revoked_s: float) -> bool:
        self.changes += 1
        for index, key in enumerate(self.keys):
            if key.id == key_id and key.revoked_s is None:
                self.keys[index] = msgspec.structs.replace(key, revoked_s=revoked_s)
                return True
        return False

    def replace_key(self, key: Key) -> None:
        self.keys = [key if key.id == other.id else other for other in self.keys]
        self.changes += 1

    def touch_keys(self, used: Sequence[tuple[KeyId, float]]) -> None:
        at_s = dict(used)
        self.keys = [
            msgspec.structs.replace(key, last_used_s=at_s.get(key.id, key.last_used_s))
            for key in self.keys
        ]

    def atomically(self) -> nullcontext[None]:
        return nullcontext()

    def add_event(self, event: AuditEvent) -> None:
        self.events.append(event)

    def list_events(
        self, *, subject: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, AuditEvent]]:
        raise AssertionError(f"nobody asks for {limit} events of {subject} before {before}")

    def list_accounts(self) -> list[Account]:
        return list(self.accounts)

    def add_account(self, account: Account) -> None:
        self.accounts.append(account)
        self.changes += 1

    def replace_account(self, account: Account) -> None:
        self.accounts = [account if account.id == a.id else a for a in self.accounts]
        self.changes += 1

    def list_plans(self) -> list[Plan]:
        return list(self.plans)

    def put_plan(self, plan: Plan) -> None:
        self.plans = [kept for kept in self.plans if kept.id != plan.id] + [plan]
        self.changes += 1

    def delete_plan(self, plan_id: PlanId) -> None:
        self.plans = [kept for kept in self.plans if kept.id != plan_id]
        self.changes += 1

    def list_members(self, account_id: AccountId) -> list[Member]:
        return []

    def put_member(self, member: Member) -> None:
        raise AssertionError("a ring has no use for members")

    def delete_member(self, member_id: MemberId) -> None:
        raise AssertionError("a ring has no use for members")

    def generation(self) -> int:
        return self.changes


async def ring_of(
    repository: MemoryKeys, clock: HandClock | None = None, *, defaults: Limits = NO_LIMITS
) -> KeyRing:
    ring = KeyRing(repository, clock or HandClock(), default_limits=defaults)
    await ring.refresh()
    return ring


# --- Making keys --------------------------------------------------------------------------------


def test_a_secret_is_a_prefix_and_32_random_alphanumerics() -> None:
    secret, key = mint_key("laptop", 5.0)
    assert re.fullmatch(r"drg_sk_[A-Za-z0-9]{32}", secret)
    assert re.fullmatch(r"key_[a-z0-9]{20}", key.id)
    assert key.hint == f"drg_sk_…{secret[-4:]}"
    assert (key.name, key.created_s, key.revoked_s) == ("laptop", 5.0, None)
    assert key.hash == hash_secret(secret)
    assert len(key.hash) == 32


def test_no_two_secrets_or_ids_are_alike() -> None:
    made = [mint_key("n", 0.0) for _ in range(200)]
    assert len({secret for secret, _ in made}) == 200
    assert len({key.id for _, key in made}) == 200


def test_a_key_holds_nothing_of_its_secret_but_four_characters() -> None:
    secret, key = mint_key("n", 0.0)
    assert secret[7:-4] not in repr(key)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31m", "x" * 201])
def test_a_name_must_be_fit_to_be_shown(name: str) -> None:
    with pytest.raises(UnusableKey, match="1 to 200 characters"):
        mint_key(name, 0.0)


@pytest.mark.parametrize(
    "secret",
    ["", "x" * 15, "x" * 257, "with spaces in the middle", "ümlaut-is-not-ascii", "a\nb" * 9],
)
def test_a_chosen_secret_must_be_long_and_plain(secret: str) -> None:
    with pytest.raises(UnusableKey) as caught:
        mint_key("n", 0.0, secret=secret)
    assert not secret or secret not in str(caught.value)


def test_an_admin_key_says_so_from_its_first_letters() -> None:
    secret, key = mint_key("ops", 5.0, kind="admin")
    assert re.fullmatch(r"drg_admin_[A-Za-z0-9]{32}", secret)
    assert (key.kind, key.hint) == ("admin", f"drg_admin_…{secret[-4:]}")


# --- Replacing them -----------------------------------------------------------------------------


def full_key() -> Key:
    _, key = mint_key("laptop", 5.0)
    return msgspec.structs.replace(
        key,
        account_id=AccountId("acct_other"),
        project="translation",
        last_used_s=7.0,
        scopes=Scopes(models=("local",), networks=("10.0.0.0/8",)),
        limits=Limits(requests_per_minute=3),
        creation_token="first",
    )


def test_a_successor_may_do_what_the_old_key_may_and_the_old_one_ends_with_the_grace() -> None:
    old = full_key()
    secret, successor, retired = rotate_key(old, NOW_S, 60.0)
    assert successor.hash == hash_secret(secret)
    assert (successor.replaces, successor.created_s) == (old.id, NOW_S)
    assert (successor.last_used_s, successor.expires_s, successor.creation_token) == (None,) * 3
    same = ("name", "account_id", "project", "scopes", "limits", "kind")
    assert all(getattr(successor, name) == getattr(old, name) for name in same)
    assert successor.id != old.id
    assert retired == msgspec.structs.replace(old, expires_s=NOW_S + 60.0)


def test_a_grace_makes_no_key_last_longer() -> None:
    old = msgspec.structs.replace(full_key(), expires_s=NOW_S + 5)
    _, successor, retired = rotate_key(old, NOW_S, 60.0)
    assert (successor.expires_s, retired.expires_s) == (NOW_S + 5, NOW_S + 5)


@pytest.mark.parametrize(
    ("change", "grace_s"),
    [
        ({"revoked_s": 1.0}, 0.0),
        ({"expires_s": NOW_S}, 0.0),
        ({}, -1.0),
        ({}, MAX_GRACE_S + 1),
        ({}, float("nan")),
    ],
)
def test_what_cannot_be_rotated_is_refused(change: dict[str, float], grace_s: float) -> None:
    with pytest.raises(UnusableKey):
        rotate_key(msgspec.structs.replace(full_key(), **change), NOW_S, grace_s)


async def test_both_keys_hold_for_exactly_the_grace() -> None:
    old_secret, old = mint_key("n", 0.0)
    secret, successor, retired = rotate_key(old, NOW_S, 60.0)
    ring = await ring_of(MemoryKeys(retired, successor))
    assert ring.authenticate(old_secret, NOW_S + 59.999).key_id == old.id
    assert ring.authenticate(secret, NOW_S).key_id == successor.id
    with pytest.raises(Unauthenticated):
        ring.authenticate(old_secret, NOW_S + 60.0)
    assert ring.authenticate(secret, NOW_S + 60.0).key_id == successor.id


# --- Whose they are -----------------------------------------------------------------------------


async def test_a_principal_has_all_that_is_known_of_its_owner() -> None:
    plan = Plan(
        id=PlanId("small"),
        name="Small",
        limits=Limits(requests_per_minute=60),
        models=("local", "big"),
    )
    account = Account(id=AccountId("acct_a"), name="A", plan_id=plan.id)
    secret, key = mint_key("n", 0.0)
    key = msgspec.structs.replace(
        key,
        account_id=account.id,
        project="p",
        expires_s=2 * NOW_S,
        scopes=Scopes(models=("big", "other")),
        limits=Limits(tokens_per_minute=9),
    )
    repository = MemoryKeys(key)
    repository.accounts.append(account)
    repository.put_plan(plan)
    defaults = Limits(requests_per_minute=1000, tokens_per_minute=5000)
    principal = (await ring_of(repository, defaults=defaults)).authenticate(secret, NOW_S)
    assert (principal.account, principal.project, principal.expires_s) == (account, "p", 2 * NOW_S)
    assert principal.models == frozenset({"big"})
    assert principal.key_limits == Limits(tokens_per_minute=9)
    # Where the plan says nothing, the server's own limits hold.
    assert principal.account_limits == Limits(requests_per_minute=60, tokens_per_minute=5000)


@pytest.mark.parametrize(
    ("of_key", "of_plan", "allowed"),
    [
        (None, None, None),
        (("a",), None, {"a"}),
        (None, ("b",), {"b"}),
        (("a",), ("b",), set()),
        ((), None, set()),
    ],
)
async def test_models_are_those_that_key_and_plan_allow(
    of_key: tuple[str, ...] | None, of_plan: tuple[str, ...] | None, allowed: set[str] | None
) -> None:
    secret, key = mint_key("n", 0.0)
    repository = MemoryKeys(msgspec.structs.replace(key, scopes=Scopes(models=of_key)))
    repository.put_plan(Plan(id=PlanId("p"), name="P", models=of_plan))
    repository.replace_account(Account(id=DEFAULT_ACCOUNT, name="d", plan_id=PlanId("p")))
    assert (await ring_of(repository)).authenticate(secret, NOW_S).models == allowed


async def test_a_suspended_accounts_keys_are_refused_with_words_and_come_back() -> None:
    secret, key = mint_key("n", 0.0)
    repository = MemoryKeys(key)
    ring = await ring_of(repository)
    sound = repository.accounts[0]
    repository.replace_account(msgspec.structs.replace(sound, suspended_s=NOW_S))
    await ring.refresh()
    with pytest.raises(Forbidden, match="account of this key is suspended"):
        ring.authenticate(secret, NOW_S)
    repository.replace_account(sound)
    await ring.refresh()
    assert ring.authenticate(secret, NOW_S).key_id == key.id


async def test_a_plans_change_holds_at_the_next_request() -> None:
    secret, key = mint_key("n", 0.0)
    repository = MemoryKeys(key)
    repository.put_plan(Plan(id=PlanId("p"), name="P"))
    repository.replace_account(Account(id=DEFAULT_ACCOUNT, name="d", plan_id=PlanId("p")))
    ring = await ring_of(repository)
    assert ring.authenticate(secret, NOW_S).account_limits == NO_LIMITS
    limits = Limits(concurrent_requests=2)
    repository.put_plan(Plan(id=PlanId("p"), name="P", limits=limits))
    assert ring.is_stale()
    await ring.refresh()
    assert ring.authenticate(secret, NOW_S).account_limits == limits


async def test_admin_and_client_keys_do_not_do_each_others_work() -> None:
    client_secret, client = mint_key("c", 0.0)
    admin_secret, admin = mint_key("a", 0.0, kind="admin")
    ring = await ring_of(MemoryKeys(client, admin))
    assert ring.authenticate_admin(admin_secret, NOW_S).key_id == admin.id
    with pytest.raises(Forbidden, match="admin key"):
        ring.authenticate(admin_secret, NOW_S)
    with pytest.raises(Forbidden, match="client key"):
        ring.authenticate_admin(client_secret, NOW_S)
    with pytest.raises(Unauthenticated):
        ring.authenticate_admin("drg_admin_" + "x" * 32, NOW_S)


async def test_a_key_without_an_account_is_no_key() -> None:
    secret, key = mint_key("n", 0.0)
    repository = MemoryKeys(msgspec.structs.replace(key, account_id=AccountId("acct_gone")))
    with pytest.raises(Unauthenticated):
        (await ring_of(repository)).authenticate(secret, NOW_S)


async def test_a_key_ends_at_its_moment_and_not_at_a_load() -> None:
    secret, key = mint_key("n", 0.0)
    repository = MemoryKeys(msgspec.structs.replace(key, expires_s=NOW_S))
    ring = await ring_of(repository)
    assert ring.authenticate(secret, NOW_S - 0.001).key_id == key.id
    with pytest.raises(Unauthenticated) as caught:
        ring.authenticate(secret, NOW_S)
    assert caught.value.message == Unauthenticated.default_message


# --- The first key ------------------------------------------------------------------------------


async def test_first_start_draws_a_key_and_tells_it_once() -> None:
    repository = MemoryKeys()
    secret = bootstrap_key(repository, 1.0)
    assert secret is not None
    assert (await ring_of(repository)).authenticate(secret, NOW_S).name == "bootstrap"
    assert bootstrap_key(repository, 2.0) is None
    assert len(repository.keys) == 1


async def test_a_chosen_first_key_is_not_told_and_starting_again_changes_nothing() -> None:
    repository = MemoryKeys()
    assert bootstrap_key(repository, 1.0, CHOSEN) is None
    assert bootstrap_key(repository, 2.0, CHOSEN) is None
    assert len(repository.keys) == 1
    assert (await ring_of(repository)).authenticate(CHOSEN, NOW_S).name == "bootstrap"


def test_another_chosen_value_is_another_key() -> None:
    repository = MemoryKeys()
    bootstrap_key(repository, 1.0, CHOSEN)
    bootstrap_key(repository, 1.0, CHOSEN + "-rotated")
    assert len(repository.keys) == 2


@pytest.mark.parametrize("chosen", [None, CHOSEN])
def test_a_first_key_is_in_the_audit_log_once_and_its_secret_is_not(chosen: str | None) -> None:
    repository = MemoryKeys()
    secret = bootstrap_key(repository, 1.0, chosen) or CHOSEN
    bootstrap_key(repository, 2.0, chosen)
    (event,) = repository.events
    (key,) = repository.keys
    assert (event.actor, event.action, event.subject) == ("server", "key.create", key.id)
    assert event.at_s == 1.0
    assert secret not in bytes(event.detail).decode()
    assert msgspec.json.decode(event.detail)["hint"] == key.hint


def test_a_chosen_key_that_was_revoked_does_not_rise_again() -> None:
    repository = MemoryKeys()
    bootstrap_key(repository, 1.0, CHOSEN)
    repository.revoke_key(repository.keys[0].id, 2.0)
    with pytest.raises(UnusableKey, match="was revoked; choose another") as caught:
        bootstrap_key(repository, 3.0, CHOSEN)
    assert CHOSEN not in str(caught.value)


def test_revoking_every_key_does_not_bring_a_new_one() -> None:
    repository = MemoryKeys()
    bootstrap_key(repository, 1.0)
    repository.revoke_key(repository.keys[0].id, 2.0)
    assert bootstrap_key(repository, 3.0) is None


def test_two_processes_that_start_with_one_value_make_one_key() -> None:
    class Overtaken(MemoryKeys):
        def list_keys(self) -> list[Key]:
            kept = super().list_keys()
            if not self.keys:  # the other process is a moment faster
                self.add_key(mint_key("bootstrap", 1.0, secret=CHOSEN)[1])
            return kept

    repository = Overtaken()
    assert bootstrap_key(repository, 1.0, CHOSEN) is None
    assert len(repository.keys) == 1


# --- Recognising them ---------------------------------------------------------------------------


async def test_a_key_is_recognised_without_reading_anything() -> None:
    secret, key = mint_key("laptop", 0.0)
    repository = MemoryKeys(key)
    ring = await ring_of(repository)
    for _ in range(3):
        assert not ring.is_stale()
        principal = ring.authenticate(secret, NOW_S)
    assert (principal.key_id, principal.name) == (key.id, "laptop")
    assert repository.reads == 1


async def test_a_ring_is_stale_until_it_is_loaded() -> None:
    secret, key = mint_key("n", 0.0)
    ring = KeyRing(MemoryKeys(key), HandClock())
    assert ring.is_stale()
    with pytest.raises(Unauthenticated):
        ring.authenticate(secret, NOW_S)


async def test_a_revoked_key_is_refused_at_once() -> None:
    secret, key = mint_key("n", 0.0)
    repository = MemoryKeys(key)
    ring = await ring_of(repository)
    repository.revoke_key(key.id, 1.0)
    assert ring.is_stale()
    await ring.refresh()
    with pytest.raises(Unauthenticated):
        ring.authenticate(secret, NOW_S)


async def test_a_new_key_is_taken_at_once() -> None:
    repository = MemoryKeys()
    ring = await ring_of(repository)
    secret, key = mint_key("n", 0.0)
    repository.add_key(key)
    assert ring.is_stale()
    await ring.refresh()
    assert ring.authenticate(secret, NOW_S).key_id == key.id


async def test_a_change_that_nobody_was_told_of_is_found_beside_the_requests() -> None:
    secret, key = mint_key("n", 0.0)
    repository, clock = MemoryKeys(key), HandClock()
    ring = await ring_of(repository, clock)
    repository.keys.clear()  # as if its process had died before it could tell
    clock.now_s += MAX_AGE_S - 0.1
    assert not ring.is_stale()
    await ring.loaded()
    assert ring.authenticate(secret, NOW_S).key_id == key.id
    clock.now_s += 0.1
    assert not ring.is_stale()  # nobody waits for it
    assert ring.authenticate(secret, NOW_S).key_id == key.id
    await ring.loaded()
    with pytest.raises(Unauthenticated):
        ring.authenticate(secret, NOW_S)


async def test_a_load_beside_the_requests_that_fails_is_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret, key = mint_key("n", 0.0)
    repository, clock = MemoryKeys(key), HandClock()
    ring = await ring_of(repository, clock)
    repository.failure = StoreUnavailable()
    clock.now_s += MAX_AGE_S
    assert not ring.is_stale()
    await ring.loaded()
    assert "keys could not be loaded" in caplog.text
    assert ring.authenticate(secret, NOW_S).key_id == key.id
    reads = repository.reads
    assert not ring.is_stale()
    await ring.loaded()
    assert repository.reads == reads
    repository.failure = None
    clock.now_s += MAX_AGE_S
    assert not ring.is_stale()
    await ring.loaded()
    assert repository.reads == reads + 1


async def test_many_keys_are_loaded_less_often() -> None:
    class Slow(MemoryKeys):
        def list_keys(self) -> list[Key]:
            clock.now_s += 0.5
            return super().list_keys()

    clock = HandClock()
    repository = Slow()
    ring = await ring_of(repository, clock)
    clock.now_s += 0.5 / MAX_LOADING_SHARE - 0.6
    assert not ring.is_stale()
    await ring.loaded()
    assert repository.reads == 1
    clock.now_s += 0.2
    assert not ring.is_stale()
    await ring.loaded()
    assert repository.reads == 2


async def test_what_has_not_changed_is_not_made_anew() -> None:
    secret, key = mint_key("n", 0.0)
    repository, clock = MemoryKeys(key), HandClock()
    ring = await ring_of(repository, clock)
    before = ring.authenticate(secret, NOW_S)
    repository.touch_keys([(key.id, 5.0)])
    repository.changes += 1
    await ring.refresh()
    assert repository.reads == 2
    assert ring.authenticate(secret, NOW_S) is before


async def test_a_change_during_a_load_is_loaded_after_it() -> None:
    repository = MemoryKeys()

    class Changing(MemoryKeys):
        def list_keys(self) -> list[Key]:
            kept = super().list_keys()
            self.changes += 1
            return kept

    changing = Changing()
    ring = KeyRing(changing, HandClock())
    await ring.refresh()
    assert ring.is_stale()
    assert not (await ring_of(repository)).is_stale()


async def test_requests_that_come_during_a_load_share_it() -> None:
    repository = MemoryKeys()
    ring = KeyRing(repository, HandClock())
    await asyncio.gather(*(ring.refresh() for _ in range(20)))
    assert repository.reads == 1


async def test_a_failed_load_leaves_the_ring_stale_and_can_be_tried_again() -> None:
    secret, key = mint_key("n", 0.0)
    repository = MemoryKeys(key)
    repository.failure = OSError("disk")
    ring = KeyRing(repository, HandClock())
    with pytest.raises(OSError, match="disk"):
        await ring.refresh()
    assert ring.is_stale()
    repository.failure = None
    await ring.refresh()
    assert ring.authenticate(secret, NOW_S).key_id == key.id


_SECRET, _KEY = mint_key("n", 0.0)
_RING = asyncio.run(ring_of(MemoryKeys(_KEY)))


@settings(deadline=None)
@given(
    st.text(max_size=MAX_SECRET_CHARS * 2) | st.text(st.characters(categories=["Cs"]), max_size=8)
)
def test_anything_else_is_refused_in_the_same_words(presented: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        _RING.authenticate(presented, NOW_S)
    assert caught.value.message == Unauthenticated.default_message


@settings(deadline=None)
@given(st.integers(0, len(_SECRET) - 1), st.characters(codec="ascii"))
def test_one_changed_character_is_enough_to_be_refused(position: int, other: str) -> None:
    changed = _SECRET[:position] + other + _SECRET[position + 1 :]
    if changed == _SECRET:
        assert _RING.authenticate(changed, NOW_S).key_id == _KEY.id
        return
    with pytest.raises(Unauthenticated):
        _RING.authenticate(changed, NOW_S)


def test_a_huge_secret_is_refused_without_being_hashed() -> None:
    with pytest.raises(Unauthenticated):
        _RING.authenticate("x" * (MAX_SECRET_CHARS + 1), NOW_S)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "revoke"]), st.integers(0, 4)), max_size=15))
def test_the_ring_knows_exactly_the_keys_that_are_valid(changes: list[tuple[str, int]]) -> None:
    made = [mint_key(str(number), 0.0) for number in range(5)]
    repository = MemoryKeys()
    ring = KeyRing(repository, HandClock())
    valid: set[int] = set()
    added: set[int] = set()

    async def follow() -> None:
        for change, number in changes:
            if change == "add" and number not in added:
                repository.add_key(made[number][1])
                valid.add(number)
                added.add(number)
            elif change == "revoke":
                repository.revoke_key(made[number][1].id, 1.0)
                valid.discard(number)
            if ring.is_stale():
                await ring.refresh()
            for each, (secret, key) in enumerate(made):
                if each in valid:
                    assert ring.authenticate(secret, NOW_S).key_id == key.id
                else:
                    with pytest.raises(Unauthenticated):
                        ring.authenticate(secret, NOW_S)

    asyncio.run(follow())


# --- With a real store --------------------------------------------------------------------------

REVOKE = """
import sys
from pathlib import Path
from dragoman.stores import open_store
store = open_store(Path(sys.argv[1]))
assert store.revoke_key(sys.argv[2], 2.0)
"""


def test_no_secret_is_in_any_file_of_the_store(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    secret = bootstrap_key(store, 1.0)
    assert secret is not None
    bootstrap_key(store, 1.0, CHOSEN)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert hash_secret(secret) in written
    assert hash_secret(CHOSEN) in written
    for each in (secret, CHOSEN):
        assert each.encode() not in written
        assert each[8:-4].encode() not in written
    store.close()


async def test_a_key_that_another_process_revokes_is_refused_at_the_next_request(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    secret, key = mint_key("n", 1.0)
    store.add_key(key)
    ring = KeyRing(store, HandClock())
    await ring.refresh()
    assert ring.authenticate(secret, NOW_S).key_id == key.id
    command = [sys.executable, "-c", REVOKE, str(tmp_path), key.id]
    await asyncio.to_thread(subprocess.run, command, check=True)
    assert ring.is_stale()
    await ring.refresh()
    with pytest.raises(Unauthenticated):
        ring.authenticate(secret, NOW_S)
    store.close()
