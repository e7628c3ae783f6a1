"""Keys: made once, kept hashed, recognised without I/O, refused as soon as they are revoked."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.errors import Conflict, Unauthenticated
from dragoman.policy.keys import (
    MAX_AGE_S,
    MAX_SECRET_CHARS,
    KeyRing,
    UnusableKey,
    bootstrap_key,
    hash_secret,
    mint_key,
)
from dragoman.records.key import Key, KeyId
from dragoman.stores import open_store

CHOSEN = "chosen-by-the-operator-0123456789"


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


class MemoryKeys:
    """A key repository in a list, which counts how often it is read."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)
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

    def generation(self) -> int:
        return self.changes


async def ring_of(repository: MemoryKeys, clock: HandClock | None = None) -> KeyRing:
    ring = KeyRing(repository, clock or HandClock())
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


# --- The first key ------------------------------------------------------------------------------


async def test_first_start_draws_a_key_and_tells_it_once() -> None:
    repository = MemoryKeys()
    secret = bootstrap_key(repository, 1.0)
    assert secret is not None
    assert (await ring_of(repository)).authenticate(secret).name == "bootstrap"
    assert bootstrap_key(repository, 2.0) is None
    assert len(repository.keys) == 1


async def test_a_chosen_first_key_is_not_told_and_starting_again_changes_nothing() -> None:
    repository = MemoryKeys()
    assert bootstrap_key(repository, 1.0, CHOSEN) is None
    assert bootstrap_key(repository, 2.0, CHOSEN) is None
    assert len(repository.keys) == 1
    assert (await ring_of(repository)).authenticate(CHOSEN).name == "bootstrap"


def test_another_chosen_value_is_another_key() -> None:
    repository = MemoryKeys()
    bootstrap_key(repository, 1.0, CHOSEN)
    bootstrap_key(repository, 1.0, CHOSEN + "-rotated")
    assert len(repository.keys) == 2


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
        principal = ring.authenticate(secret)
    assert (principal.key_id, principal.name) == (key.id, "laptop")
    assert repository.reads == 1


async def test_a_ring_is_stale_until_it_is_loaded() -> None:
    secret, key = mint_key("n", 0.0)
    ring = KeyRing(MemoryKeys(key), HandClock())
    assert ring.is_stale()
    with pytest.raises(Unauthenticated):
        ring.authenticate(secret)


async def test_a_revoked_key_is_refused_at_once() -> None:
    secret, key = mint_key("n", 0.0)
    repository = MemoryKeys(key)
    ring = await ring_of(repository)
    repository.revoke_key(key.id, 1.0)
    assert ring.is_stale()
    await ring.refresh()
    with pytest.raises(Unauthenticated):
        ring.authenticate(secret)


async def test_a_new_key_is_taken_at_once() -> None:
    repository = MemoryKeys()
    ring = await ring_of(repository)
    secret, key = mint_key("n", 0.0)
    repository.add_key(key)
    assert ring.is_stale()
    await ring.refresh()
    assert ring.authenticate(secret).key_id == key.id


async def test_a_change_that_nobody_was_told_of_is_found_in_time() -> None:
    secret, key = mint_key("n", 0.0)
    repository, clock = MemoryKeys(key), HandClock()
    ring = await ring_of(repository, clock)
    repository.keys.clear()  # as if its process had died before it could tell
    clock.now_s += MAX_AGE_S
    assert not ring.is_stale()
    clock.now_s += 0.1
    assert ring.is_stale()
    await ring.refresh()
    with pytest.raises(Unauthenticated):
        ring.authenticate(secret)


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
    assert ring.authenticate(secret).key_id == key.id


_SECRET, _KEY = mint_key("n", 0.0)
_RING = asyncio.run(ring_of(MemoryKeys(_KEY)))


@settings(deadline=None)
@given(
    st.text(max_size=MAX_SECRET_CHARS * 2) | st.text(st.characters(categories=["Cs"]), max_size=8)
)
def test_anything_else_is_refused_in_the_same_words(presented: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        _RING.authenticate(presented)
    assert caught.value.message == Unauthenticated.default_message


@settings(deadline=None)
@given(st.integers(0, len(_SECRET) - 1), st.characters(codec="ascii"))
def test_one_changed_character_is_enough_to_be_refused(position: int, other: str) -> None:
    changed = _SECRET[:position] + other + _SECRET[position + 1 :]
    if changed == _SECRET:
        assert _RING.authenticate(changed).key_id == _KEY.id
        return
    with pytest.raises(Unauthenticated):
        _RING.authenticate(changed)


def test_a_huge_secret_is_refused_without_being_hashed() -> None:
    with pytest.raises(Unauthenticated):
        _RING.authenticate("x" * (MAX_SECRET_CHARS + 1))


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
                    assert ring.authenticate(secret).key_id == key.id
                else:
                    with pytest.raises(Unauthenticated):
                        ring.authenticate(secret)

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
    assert ring.authenticate(secret).key_id == key.id
    command = [sys.executable, "-c", REVOKE, str(tmp_path), key.id]
    await asyncio.to_thread(subprocess.run, command, check=True)
    assert ring.is_stale()
    await ring.refresh()
    with pytest.raises(Unauthenticated):
        ring.authenticate(secret)
    store.close()
