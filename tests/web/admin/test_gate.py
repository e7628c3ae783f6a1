"""Who is let in to administer, what is told to everybody else, and what nobody may send."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from tests.web.admin.conftest import Office, SetClock

from dragoman.errors import RateLimited
from dragoman.policy.administration import KeyWish, ScopesWish
from dragoman.web.admin.gate import MAX_ADDRESSES, MAX_FAILURES, WINDOW_S, Failures


async def test_an_admin_key_opens_in_either_header(office: Office) -> None:
    for headers in (
        {"authorization": f"Bearer {office.secret}"},
        {"x-api-key": office.secret},
    ):
        answer = await office.client.get("/admin/v1/accounts", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/admin/v1/accounts", "/admin/v1/nothing", "/admin/x"])
async def test_no_key_is_401_whatever_the_path(office: Office, path: str) -> None:
    answer = await office.client.get(path)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_clients_key_is_told_what_it_is(office: Office) -> None:
    answer = await office.json("GET", "/accounts", expect=403, key=office.client_secret)
    assert answer["error"]["type"] == "permission_error"
    assert "admin key" in answer["error"]["message"]


async def test_an_admin_key_is_bound_to_its_networks(office: Office) -> None:
    for network, status in (("10.0.0.0/8", 403), ("192.0.2.0/24", 200)):
        made = office.administration.keys.create(
            KeyWish(name="near", kind="admin", scopes=ScopesWish(networks=(network,)))
        )
        await office.call("GET", "/accounts", expect=status, key=made.secret)


async def test_an_expired_admin_key_is_refused_to_the_instant(office: Office) -> None:
    made = office.administration.keys.create(KeyWish(name="brief", kind="admin", expires_in_s=60))
    office.clock.now_s += 59.9
    await office.call("GET", "/accounts", expect=200, key=made.secret)
    office.clock.now_s += 0.1
    await office.call("GET", "/accounts", expect=401, key=made.secret)


async def test_failures_are_throttled_and_sound_keys_are_not(office: Office) -> None:
    for _ in range(MAX_FAILURES):
        await office.call("GET", "/accounts", expect=401, key="drg_admin_wrong")
    office.clock.now_s += 20.5
    answer = await office.call("GET", "/accounts", expect=429, key="drg_admin_wrong")
    assert answer.headers["retry-after"] == "40"
    await office.call("GET", "/accounts", expect=200)
    office.clock.now_s += 39.5
    await office.call("GET", "/accounts", expect=401, key="drg_admin_wrong")


def test_failures_of_one_address_are_not_anothers() -> None:
    failures = Failures(SetClock())
    for _ in range(MAX_FAILURES):
        failures.count("192.0.2.1")
        failures.count("2001:db8::1")
    failures.count("192.0.2.2")
    for address in ("192.0.2.1", "2001:db8::2"):
        with pytest.raises(RateLimited) as error:
            failures.count(address)
        assert error.value.retry_after_s == WINDOW_S
    failures.count("2001:db8:0:1::1")


def test_what_is_kept_of_failures_is_bounded() -> None:
    failures = Failures(SetClock())
    for number in range(MAX_ADDRESSES + 100):
        failures.count(f"address {number}")
    assert len(failures._by_address) == MAX_ADDRESSES


async def test_unknown_paths_and_methods_are_told_in_the_same_shape(office: Office) -> None:
    unknown = await office.json("GET", "/nothing", expect=404)
    assert unknown["error"]["code"] == 404
    assert "/admin/v1/docs" in unknown["error"]["message"]
    wrong = await office.call("PUT", "/accounts", {}, expect=405)
    assert wrong.json()["error"]["type"] == "invalid_request_error"
    assert set(wrong.headers["allow"].split(", ")) >= {"GET", "POST"}
    nobody = await office.json("GET", "/accounts/acct_none", expect=404)
    assert nobody["error"]["param"] == "account_id"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b'"x"', None),
        (b"\xff\xfe", None),
        (b'{"name": "\xff"}', None),
        (b"{}", None),
        (b"[" * 100_000, None),
        (b'{"name":' + b"[" * 100_000, None),
        (b'{"name": "a", "nmae": 1}', None),
        (b'{"name": 7}', "name"),
        (b'{"name": "a", "monthly_limit_nano_usd": 1e400}', None),
        (b'{"name": "a", "monthly_limit_nano_usd": 1e18}', "monthly_limit_nano_usd"),
        (
            b'{"name": "a", "monthly_limit_nano_usd": ' + b"9" * 5000 + b"}",
            None,
        ),
        (b'{"name": "a", "monthly_limit": 5}', "monthly_limit"),
        (b'{"name": "a", "alerts": {"month_percent": [1, 200]}}', "alerts.month_percent[1]"),
        (b'{"name": "a\\u0000b"}', "name"),
        (b'{"name": "\\ud800"}', None),
    ],
)
async def test_a_hostile_body_is_a_400_that_names_the_field(
    office: Office, body: bytes, param: str | None
) -> None:
    answer = await office.json("POST", "/accounts", body, expect=400)
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["param"] == param
    assert len(answer["error"]["message"]) < 500
    assert len(office.administration.accounts.list_all()) == 1


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/ledger?cursor=abc", "cursor"),
        ("/ledger?cursor=-1", "cursor"),
        ("/ledger?cursor=" + "9" * 19, "cursor"),
        ("/ledger?cursor=" + "9" * 10_000, "cursor"),
        ("/ledger?cursor=%D9%A3", "cursor"),
        ("/ledger?limit=0", "limit"),
        ("/ledger?limit=1001", "limit"),
        ("/ledger?limit=many", "limit"),
        ("/usage?from=yesterday", "from"),
        ("/usage?from=2026-11-22T00:00:00", "from"),
        ("/usage?from=2026-11-22T00:00:00Z&to=2026-11-22T00:00:00Z", "from"),
        ("/usage?status=odd", "status"),
        ("/usage?label=unnamed", "label"),
        ("/usage/groups?group_by=nothing", "group_by"),
        ("/usage/groups?group_by=day,model,key", "group_by"),
        ("/usage/export?format=xml", "format"),
        ("/keys?kind=root", "kind"),
    ],
)
async def test_a_hostile_query_is_a_400_that_names_the_parameter(
    office: Office, path: str, param: str
) -> None:
    answer = await office.json("GET", path, expect=400)
    assert answer["error"]["param"] == param


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE keys; --", '" OR 1=1', "%_", "名前", "🙂" * 200, "<script>", "../.."]
)
async def test_names_are_only_text(office: Office, name: str) -> None:
    made = await office.json("POST", "/accounts", {"name": name}, expect=201)
    assert made["name"] == name
    assert (await office.json("GET", f"/accounts/{made['id']}"))["account"]["name"] == name
    found: Any = await office.json("GET", "/usage", expect=200)
    assert found["data"] == []


async def test_hostile_ids_in_paths_are_only_unknown(office: Office) -> None:
    for path in (
        "/accounts/'%20OR%201=1--",
        "/accounts/%00",
        "/keys/%F0%9F%99%82",
        "/usage/..%2F..%2Fetc",
        "/plans/" + "x" * 150,
        "/accounts/%C3%28",
    ):
        await office.call("GET", path, expect=404)


async def test_a_body_of_more_than_a_mebibyte_is_refused(office: Office) -> None:
    answer = await office.json("POST", "/accounts", b" " * ((1 << 20) + 1), expect=413)
    assert answer["error"]["code"] == 413


async def test_a_form_is_refused_as_a_body(office: Office) -> None:
    answer = await office.call(
        "POST",
        "/accounts",
        b"name=a",
        expect=400,
        content_type="application/x-www-form-urlencoded",
    )
    assert "JSON" in answer.json()["error"]["message"]


async def test_json_is_taken_whatever_its_content_type(office: Office) -> None:
    await office.call("POST", "/accounts", {"name": "a"}, expect=201, content_type="text/plain")


async def test_an_idempotency_key_has_bounds(office: Office) -> None:
    for key in (b"x" * 256, b"\xe4", b""):
        answer = await office.client.post(
            "/admin/v1/accounts/acct_default/top-ups",
            json={"amount": "1"},
            headers={
                b"authorization": f"Bearer {office.secret}".encode(),
                b"idempotency-key": key,
            },
        )
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "Idempotency-Key"
    assert office.administration.money.entries() == []


def test_the_mount_imports_neither_litestar_nor_sql() -> None:
    code = (
        "import dragoman.web.admin.mount, dragoman.web.admin.gate, sys;"
        "print([m for m in ('litestar', 'sqlalchemy', 'alembic', 'pydantic') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
