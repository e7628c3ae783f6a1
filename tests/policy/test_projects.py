"""Which project a request names, who may ask it, and what answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.pipeline.house import FixedClock
from tests.policy.project_books import (
    ACCOUNT,
    ProjectStoreInMemory,
    attached,
    campaign,
    opened_book,
    project,
    template,
)

from dragoman.chat import ChatRequest, Message, RequestContext, Sampling, Text
from dragoman.errors import (
    DragomanError,
    Forbidden,
    InvalidRequest,
    StoreUnavailable,
    UnknownEntity,
)
from dragoman.policy.campaigns.assignment import arm_for, assign
from dragoman.policy.projects import ProjectBook, Route, is_guest, require_project
from dragoman.policy.routing import ModelDirectory
from dragoman.policy.snapshots import MAX_AGE_S
from dragoman.records.account import Account, AccountId, Plan, PlanId
from dragoman.records.campaign import Arm
from dragoman.records.key import KeyId, Scopes
from dragoman.records.limits import Limits
from dragoman.records.model import Model
from dragoman.records.principal import Principal
from dragoman.records.tool_server import ToolServer

MODELS = ModelDirectory(
    [
        Model(id=name, provider="p", upstream_name=name, aliases=aliases)
        for name, aliases in (("gpt", ("gpt-alias",)), ("claude", ()), ("org/llama", ()))
    ],
    default_model="gpt",
)
PRINCIPAL = Principal(key_id=KeyId("key_1"), name="mine", account=ACCOUNT)
SESSION = "11111111-1111-4111-8111-111111111111"


async def book_of(*args: Any, **fields: Any) -> ProjectBook:
    return await opened_book(ProjectStoreInMemory(*args, **fields), MODELS, FixedClock())


def asking(target: str | None, **context: Any) -> ChatRequest:
    return ChatRequest(
        dialect="studio",
        target=target,
        messages=(Message("user", (Text("hi"),)),),
        context=RequestContext(**context),
    )


def principal(**fields: Any) -> Principal:
    return msgspec.structs.replace(PRINCIPAL, **fields)


def routed(
    book: ProjectBook, target: str | None, who: Principal = PRINCIPAL, **context: Any
) -> Route:
    route = book.route(asking(target, **context), who, "req_1")
    assert route is not None
    return route


def refused(
    book: ProjectBook, target: str | None, who: Principal = PRINCIPAL, **context: Any
) -> DragomanError:
    with pytest.raises(DragomanError) as caught:
        book.route(asking(target, **context), who, "req_1")
    return caught.value


SHOP = project("shop", attached("fast", "gpt"), attached("org/llama"), attached("old", "gone"))


async def test_a_project_is_named_alone_or_with_one_of_its_models() -> None:
    book = await book_of([SHOP])
    assert routed(book, "shop").model.id == "gpt"
    assert routed(book, "shop/fast").attached.key == "fast"
    assert routed(book, "shop/org/llama").model.id == "org/llama"
    assert routed(book, "shop", principal(project="shop")).project is SHOP


async def test_what_names_no_project_is_no_route() -> None:
    book = await book_of([SHOP])
    for name in ("gpt", "", "/", "/fast", "Shop", "shopping", "shop "):
        assert book.route(asking(name), PRINCIPAL, "req_1") is None


async def test_models_that_a_project_lacks_are_named_with_those_that_there_are() -> None:
    book = await book_of([SHOP, project("empty")])
    for name, said in (
        ("shop/none", "has no model 'none'"),
        ("shop/", "has no model ''"),
        ("shop/old", "does not know any more"),
        ("empty", "has no default model"),
    ):
        error = refused(book, name)
        assert isinstance(error, UnknownEntity)
        assert said in error.message
        assert error.param == "model"
    assert "'shop/fast'" in refused(book, "shop/none").message
    assert len(refused(book, "shop/" + "x" * 100_000).message) < 400


async def test_an_archived_project_answers_nothing() -> None:
    error = refused(await book_of([msgspec.structs.replace(SHOP, archived_s=5.0)]), "shop/fast")
    assert isinstance(error, UnknownEntity)
    assert (error.entity, error.param) == ("project", "model")


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ({"account": Account(id=AccountId("acct_b"), name="b")}, "belongs to another account"),
        ({"project": "other"}, "bound to 'other'"),
        ({"scopes": Scopes(projects=())}, "scopes do not list it"),
        ({"scopes": Scopes(projects=("other",))}, "scopes do not list it"),
    ],
)
async def test_whoever_may_not_use_a_project_is_told_its_name(who: Any, said: str) -> None:
    book = await book_of([SHOP])
    error = refused(book, "shop/fast", principal(**who))
    assert isinstance(error, Forbidden)
    assert "'shop'" in error.message
    assert said in error.message
    with pytest.raises(Forbidden):
        require_project(principal(**who), SHOP)
    assert book.usable(principal(**who)) == []


async def test_a_key_may_use_what_its_scopes_list() -> None:
    book = await book_of([SHOP])
    who = principal(scopes=Scopes(projects=("other", "shop")), project="shop")
    assert routed(book, "shop", who).project is SHOP
    require_project(who, SHOP)


async def test_a_key_bound_to_a_project_goes_there_where_no_model_is_named() -> None:
    book = await book_of([SHOP])
    assert routed(book, None, principal(project="shop")).model.id == "gpt"
    assert book.route(asking(None), PRINCIPAL, "req_1") is None
    # Keys had free words for projects before there were any.
    for label in ("a label", "shop/fast", ""):
        assert book.route(asking(None), principal(project=label), "req_1") is None


async def test_only_projects_and_models_that_a_key_may_ask_are_listed() -> None:
    other = project("other", attached("gpt"), account_id=AccountId("acct_b"))
    archived = project("archived", attached("gpt"), archived_s=1.0)
    book = await book_of([SHOP, other, archived, project("empty")])
    (shop,) = book.usable(PRINCIPAL)
    assert (shop[0].key, [key for key, _ in shop[1]]) == ("shop", ["fast", "org/llama"])
    (shop,) = book.usable(principal(models=frozenset({"org/llama"})))
    assert [key for key, _ in shop[1]] == ["org/llama"]
    assert book.usable(principal(models=frozenset())) == []


# --- Prompts and sampling ---


async def test_the_prompt_is_the_active_version_of_the_attached_models_template() -> None:
    shop = project("shop", attached("fast", "gpt", template="tone"), attached("plain", "gpt"))
    tones = template("tone", "one", "two", active=1)
    book = await book_of([shop], templates=[tones])
    route = routed(book, "shop")
    assert (route.template, route.version) == (tones, tones.versions[0])
    assert routed(book, "shop/plain").version is None


async def test_a_template_that_is_gone_is_a_fault_of_ours() -> None:
    shop = project("shop", attached("fast", "gpt", template="tone"))
    error = refused(await book_of([shop]), "shop")
    assert error.status == 500
    assert error.detail is not None
    assert "tone" not in error.message


async def test_an_arms_sampling_and_version_go_before_the_attached_models() -> None:
    shop = project(
        "shop",
        attached("fast", "gpt", template="tone", sampling=Sampling(temperature=0.1, seed=1)),
        attached("slow", "claude"),
    )
    tones = template("tone", "one", "two")
    spring = campaign(
        Arm(key="A", model="fast", template_version=1, sampling=Sampling(temperature=0.9, top_k=4)),
        Arm(key="B", model="slow"),
    )
    book = await book_of([shop], templates=[tones], campaigns=[spring])
    by_arm = {}
    for number in range(40):
        route = routed(book, "shop", user=f"user-{number}")
        assert route.entry is not None
        by_arm[route.entry.arm.key] = route
    assert by_arm["A"].sampling == Sampling(temperature=0.9, top_k=4, seed=1)
    assert by_arm["A"].version == tones.versions[0]
    assert by_arm["B"].attached.key == "slow"
    assert by_arm["B"].sampling == Sampling()
    plain = routed(book, "shop/fast")
    assert plain.sampling == Sampling(temperature=0.1, seed=1)
    assert plain.version == tones.versions[1]


# --- Campaigns ---

TWO = project("shop", attached("fast", "gpt"), attached("slow", "claude"), attached("other", "gpt"))
SPRING = campaign(Arm(key="A", model="fast"), Arm(key="B", model="slow"))


async def test_a_request_that_names_no_model_enters_by_the_split_and_stays_with_its_arm() -> None:
    half = msgspec.structs.replace(SPRING, traffic_split=0.5)
    book = await book_of([TWO], campaigns=[half])
    met = set()
    for number in range(60):
        user = f"user-{number}"
        expected = assign(half, f"user:{user}")
        for _ in range(2):
            entry = routed(book, "shop", user=user).entry
            assert (None if entry is None else entry.arm.key) == expected
            assert entry is None or (entry.unit, entry.by) == (f"user:{user}", "split")
        met.add(expected)
    assert met == {None, "A", "B"}


async def test_the_unit_is_the_session_then_the_user_then_the_request() -> None:
    book = await book_of([TWO], campaigns=[SPRING])
    for context, unit in (
        ({"session_id": SESSION, "user": "u"}, f"session:{SESSION}"),
        ({"user": "u"}, "user:u"),
        ({}, "request:req_1"),
    ):
        entry = routed(book, "shop", **context).entry  # type: ignore[arg-type]
        assert entry is not None
        assert entry.unit == unit


async def test_an_explicit_model_never_enters_unless_the_campaign_is_named_too() -> None:
    book = await book_of([TWO], campaigns=[SPRING])
    assert routed(book, "shop/fast", user="u").entry is None
    for name in (SPRING.id, SPRING.id.upper(), SPRING.key):
        route = routed(book, "shop/slow", user="u", campaign=name)
        assert route.entry is not None
        assert (route.entry.arm.key, route.entry.by) == ("B", "request")
        assert route.model.id == "claude"


async def test_naming_a_campaign_bypasses_the_split_and_keeps_the_units_arm() -> None:
    closed = msgspec.structs.replace(SPRING, traffic_split=0.0)
    book = await book_of([TWO], campaigns=[closed])
    assert routed(book, "shop", user="u").entry is None
    for number in range(20):
        entry = routed(book, "shop", user=f"{number}", campaign="spring").entry
        assert entry is not None
        assert entry.arm.key == arm_for(closed, f"user:{number}")


async def test_campaigns_that_cannot_be_entered_are_refused_by_name() -> None:
    ended = campaign(*SPRING.arms, key="winter", status="DONE")
    foreign = campaign(*SPRING.arms, key="foreign", project_key="other")
    others = project("other", attached("gpt"))
    book = await book_of([TWO, others], campaigns=[SPRING, ended, foreign])
    for name in ("summer", "foreign", foreign.id, ""):
        error = refused(book, "shop", campaign=name)
        assert isinstance(error, UnknownEntity)
        assert (error.entity, error.param, error.status) == ("ab_campaign", "ab_campaign", 404)
    for name in (ended.key, ended.id):
        error = refused(book, "shop", campaign=name)
        assert isinstance(error, InvalidRequest)
        assert error.param == "ab_campaign"
        assert "ended" in error.message
    error = refused(book, "shop/other", campaign="spring")
    assert isinstance(error, InvalidRequest)
    assert error.param == "model"
    assert "'fast', 'slow'" in error.message


async def test_a_key_that_may_not_meet_every_arm_enters_none_by_the_split() -> None:
    book = await book_of([TWO], campaigns=[SPRING])
    for number in range(20):
        who = principal(models=frozenset({"gpt"}))
        assert routed(book, "shop", who, user=f"{number}").entry is None
    both = principal(models=frozenset({"gpt", "claude"}))
    assert routed(book, "shop", both, user="u").entry is not None


async def test_a_unit_whose_arms_model_was_detached_is_answered_and_stays_with_its_arm() -> None:
    book = await book_of([project("shop", attached("fast", "gpt"))], campaigns=[SPRING])
    met = set()
    for number in range(30):
        route = routed(book, "shop", user=f"{number}")
        assert route.model.id == "gpt"
        assert route.entry is not None
        met.add(route.entry.arm.key)
    assert met == {"A", "B"}


async def test_ended_campaigns_take_nobody_in() -> None:
    done = msgspec.structs.replace(SPRING, status="DONE")
    book = await book_of([TWO], campaigns=[done])
    assert routed(book, "shop", user="u").entry is None


# --- Without a key ---

PUBLIC = Limits(requests_per_minute=5)


async def test_a_public_project_has_a_guest_within_its_limits_whom_its_account_pays() -> None:
    shop = msgspec.structs.replace(SHOP, public=PUBLIC)
    plan = Plan(
        id=PlanId("small"),
        name="small",
        limits=Limits(requests_per_minute=50),
        models=("gpt", "claude"),
    )
    account = msgspec.structs.replace(ACCOUNT, plan_id=plan.id)
    book = await book_of([shop], accounts=[account], plans=[plan])
    assert book.has_guests
    guest = book.guest_of("shop/fast")
    assert guest is book.guest_of("shop")
    assert guest is not None
    assert is_guest(guest)
    assert not is_guest(PRINCIPAL)
    assert (guest.key_id, guest.project, guest.account) == ("public:shop", "shop", account)
    assert guest.key_limits is PUBLIC
    assert guest.account_limits == plan.limits
    assert guest.models == frozenset({"gpt", "claude"})
    assert routed(book, "shop", guest).model.id == "gpt"


async def test_nothing_else_has_a_guest() -> None:
    shop = msgspec.structs.replace(SHOP, public=PUBLIC)
    book = await book_of([shop, project("private", attached("gpt"))])
    for name in ("private", "private/gpt", "gpt", "", "none", "gpt-alias"):
        assert book.guest_of(name) is None
    guest = book.guest_of("shop")
    assert guest is not None
    assert isinstance(refused(book, "private", guest), Forbidden)
    for closed in (
        await book_of([msgspec.structs.replace(shop, archived_s=1.0)]),
        await book_of([shop], accounts=[msgspec.structs.replace(ACCOUNT, suspended_s=1.0)]),
        await book_of([shop], accounts=[]),
        await book_of([SHOP]),
    ):
        assert not closed.has_guests
        assert closed.guest_of("shop") is None


# --- Loading ---


async def test_a_change_by_any_process_holds_for_the_next_request() -> None:
    store = ProjectStoreInMemory([SHOP])
    book = await opened_book(store, MODELS, FixedClock())
    assert not book.is_stale()
    store.change(msgspec.structs.replace(SHOP, default_model="org/llama"))
    assert book.is_stale()
    await book.refresh()
    assert not book.is_stale()
    assert routed(book, "shop").model.id == "org/llama"
    loads = store.loads
    await book.refresh()
    assert store.loads == loads


async def test_what_nobody_told_of_is_found_beside_the_requests() -> None:
    store, clock = ProjectStoreInMemory([SHOP]), FixedClock()
    book = await opened_book(store, MODELS, clock)
    guest_free = routed(book, "shop").project
    clock.now_s += MAX_AGE_S
    assert not book.is_stale()
    await book.loaded()
    assert routed(book, "shop").project is guest_free
    store.projects = [msgspec.structs.replace(SHOP, public=PUBLIC)]
    clock.now_s += MAX_AGE_S
    assert not book.is_stale()
    await book.loaded()
    assert book.has_guests


async def test_a_store_that_cannot_be_read_leaves_what_is_known() -> None:
    store, clock = ProjectStoreInMemory([SHOP]), FixedClock()
    book = await opened_book(store, MODELS, clock)

    def failing() -> list[Any]:
        raise StoreUnavailable(detail="the disk is gone")

    store.list_projects = failing  # type: ignore[method-assign]
    clock.now_s += MAX_AGE_S
    assert not book.is_stale()
    await book.loaded()
    assert routed(book, "shop").project is SHOP
    store.change()
    with pytest.raises(StoreUnavailable):
        await book.refresh()
    assert book.is_stale()


async def test_tool_servers_are_the_same_object_until_one_changes() -> None:
    store = ProjectStoreInMemory([SHOP], tool_servers=[ToolServer(key="t", kind="http")])
    book = await opened_book(store, MODELS, FixedClock())
    servers = book.tool_servers
    store.change(project("another"))
    await book.refresh()
    assert book.tool_servers is servers
    store.tool_servers = [ToolServer(key="u", kind="http")]
    store.change()
    await book.refresh()
    assert [server.key for server in book.tool_servers] == ["u"]
