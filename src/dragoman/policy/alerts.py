"""How an account's owner is told: what is sent, how it is signed, and when it is tried again.

The body is the alert as it was written when money moved, with an id that stays the same over all attempts, so
that a receiver can tell a repetition. Each attempt is signed anew, with its time, so that nobody can replay an
old one. The secret is one for each account, derived from the server's own: nothing has to be kept.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

import msgspec

from dragoman.records.account import AccountId
from dragoman.records.alert import Alert

SECRET_NAME = "alerts"  # noqa: S105 - the name under which the server keeps its secret
WEBHOOK_SECRET_PREFIX = "whsec_"  # noqa: S105 - the part that is no secret
SIGNATURE_HEADER = "Dragoman-Signature"
DELIVERY_HEADER = "Dragoman-Delivery"

LAST_ATTEMPT_S = 24 * 3600.0
"""From when the alert was raised."""
FIRST_PAUSE_S = 10.0
MAX_PAUSE_S = 3600.0


class UndeliverableAlert(Exception):
    """It will never arrive, however often it is tried; the message says why."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, ready to be sent."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        # A webhook's path may be a secret.
        return f"Delivery({len(self.body)} bytes)"


def webhook_secret(server_secret: bytes, account_id: AccountId) -> str:
    """What the account's owner checks signatures with."""
    return WEBHOOK_SECRET_PREFIX + _mac(server_secret, f"webhook {account_id}")


def sign(secret: str, body: bytes, at_s: int) -> str:
    """The signature header's value: the time in seconds, and a MAC over time and body."""
    signed = b"%d." % at_s + body
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={mac}"


def prepare(
    alert: Alert, url: str | None, server_secret: bytes, now_s: float, *, allow_private: bool
) -> Delivery:
    """What to send. Raises `UndeliverableAlert`."""
    if url is None:
        raise UndeliverableAlert("the account has no webhook")
    if not allow_private and urlsplit(url).scheme != "https":
        raise UndeliverableAlert("the webhook is not https://, and webhook_allow_private is false")
    delivery_id = _delivery_id(server_secret, alert)
    payload = bytes(alert.payload)
    # An object into another: nothing but its first bracket changes.
    rest = payload[1:] if payload[1:2] == b"}" else b"," + payload[1:]
    body = b'{"id":"%s"' % delivery_id.encode() + rest
    secret = webhook_secret(server_secret, alert.account_id)
    headers = (
        ("Content-Type", "application/json"),
        ("User-Agent", "Dragoman"),
        (DELIVERY_HEADER, delivery_id),
        (SIGNATURE_HEADER, sign(secret, body, int(now_s))),
    )
    return Delivery(url=url, headers=headers, body=body)


def retry_s(alert: Alert, now_s: float, chance: float) -> float | None:
    """When to try again what has just failed; `None`: not any more.

    Pauses double up to an hour; `chance`, from 0 to 1, shortens them by up to a half, so that what failed
    together is not tried together. The last attempt is a day after the alert.
    """
    last_s = alert.created_s + LAST_ATTEMPT_S
    if now_s >= last_s:
        return None
    # Doubled 20 times it is far past the bound.
    pause_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * (1 << min(alert.attempts, 20)))
    return min(last_s, now_s + pause_s * (1 - chance / 2))


def _delivery_id(server_secret: bytes, alert: Alert) -> str:
    """An alert may be raised again on the same occasion, in the same row: its time tells them apart."""
    what = f"delivery {alert.account_id} {alert.occasion} {alert.created_s!r}"
    return f"dlv_{_mac(server_secret, what)[:24]}"


def _mac(server_secret: bytes, text: str) -> str:
    return hmac.new(server_secret, text.encode(), hashlib.sha256).hexdigest()
