"""What every store promises, whatever database is beneath it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.errors import Conflict
from dragoman.records.key import Key, KeyId
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
