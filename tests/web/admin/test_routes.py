"""Every route of the admin API, through the whole application."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import Any

import pytest
from tests.stores.kept_usage import sample
from tests.web.admin.conftest import Office

from dragoman.policy.administration.usage import UsageSum
from dragoman.policy.keys import hash_secret

DOLLAR = 1_000_000_000


async def make_account(office: Office, name: str = "acme", **fields: Any) -> str:
    account = await office.json("POST", "/accounts", {"name": name, **fields}, expect=201)
    return str(account["id"])


async def actions(office: Office) -> list[str]:
    return [e["action"] for e in (await office.json("GET", "/audit"))["data"]]


# --- Accounts, members, plans -------------------------------------------------------------------


async def test_an_account_lives(office: Office) -> None:
    account_id = await make_account(office, monthly_limit="100.5", time_zone="Europe/Vienna")
    path = f"/accounts/{account_id}"
    changed = await office.json("PATCH", path, {"monthly_limit_nano_usd": 5, "name": "Acme"})
    assert (changed["name"], changed["monthly_limit"]) == ("Acme", "0.000000005")
    assert changed["created_at"] == "2023-11-14T22:13:20Z"
    assert (await office.json("PATCH", path, {"monthly_limit": None}))["monthly_limit"] is None
    assert (await office.json("POST", f"{path}/suspend"))["suspended_at"] is not None
    assert (await office.json("POST", f"{path}/resume"))["suspended_at"] is None
    standing = await office.json("GET", path)
    assert standing["account"]["id"] == account_id
    assert standing["balance"]["free"] == "0.00"
    assert {a["id"] for a in (await office.json("GET", "/accounts"))["data"]} == {
        "acct_default",
        account_id,
    }


async def test_the_same_wish_makes_one_account(office: Office) -> None:
    first = await office.call(
        "POST", "/accounts", {"name": "a"}, expect=201, idempotency_key="wish"
    )
    again = await office.call(
        "POST", "/accounts", {"name": "a"}, expect=200, idempotency_key="wish"
    )
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    await office.call("POST", "/accounts", {"name": "b"}, expect=409, idempotency_key="wish")


async def test_members_come_and_go(office: Office) -> None:
    path = f"/accounts/{await make_account(office)}/members"
    wish = {"email": "ann@example.com", "role": "developer"}
    member = await office.json("POST", path, wish, expect=201)
    await office.call("POST", path, wish, expect=409)
    changed = await office.json("PATCH", f"{path}/{member['id']}", {"role": "owner"})
    assert (await office.json("GET", path))["data"] == [changed]
    gone = await office.call("DELETE", f"{path}/{member['id']}", expect=204)
    assert gone.content == b""
    await office.call("DELETE", f"{path}/{member['id']}", expect=404)


async def test_plans_are_put_and_deleted(office: Office) -> None:
    plan = await office.json(
        "PUT", "/plans/basic", {"limits": {"requests_per_minute": 60}, "models": ["s"]}
    )
    assert plan["models"] == ["small"]
    assert plan["limits"] == {
        "requests_per_minute": 60,
        "tokens_per_minute": None,
        "concurrent_requests": None,
    }
    assert (await office.json("GET", "/plans"))["data"] == [plan]
    assert await office.json("GET", "/plans/basic") == plan
    account_id = await make_account(office, plan_id="basic")
    await office.call("DELETE", "/plans/basic", expect=409)
    await office.json("PATCH", f"/accounts/{account_id}", {"plan_id": None})
    await office.call("DELETE", "/plans/basic", expect=204)


async def test_the_secret_of_alerts_is_told_to_administrators(office: Office) -> None:
    path = f"/accounts/{await make_account(office)}/webhook-secret"
    secret = (await office.json("GET", path))["secret"]
    assert secret.startswith("whsec_")
    assert (await office.json("GET", path))["secret"] == secret
    other = (await office.json("GET", "/accounts/acct_default/webhook-secret"))["secret"]
    assert other != secret


# --- Keys ---------------------------------------------------------------------------------------


async def test_a_key_lives(office: Office) -> None:
    account_id = await make_account(office)
    made = await office.json(
        "POST",
        "/keys",
        {
            "name": "ci",
            "account_id": account_id,
            "scopes": {"models": ["s"], "networks": ["10.0.0.0/8"]},
            "limits": {"tokens_per_minute": 1000},
            "expires_at": "2099-01-01T00:00:00+02:00",
        },
        expect=201,
    )
    key = made["key"]
    assert key["expires_at"] == "2098-12-31T22:00:00Z"
    assert key["scopes"]["models"] == ["small"]
    path = f"/keys/{key['id']}"
    assert (await office.json("GET", path)) == key
    assert "secret" not in json.dumps(await office.json("GET", "/keys"))
    changed = await office.json("PATCH", path, {"name": "cd", "expires_at": None})
    assert (changed["name"], changed["expires_at"]) == ("cd", None)
    rotated = await office.json("POST", f"{path}/rotate", {"grace_s": 60}, expect=201)
    assert rotated["key"]["replaces"] == key["id"]
    assert rotated["replaced"]["expires_at"] == "2023-11-14T22:14:20Z"
    assert rotated["secret"] != made["secret"]
    revoked = await office.json("DELETE", f"/keys/{rotated['key']['id']}")
    assert revoked["revoked_at"] is not None
    listed = (await office.json("GET", f"/keys?account_id={account_id}"))["data"]
    assert [k["id"] for k in listed] == [key["id"]]
    everything = (await office.json("GET", f"/keys?account_id={account_id}&revoked=true"))["data"]
    assert len(everything) == 2
    admins = (await office.json("GET", "/keys?kind=admin"))["data"]
    assert [k["id"] for k in admins] == [office.key_id]


async def test_the_same_wish_makes_one_key(office: Office) -> None:
    body = {"name": "ci", "creation_token": "t"}
    first = await office.json("POST", "/keys", body, expect=201)
    assert await office.json("POST", "/keys", body) == first
    in_header = await office.json("POST", "/keys", {"name": "ci"}, idempotency_key="t")
    assert in_header == first
    kept = office.administration.keys.find(first["key"]["id"])
    assert kept.hash == hash_secret(first["secret"])
    await office.call("POST", "/keys", body, expect=400, idempotency_key="other")


async def test_a_change_is_seen_by_the_gate_at_once(office: Office) -> None:
    made = await office.json("POST", "/keys", {"name": "second", "kind": "admin"}, expect=201)
    await office.call("GET", "/keys", expect=200, key=made["secret"])
    await office.call("DELETE", f"/keys/{made['key']['id']}", expect=200)
    await office.call("GET", "/keys", expect=401, key=made["secret"])


# --- Money --------------------------------------------------------------------------------------


async def test_money_comes_and_goes(office: Office) -> None:
    account_id = await make_account(office)
    path = f"/accounts/{account_id}"
    top_up = {"amount": "25.00", "note": "invoice 7"}
    entry = await office.json("POST", f"{path}/top-ups", top_up, expect=201, idempotency_key="p1")
    assert (entry["amount_nano_usd"], entry["amount"]) == (25 * DOLLAR, "25.00")
    again = await office.json("POST", f"{path}/top-ups", top_up, idempotency_key="p1")
    assert again == entry
    down = {"amount": "-5", "note": "chargeback"}
    await office.json("POST", f"{path}/adjustments", down, expect=201, idempotency_key="a1")
    back = {"amount_nano_usd": 7}
    refused = await office.json("POST", f"{path}/refunds", back, expect=409, idempotency_key="r1")
    assert "adjust" in refused["error"]["message"]
    office.keep([sample(1, account=account_id, cost=7)], is_prepaid=True)
    await office.json("POST", f"{path}/refunds", back, expect=201, idempotency_key="r1")
    balance = await office.json("GET", f"{path}/balance")
    assert (balance["free"], balance["held"], balance["month"]) == (
        "20.00",
        "0.00",
        "2023-11",
    )
    assert balance in (await office.json("GET", "/balances"))["data"]
    kinds = [e["kind"] for e in (await office.json("GET", f"{path}/ledger"))["data"]]
    assert kinds == ["refund", "settlement", "hold", "adjustment", "top_up"]
    assert (await actions(office))[:3] == [
        "credits.refund",
        "credits.adjustment",
        "credits.top_up",
    ]


async def test_a_top_up_needs_an_idempotency_key(office: Office) -> None:
    answer = await office.json(
        "POST", "/accounts/acct_default/top-ups", {"amount": "1"}, expect=400
    )
    assert answer["error"]["param"] == "Idempotency-Key"
    assert office.administration.money.entries() == []


async def test_sixteen_equal_top_ups_at_once_are_one(office: Office) -> None:
    account_id = await make_account(office)

    async def pay() -> int:
        answer = await office.call(
            "POST", f"/accounts/{account_id}/top-ups", {"amount": "1.5"}, idempotency_key="pay_1"
        )
        return answer.status_code

    statuses = await asyncio.gather(*(pay() for _ in range(16)))
    assert sorted(statuses) == [200] * 15 + [201]
    assert (await office.json("GET", f"/accounts/{account_id}/balance"))["total"] == "1.50"
    assert len((await office.json("GET", f"/accounts/{account_id}/ledger"))["data"]) == 1
    assert (await actions(office)).count("credits.top_up") == 1


async def test_a_request_is_refunded_once(office: Office) -> None:
    account_id = await make_account(office)
    path = f"/accounts/{account_id}"
    await office.call("POST", f"{path}/top-ups", {"amount": "1"}, expect=201, idempotency_key="p")
    office.keep([sample(1, account=account_id, cost=700)], is_prepaid=True)
    await office.call(
        "POST", f"{path}/refunds", {"request_id": "req_1", "amount_nano_usd": 701}, expect=409
    )
    entry = await office.json("POST", f"{path}/refunds", {"request_id": "req_1"}, expect=201)
    assert (entry["amount_nano_usd"], entry["request_id"]) == (700, "req_1")
    assert await office.json("POST", f"{path}/refunds", {"request_id": "req_1"}) == entry
    other = await office.json(
        "POST", f"{path}/refunds", {"request_id": "req_1", "amount_nano_usd": 1}, expect=409
    )
    assert other["error"]["param"] == "request_id"
    await office.call("POST", "/accounts/acct_default/refunds", {"request_id": "req_1"}, expect=404)


async def test_what_the_house_paid_for_is_not_refunded(office: Office) -> None:
    office.keep([sample(1, cost=700)])
    path = "/accounts/acct_default"
    answer = await office.json("POST", f"{path}/refunds", {"request_id": "req_1"}, expect=409)
    assert answer["error"]["param"] == "request_id"
    assert (await office.json("GET", f"{path}/balance"))["total_nano_usd"] == 0


async def test_the_ledger_is_walked_page_by_page(office: Office) -> None:
    for number in range(5):
        await office.call(
            "POST",
            "/accounts/acct_default/top-ups",
            {"amount_nano_usd": number + 1},
            expect=201,
            idempotency_key=f"p{number}",
        )
    amounts: list[int] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        page = await office.json("GET", f"/ledger?limit=2&cursor={cursor}")
        amounts += [e["amount_nano_usd"] for e in page["data"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert amounts == [5, 4, 3, 2, 1]
    assert pages == 3


# --- Prices and models --------------------------------------------------------------------------


async def test_prices_are_set_and_shown_with_their_models(office: Office) -> None:
    models = (await office.json("GET", "/models"))["data"]
    assert [(m["id"], m["provider"], m["price"]) for m in models] == [
        ("small", "p", None),
        ("vendor/large", "q", None),
    ]
    wish = {"model": "vendor/large", "tiers": [{"input": 150_000_000, "output": 600_000_000}]}
    price = await office.json("POST", "/prices", wish, expect=201)
    assert price["tiers"][0]["cached_input"] == 150_000_000
    assert await office.json("POST", "/prices", wish) == price
    assert (await office.json("GET", "/prices?model=vendor/large"))["data"] == [price]
    office.clock.now_s += 2
    models = (await office.json("GET", "/models"))["data"]
    assert models[1]["price"] == price


# --- Usage --------------------------------------------------------------------------------------


@pytest.fixture
def kept(office: Office) -> Office:
    office.keep(
        [
            sample(1, cost=5, started_s=1_699_999_990.0, labels=(("team", "red"),)),
            sample(2, cost=7, started_s=1_699_999_991.0, user="=HYPERLINK(1)"),
            sample(3, cost=0, started_s=1_699_999_992.0, status="failed"),
        ],
    )
    return office


async def test_usage_is_filtered_and_paged(kept: Office) -> None:
    page = await kept.json("GET", "/usage?limit=2")
    assert [row["request_id"] for row in page["data"]] == ["req_3", "req_2"]
    rest = await kept.json("GET", f"/usage?limit=2&cursor={page['next_cursor']}")
    assert [row["request_id"] for row in rest["data"]] == ["req_1"]
    assert rest["data"][0]["labels"] == {"team": "red"}
    for query, found in (
        ("label=team:red", ["req_1"]),
        ("status=failed", ["req_3"]),
        ("user=%3DHYPERLINK(1)", ["req_2"]),
        ("account_id=acct_nobody", []),
        ("from=2023-11-14T22:13:12Z", ["req_3"]),
        ("to=2023-11-14T22:13:11Z", ["req_1"]),
    ):
        page = await kept.json("GET", f"/usage?{query}")
        assert [row["request_id"] for row in page["data"]] == found, query
    row = await kept.json("GET", "/usage/req_2")
    assert (row["cost_nano_usd"], row["cost"]) == (7, "0.000000007")
    await kept.call("GET", "/usage/req_9", expect=404)


async def test_usage_is_summed_up(kept: Office) -> None:
    sums = await kept.json("GET", "/usage/groups?group_by=day,status")
    assert [(g["by"], g["requests"], g["cost_nano_usd"]) for g in sums["data"]] == [
        ({"day": "2023-11-14", "status": "failed"}, 1, 0),
        ({"day": "2023-11-14", "status": "ok"}, 2, 12),
    ]
    # The same names as in what clients and the command line are told.
    assert set(sums) == {"data", "has_more"}
    assert set(sums["data"][0]) == set(UsageSum.__struct_fields__)
    by_label = await kept.json("GET", "/usage/groups?group_by=label:team")
    assert {g["by"]["label:team"]: g["requests"] for g in by_label["data"]}["red"] == 1


async def test_an_export_adds_up_to_the_ledger(kept: Office) -> None:
    lines = (await kept.call("GET", "/usage/export", expect=200)).text.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["request_id"] for row in rows] == ["req_1", "req_2", "req_3"]
    settled = sum(
        e["amount_nano_usd"]
        for e in (await kept.json("GET", "/ledger?limit=1000"))["data"]
        if e["kind"] in ("settlement", "grant")
    )
    assert sum(row["cost_nano_usd"] for row in rows) == settled == 12
    answer = await kept.call("GET", "/usage/export?format=csv", expect=200)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert sum(int(row["cost_nano_usd"]) for row in table) == 12
    assert table[1]["user"] == "'=HYPERLINK(1)"


async def test_an_export_of_nothing_is_a_file_of_nothing(office: Office) -> None:
    assert (await office.call("GET", "/usage/export", expect=200)).content == b""
    only_names = await office.call("GET", "/usage/export?format=csv", expect=200)
    assert only_names.text.startswith("request_id,started_at,")
    assert len(only_names.text.splitlines()) == 1


# --- Audit --------------------------------------------------------------------------------------


async def test_every_change_is_told_of_with_its_actor(office: Office) -> None:
    account_id = await make_account(office)
    events = (await office.json("GET", f"/audit?subject={account_id}"))["data"]
    assert [(e["action"], e["actor"]) for e in events] == [("account.create", office.key_id)]
    assert events[0]["detail"]["name"] == "acme"
    page = await office.json("GET", "/audit?limit=1")
    assert (await office.json("GET", f"/audit?cursor={page['next_cursor']}&limit=1"))["data"]


# --- Pages --------------------------------------------------------------------------------------


async def walk(office: Office, path: str) -> list[str]:
    """The ids of everything, page by page; every page but the last is full."""
    ids: list[str] = []
    cursor: str | None = "0"
    while cursor is not None:
        page = await office.json("GET", f"{path}limit=2&cursor={cursor}")
        cursor = page["next_cursor"]
        assert len(page["data"]) == 2 or cursor is None
        ids += [item["id"] if "id" in item else item["account_id"] for item in page["data"]]
    return ids


async def test_lists_are_walked_page_by_page(office: Office) -> None:
    made = [await make_account(office, f"a{number}") for number in range(4)]
    for path in ("/accounts?", "/balances?"):
        assert sorted(await walk(office, path)) == sorted(["acct_default", *made])
    keys = []
    for number in range(5):
        key = await office.json("POST", "/keys", {"name": f"k{number}"}, expect=201)
        keys.append(key["key"]["id"])
    for key_id in keys[:3]:
        await office.call("DELETE", f"/keys/{key_id}", expect=200)
    everything = await walk(office, "/keys?revoked=true&")
    assert len(everything) == len(set(everything)) == 7
    assert set(everything) - set(await walk(office, "/keys?")) == set(keys[:3])
    assert (await office.json("GET", "/keys?cursor=1000"))["data"] == []


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/usage?acount_id=acct_default", "acount_id"),
        ("/usage/export?form=2026-01-01", "form"),
        ("/keys?account_id=a&account_id=b", "account_id"),
        ("/accounts/acct_default?verbose=1", "verbose"),
    ],
)
async def test_a_filter_that_is_misspelt_does_not_choose_everything(
    office: Office, path: str, param: str
) -> None:
    answer = await office.json("GET", path, expect=400)
    assert answer["error"]["param"] == param


async def test_a_missing_body_is_named(office: Office) -> None:
    answer = await office.json("POST", "/accounts", expect=400)
    assert answer["error"]["message"].startswith("There is no body.")
