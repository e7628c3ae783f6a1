"""The door: whose key it is, from where it may come, and what it may be used for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.policy.test_keys import NOW_S, HandClock, MemoryKeys

from dragoman.errors import Forbidden, Unauthenticated
from dragoman.policy.keys import KeyRing, mint_key
from dragoman.policy.networks import is_within, parse_network
from dragoman.records.key import ALL_SCOPES, KeyId, Scopes
from dragoman.web.call import Call
from dragoman.web.door import TOUCH_PERIOD_S, Door

REQUEST_ID = "req_0123456789abcdef01234567"

SECRET, KEY = mint_key("laptop", 0.0)


async def nothing(*_: Any) -> Any:
    raise AssertionError("the door reads no body and answers nothing")


def call(
    secret: str | None = SECRET, *, peer: str | None = "192.0.2.7", forwarded: tuple[str, ...] = ()
) -> Call:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    if secret is not None:
        headers.append((b"authorization", b"Bearer " + secret.encode()))
    scope = {
        "method": "POST",
        "path": "/",
        "headers": headers,
        "client": None if peer is None else (peer, 1234),
    }
    return Call(scope, nothing, nothing, REQUEST_ID)


def door(
    scopes: Scopes = ALL_SCOPES,
    *,
    clock: HandClock | None = None,
    trusted: tuple[str, ...] = (),
    touched: list[tuple[KeyId, float]] | None = None,
) -> Door:
    clock = clock or HandClock()
    repository = MemoryKeys(msgspec.structs.replace(KEY, scopes=scopes))
    return Door(
        KeyRing(repository, clock),
        clock,
        touch=None if touched is None else lambda key_id, at_s: touched.append((key_id, at_s)),
        trusted_proxies=[parse_network(text) for text in trusted],
    )


async def test_a_key_opens_and_its_absence_is_counted() -> None:
    ours = door()
    assert (await ours.authenticate(call())).key_id == KEY.id
    assert ours.refusals == 0
    for secret in (None, "wrong"):
        with pytest.raises(Unauthenticated):
            await ours.authenticate(call(secret))
    assert ours.refusals == 2


async def test_a_key_is_bound_to_its_dialects() -> None:
    ours = door(Scopes(dialects=("studio", "anthropic")))
    assert (await ours.authenticate(call(), "studio")).key_id == KEY.id
    assert (await ours.authenticate(call())).key_id == KEY.id  # no conversation
    with pytest.raises(Forbidden, match="dialect 'openai', but in studio, anthropic"):
        await ours.authenticate(call(), "openai")
    with pytest.raises(Forbidden, match="but in none"):
        await door(Scopes(dialects=())).authenticate(call(), "openai")


@pytest.mark.parametrize(
    ("networks", "peer"),
    [
        (("10.0.0.0/8",), "10.200.3.4"),
        (("10.0.0.0/8",), "::ffff:10.200.3.4"),
        (("::ffff:10.0.0.0/104",), "10.200.3.4"),
        (("2001:db8::/32",), "2001:db8::1"),
        (("fe80::/10",), "fe80::1%eth0"),
        (("192.0.2.7",), "192.0.2.7"),
        (("10.0.0.0/8", "0.0.0.0/0"), "192.0.2.7"),
    ],
)
async def test_a_key_opens_from_its_networks(networks: tuple[str, ...], peer: str) -> None:
    assert (await door(Scopes(networks=networks)).authenticate(call(peer=peer))).key_id == KEY.id


@pytest.mark.parametrize(
    ("networks", "peer"),
    [
        (("10.0.0.0/8",), "11.0.0.1"),
        (("10.0.0.0/8",), "::10.0.0.1"),
        (("10.0.0.0/8",), None),
        (("10.0.0.0/8",), "not an address"),
        (("::/0",), "10.0.0.1"),
        ((), "10.0.0.1"),
        (("what an older version let in",), "10.0.0.1"),
    ],
)
async def test_a_key_opens_from_nowhere_else(networks: tuple[str, ...], peer: str | None) -> None:
    with pytest.raises(Forbidden, match="bound to networks") as caught:
        await door(Scopes(networks=networks)).authenticate(call(peer=peer))
    assert networks == () or networks[0] not in caught.value.message


INSIDE = Scopes(networks=("10.0.0.0/8",))
PROXIES = ("192.0.2.0/24", "2001:db8::/32")


@pytest.mark.parametrize(
    ("forwarded", "is_inside"),
    [
        (("10.1.1.1",), True),
        (("203.0.113.9, 10.1.1.1",), True),  # the proxy was asked from within
        (("10.1.1.1, 203.0.113.9",), False),  # the first is the asker's own invention
        (("10.1.1.1, 192.0.2.99",), True),  # through two proxies of ours
        (("10.1.1.1", "192.0.2.99"), True),  # the same in two headers
        (("10.1.1.1", "203.0.113.9"), False),
        (("10.1.1.1:4711",), True),
        (("203.0.113.9:4711",), False),
        (("[2001:db8::5]:4711",), False),
        (("10.1.1.1, [2001:db8::5]:4711",), True),
        ((" , ,10.1.1.1 ,",), True),
        (("unknown",), False),
        (("10.1.1.1, unknown",), False),
        ((), False),
        (("",), False),
        (("10.1.1.1" + ", 192.0.2.1" * 1000,), False),
        (("x" * 60_000,), False),
    ],
)
async def test_trusted_proxies_are_believed(forwarded: tuple[str, ...], is_inside: bool) -> None:
    asking = door(INSIDE, trusted=PROXIES).authenticate(call(forwarded=forwarded))
    if is_inside:
        assert (await asking).key_id == KEY.id
        return
    with pytest.raises(Forbidden) as caught:
        await asking
    assert len(caught.value.message) < 250


async def test_nobody_else_is_believed() -> None:
    for ours in (door(INSIDE), door(INSIDE, trusted=("198.51.100.0/24",))):
        with pytest.raises(Forbidden, match=r"192\.0\.2\.7"):
            await ours.authenticate(call(forwarded=("10.1.1.1",)))


async def test_use_is_noted_once_a_minute_and_only_where_the_door_opens() -> None:
    clock, touched = HandClock(), list[tuple[KeyId, float]]()
    ours = door(clock=clock, touched=touched)
    for _ in range(3):
        await ours.authenticate(call())
    with pytest.raises(Unauthenticated):
        await ours.authenticate(call("wrong"))
    assert touched == [(KEY.id, NOW_S)]
    clock.now_s += TOUCH_PERIOD_S
    await ours.authenticate(call())
    assert touched == [(KEY.id, NOW_S), (KEY.id, NOW_S + TOUCH_PERIOD_S)]
    touched.clear()
    with pytest.raises(Forbidden):
        await door(Scopes(dialects=()), touched=touched).authenticate(call(), "openai")
    assert touched == []


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "10.0.0", "example.com", "10.0.0.0/8, x"])
def test_what_is_no_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"like 10\.0\.0\.0/8"):
        parse_network(text)


def test_an_address_may_have_bits_beyond_the_network() -> None:
    assert is_within("10.255.0.1", [parse_network("10.1.2.3/8")])
