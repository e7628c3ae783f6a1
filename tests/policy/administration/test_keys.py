"""Keys: made once for each wish, rotated to the instant, and never shown twice."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.policy.administration.conftest import SetClock, actions, refused

from dragoman.errors import Conflict, InvalidRequest
from dragoman.policy.administration import (
    AccountWish,
    Administration,
    KeyChange,
    KeyWish,
    LimitsWish,
    RotationWish,
    ScopesWish,
)
from dragoman.policy.keys import hash_secret
from dragoman.stores import Store, open_store

DAY_S = 86400.0


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
