"""What is sent to an account's webhook, how it is signed, and when it is tried again."""

from __future__ import annotations

import hashlib
import hmac
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.policy.alerts import (
    FIRST_PAUSE_S,
    LAST_ATTEMPT_S,
    MAX_PAUSE_S,
    Delivery,
    UndeliverableAlert,
    prepare,
    retry_s,
    sign,
    webhook_secret,
)
from dragoman.records.account import AccountId
from dragoman.records.alert import Alert

SERVER_SECRET = b"s" * 32
NOW_S = 1_800_000_000.5
URL = "https://hooks.example/it?token=hidden"


def alert(payload: bytes = b'{"kind":"balance_below"}', **changes: object) -> Alert:
    made = Alert(
        sequence=7,
        account_id=AccountId("acct_1"),
        occasion="balance_below:5",
        payload=msgspec.Raw(payload),
        created_s=NOW_S - 60,
    )
    return msgspec.structs.replace(made, **changes)


def delivery(one: Alert, now_s: float = NOW_S) -> Delivery:
    return prepare(one, URL, SERVER_SECRET, now_s, allow_private=False)


def test_a_receiver_can_check_the_signature_with_what_the_admin_is_shown() -> None:
    sent = delivery(alert())
    header = dict(sent.headers)["Dragoman-Signature"]
    time, mac = (part.partition("=")[2] for part in header.split(","))
    secret = webhook_secret(SERVER_SECRET, AccountId("acct_1"))
    signed = time.encode() + b"." + sent.body
    assert hmac.compare_digest(mac, hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest())
    assert time == "1800000000"


def test_the_signature_is_of_time_and_body_and_secret() -> None:
    known = sign("whsec_1", b"{}", 1)
    assert known == f"t=1,v1={hmac.new(b'whsec_1', b'1.{}', hashlib.sha256).hexdigest()}"
    assert len({known, sign("whsec_2", b"{}", 1), sign("whsec_1", b"{ }", 1)}) == 3
    assert sign("whsec_1", b"{}", 2).partition(",")[2] != known.partition(",")[2]


def test_each_account_has_a_secret_of_its_own() -> None:
    secrets = {
        webhook_secret(server, AccountId(account))
        for server in (b"a" * 32, b"b" * 32)
        for account in ("acct_1", "acct_2")
    }
    assert len(secrets) == 4
    assert all(secret.startswith("whsec_") and len(secret) == 70 for secret in secrets)


def test_id_and_body_stay_the_same_over_attempts_and_differ_between_alerts() -> None:
    first, later = delivery(alert()), delivery(alert(attempts=3), NOW_S + 500)
    assert first.body == later.body
    assert dict(first.headers)["Dragoman-Delivery"] == dict(later.headers)["Dragoman-Delivery"]
    assert dict(first.headers)["Dragoman-Signature"] != dict(later.headers)["Dragoman-Signature"]
    # The balance fell below the same threshold another time.
    again = delivery(alert(created_s=NOW_S - 30))
    assert again.body != first.body


@pytest.mark.parametrize("payload", [b"{}", b'{"a":1}', '{"account_name":"Zoë \\"x\\""}'.encode()])
def test_the_body_is_the_alert_with_its_id(payload: bytes) -> None:
    sent = delivery(alert(payload))
    delivery_id = dict(sent.headers)["Dragoman-Delivery"]
    assert json.loads(sent.body) == {"id": delivery_id, **json.loads(payload)}


def test_a_webhook_is_called_over_tls_only() -> None:
    with pytest.raises(UndeliverableAlert, match="webhook_allow_private"):
        prepare(alert(), "http://hooks.example/", SERVER_SECRET, NOW_S, allow_private=False)
    open_one = prepare(alert(), "http://hooks.example/", SERVER_SECRET, NOW_S, allow_private=True)
    assert open_one.url == "http://hooks.example/"
    with pytest.raises(UndeliverableAlert, match="no webhook"):
        prepare(alert(), None, SERVER_SECRET, NOW_S, allow_private=True)


def test_a_webhooks_address_is_not_in_the_text_of_a_delivery() -> None:
    assert "hidden" not in repr(delivery(alert()))


@given(st.integers(0, 10**6), st.floats(0, LAST_ATTEMPT_S * 2), st.floats(0, 1))
def test_pauses_grow_up_to_an_hour_and_end_after_a_day(
    attempts: int, age_s: float, chance: float
) -> None:
    one = alert(attempts=attempts)
    now_s = one.created_s + age_s
    again_s = retry_s(one, now_s, chance)
    if now_s >= one.created_s + LAST_ATTEMPT_S:
        assert again_s is None
        return
    assert again_s is not None
    assert now_s < again_s <= one.created_s + LAST_ATTEMPT_S
    assert again_s - now_s <= MAX_PAUSE_S + 1e-6


def test_a_receiver_that_is_down_for_a_day_is_asked_some_thirty_times() -> None:
    one, now_s, pauses = alert(), NOW_S - 60, []
    while (again_s := retry_s(one, now_s, 0.0)) is not None:
        pauses.append(again_s - now_s)
        now_s, one = again_s, msgspec.structs.replace(one, attempts=one.attempts + 1)
    assert pauses[:4] == [FIRST_PAUSE_S, 20.0, 40.0, 80.0]
    assert 25 <= len(pauses) <= 40
    assert now_s == one.created_s + LAST_ATTEMPT_S
