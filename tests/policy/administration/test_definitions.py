"""What the settings file says, beside what others changed: neither undoes the other's work unasked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.administration.conftest import actions

from dragoman.policy.administration import (
    Administration,
    MemberWish,
    MetricChange,
    ProjectChange,
    ProjectWish,
    RightWish,
    TemplateVersionWish,
    TemplateWish,
)
from dragoman.policy.administration.definition_values import encoded
from dragoman.policy.administration.definitions import (
    Definitions,
    FileApplied,
    State,
    canonical_project,
    compare,
    merge,
    origins,
)
from dragoman.policy.administration.project_wishes import (
    AttachedModelWish,
    ProjectDefinition,
    SamplingWish,
    ToolServerWish,
)
from dragoman.policy.routing import ModelDirectory
from dragoman.records.model import Model
from dragoman.stores import Store

DIRECTORY = ModelDirectory(
    [
        Model(id="small", provider="p", upstream_name="s", aliases=("s",)),
        Model(id="large", provider="p", upstream_name="l"),
    ],
    "small",
)

WHOLE: dict[str, Any] = {
    "key": "support",
    "models": [
        {
            "model": "s",
            "key": "fast",
            "sampling": {"temperature": 0.5},
            "max_ttft_ms": 100,
            "template": "greeting",
            "tools": [{"id": "orders"}, {"id": "orders/find", "enabled": False}],
        },
        {"model": "large"},
    ],
    "rights": [{"member": "Ann@example.com", "right": "edit"}],
    "content": {"keep_days": 30, "redact": [{"kind": "email"}]},
    "templates": [
        {"key": "greeting", "text": "Be {{tone}}.", "arguments": [{"name": "tone", "default": "kind"}]}
    ],
    "metrics": [{"key": "helpful", "kind": "bool"}],
}  # fmt: skip
SERVER: dict[str, Any] = {
    "key": "orders",
    "kind": "http",
    "url": "https://tools.example.com",
    "headers": {"authorization": "env:TOOL_TOKEN", "accept-language": "en"},
    "tools": [{"name": "find", "path": "/find"}],
}

Change = Callable[[dict[str, Any]], object]
Apply = Callable[..., FileApplied]


def project(**changes: Any) -> ProjectDefinition:
    return msgspec.convert(WHOLE | changes, ProjectDefinition)


def server(**changes: Any) -> ToolServerWish:
    return msgspec.convert(SERVER | changes, ToolServerWish)


def changed(change: Change | None) -> ProjectDefinition:
    """`WHOLE`, in canonical form, with a change made to it."""
    table = msgspec.json.decode(msgspec.json.encode(WHOLE))
    if change is not None:
        change(table)
    return canonical_project(msgspec.convert(table, ProjectDefinition), DIRECTORY, ())


def differing(
    file: Change | None, applied: Change | None, now: Change | None
) -> dict[str, tuple[State, Any, Any]]:
    found = compare(changed(file), encoded(changed(applied)), changed(now))
    return {
        each.path.removeprefix("projects.support."): (each.state, _plain(each.file), _plain(each.current))
        for each in found
        if each.state != "same"
    }  # fmt: skip


def _plain(value: msgspec.Raw | None) -> Any:
    return None if value is None else msgspec.json.decode(value)


def ttft(ms: int | None) -> Change:
    def change(table: dict[str, Any]) -> None:
        table["models"][0]["max_ttft_ms"] = ms
        if ms is None:
            del table["models"][0]["max_ttft_ms"]

    return change


# --- Comparing ----------------------------------------------------------------------------------

TTFT = "models.fast.max_ttft_ms"


@pytest.mark.parametrize(
    ("file", "applied", "now", "expected"),
    [
        (100, 100, 100, None),
        (200, 100, 200, None),
        (200, 100, 100, ("file_changed", 200, 100)),
        (None, 100, 100, ("file_changed", None, 100)),
        (100, 100, 200, ("api_changed", 100, 200)),
        (100, 100, None, ("api_changed", 100, None)),
        (300, 100, 200, ("both_changed", 300, 200)),
        (None, 100, 200, ("both_changed", None, 200)),
        (100, None, None, ("only_file", 100, None)),
        (None, None, 100, ("only_api", None, 100)),
    ],
)
def test_one_value_has_the_state_that_the_three_give_it(
    file: int | None, applied: int | None, now: int | None, expected: object
) -> None:
    found = differing(ttft(file), ttft(applied), ttft(now))
    assert found == ({} if expected is None else {TTFT: expected})


def without(name: str, index: int) -> Change:
    return lambda table: table[name].pop(index)


def with_tool(enabled: bool) -> Change:
    return lambda table: table["models"][0]["tools"][1].update(enabled=enabled)


def with_text(text: str) -> Change:
    def change(table: dict[str, Any]) -> None:
        table["templates"][0].update(text=text, arguments=[])

    return change


@pytest.mark.parametrize(
    ("file", "applied", "now", "expected"),
    [
        # A model, right or tool that is taken out of the file goes, unless others changed it.
        (without("models", 1), None, None, {"models.large.model": "file_changed"}),
        (without("rights", 0), None, None, {'rights."Ann@example.com".right': "file_changed"}),
        (None, None, without("models", 1), {"models.large.model": "api_changed"}),
        (None, without("models", 1), without("models", 1), {"models.large.model": "only_file"}),
        (without("models", 1), without("models", 1), None, {"models.large.model": "only_api"}),
        (with_tool(True), None, None, {"models.fast.tools.orders/find.enabled": "file_changed"}),
        (None, None, with_tool(True), {"models.fast.tools.orders/find.enabled": "api_changed"}),
        # What feedback and interactions refer to stays.
        (without("metrics", 0), None, None, {"metrics.helpful.kind": "only_api", "metrics.helpful.name": "only_api"}),
        # A template's text and arguments go together.
        (
            with_text("Be."),
            None,
            None,
            {"templates.greeting.text": "file_changed", "templates.greeting.arguments.tone.default": "file_changed"},
        ),
        (
            None,
            None,
            with_text("Be."),
            {"templates.greeting.text": "api_changed", "templates.greeting.arguments.tone.default": "api_changed"},
        ),
    ],
)  # fmt: skip
def test_items_come_and_go_as_a_whole(
    file: Change | None, applied: Change | None, now: Change | None, expected: dict[str, State]
) -> None:
    found = differing(file, applied, now)
    assert {path: state for path, (state, _, _) in found.items()} == expected


def test_a_model_that_both_touched_is_not_taken_away_in_part() -> None:
    keeps_default: Change = lambda table: table.update(default_model="large")  # noqa: E731

    def taken_away(table: dict[str, Any]) -> None:
        keeps_default(table)
        del table["models"][0]

    def shortened(table: dict[str, Any]) -> None:
        keeps_default(table)
        ttft(200)(table)

    found = differing(taken_away, keeps_default, shortened)
    assert len(found) > 3
    assert {state for state, _, _ in found.values()} == {"both_changed"}
    before, now = encoded(changed(keeps_default)), changed(shortened)
    assert merge(changed(taken_away), before, now, force=False) == now
    assert merge(changed(taken_away), before, now, force=True) == changed(taken_away)


def test_what_was_never_applied_belongs_to_others() -> None:
    found = compare(changed(ttft(200)), None, changed(ttft(100)))
    assert [each.state for each in found if each.state != "same"] == ["api_changed"]


def test_what_the_file_said_in_an_older_form_can_still_be_compared() -> None:
    old = msgspec.Raw(
        b'{"key":"support","models":[{"key":"fast","gone":1},{"no":1},2],"unknown":{"x":[1]}}'
    )
    assert compare(changed(None), old, changed(None))
    assert merge(changed(None), old, changed(None), force=True) == changed(None)
    assert compare(changed(None), msgspec.Raw(b"[]"), changed(None))


def test_values_that_may_be_secret_are_not_shown() -> None:
    (hidden,) = [
        each
        for each in compare(
            server(headers={"accept-language": "de"}),
            encoded(server(headers={})),
            server(headers={}),
        )
        if each.state != "same"
    ]
    assert (hidden.path, hidden.file) == (
        "tool_servers.orders.headers.accept-language",
        msgspec.Raw(b'"(hidden)"'),
    )
    shown = compare(server(), encoded(server(headers={})), server(headers={}))
    assert msgspec.Raw(b'"env:TOOL_TOKEN"') in [each.file for each in shown]


def test_each_value_has_an_origin() -> None:
    found = {each.path: each.origin for each in origins(changed(ttft(5)), encoded(changed(None)))}
    assert found["models.fast.max_ttft_ms"] == "API"
    assert found["models.fast.sampling.temperature"] == "file"
    assert "models.large.max_ttft_ms" not in found
    assert {each.origin for each in origins(changed(None), None)} == {"API"}


_CHANGES: list[Change | None] = [
    None, ttft(1), ttft(2), ttft(None), without("models", 0), without("models", 1), without("rights", 0),
    without("templates", 0), without("metrics", 0), with_tool(True), with_text("Be."), with_text("Be {{x}}."),
    lambda table: table.update(content={}), lambda table: table.update(name="N", public={"requests_per_minute": 1}),
    lambda table: table["models"].append({"model": "small", "key": "a.b"}),
]  # fmt: skip
_change = st.sampled_from(_CHANGES)


@given(_change, _change, _change, st.booleans())
def test_merging_is_sound(
    file: Change | None, applied: Change | None, now: Change | None, force: bool
) -> None:
    wanted, before, current = changed(file), encoded(changed(applied)), changed(now)
    merged = merge(wanted, before, current, force=force)
    again = {each.path: each.state for each in compare(wanted, encoded(wanted), merged)}
    # What followed is the same now; nothing follows any more, and force leaves only what has a history.
    assert not {"file_changed", "only_file", "both_changed"} & set(again.values())
    kept = {path for path, state in again.items() if state != "same"}
    was = {each.path: each.state for each in compare(wanted, before, current)}
    assert all(was[path] not in ("same", "file_changed", "only_file") for path in kept)
    if force:
        assert all(path.split(".")[2] in ("templates", "metrics") for path in kept)
    assert merge(wanted, encoded(wanted), merged, force=force) == merged
    if file is applied:
        assert merge(wanted, before, current, force=False) == current


# --- Applying -----------------------------------------------------------------------------------


@pytest.fixture
def apply(administration: Administration, store: Store) -> Apply:
    administration.accounts.add_member("acct_default", MemberWish(email="ann@example.com"))

    def apply(
        *projects: ProjectDefinition, servers: tuple[ToolServerWish, ...] = (), force: bool = False
    ) -> FileApplied:
        return definitions(administration, store, *projects, servers=servers).apply(force=force)

    return apply


def definitions(
    administration: Administration,
    store: Store,
    *projects: ProjectDefinition,
    servers: tuple[ToolServerWish, ...] = (),
) -> Definitions:
    return Definitions(administration, store, DIRECTORY, projects=projects, tool_servers=servers)


def model_named(administration: Administration, key: str) -> Any:
    return administration.projects.find("support").attached(key)


def test_a_whole_file_is_made_and_then_nothing_is_left_to_do(
    administration: Administration, store: Store, apply: Apply
) -> None:
    done = apply(project(), servers=(server(),))
    assert [each.path for each in done.changed] == ["tool_servers.orders", "projects.support"]
    assert (done.kept, done.failed) == ((), ())
    assert definitions(administration, store, project(), servers=(server(),)).differences() == []
    generation = store.generation()
    lines = len(actions(administration))
    assert apply(project(), servers=(server(),)) == FileApplied()
    assert store.generation() == generation
    assert len(actions(administration)) == lines


def test_the_file_is_followed_where_nobody_else_changed_anything(
    administration: Administration, apply: Apply
) -> None:
    apply(project(), servers=(server(),))
    administration.projects.change("support", ProjectChange(name="Help"))
    newer = changed(ttft(7))
    done = apply(newer, servers=(server(),))
    assert [each.path for each in done.changed] == ["projects.support.models.fast.max_ttft_ms"]
    assert [(each.path, each.state) for each in done.kept] == [
        ("projects.support.name", "api_changed")
    ]
    kept = administration.projects.find("support")
    assert kept.name == "Help"
    assert model_named(administration, "fast").max_ttft_ms == 7


def test_overwriting_makes_it_what_the_file_says(
    administration: Administration, apply: Apply, store: Store
) -> None:
    apply(project(), servers=(server(),))
    administration.projects.change("support", ProjectChange(name="Help"))
    administration.projects.attach("support", AttachedModelWish(model="small", key="more"))
    administration.templates.create("support", TemplateWish(key="other", text="x"))
    assert not apply(project(), servers=(server(),)).changed
    done = apply(project(), servers=(server(),), force=True)
    assert {each.path for each in done.changed} == {
        "projects.support.name",
        "projects.support.models.more.model",
    }
    # What interactions may refer to stays.
    assert [each.path for each in done.kept] == ["projects.support.templates.other.text"]
    assert administration.projects.find("support").name == "support"


def test_a_new_text_is_the_next_version_and_a_rollback_is_kept(
    administration: Administration, apply: Apply
) -> None:
    apply(project(), servers=(server(),))
    text = {"key": "greeting", "text": "Be {{tone}} now.", "note": "shorter"}
    apply(project(templates=[text]), servers=(server(),))
    kept = administration.templates.find("support", "greeting")
    assert (kept.active_version, kept.versions[1].note) == (2, "shorter")
    administration.templates.roll_back("support", "greeting")
    done = apply(project(templates=[text]), servers=(server(),))
    assert {each.state for each in done.kept} == {"api_changed"}
    assert administration.templates.find("support", "greeting").active_version == 1
    apply(project(templates=[text]), servers=(server(),), force=True)
    assert administration.templates.find("support", "greeting").active_version == 2


def test_a_version_made_over_the_api_is_kept(administration: Administration, apply: Apply) -> None:
    apply(project(), servers=(server(),))
    administration.templates.add_version("support", "greeting", TemplateVersionWish(text="Be."))
    done = apply(project(), servers=(server(),))
    assert not done.changed
    version = administration.templates.find("support", "greeting").version()
    assert version is not None
    assert version.text == "Be."


def test_an_alias_that_comes_to_mean_another_model_is_followed(
    administration: Administration, store: Store
) -> None:
    simple = ProjectDefinition(key="p", models=(AttachedModelWish(model="s", key="m"),))
    definitions(administration, store, simple).apply(force=False)
    moved = ModelDirectory(
        [
            Model(id="small", provider="p", upstream_name="s"),
            Model(id="large", provider="p", upstream_name="l", aliases=("s",)),
        ],
        "small",
    )
    later = Definitions(administration, store, moved, projects=(simple,), tool_servers=())
    (difference,) = later.differences()
    assert (difference.path, difference.state) == ("projects.p.models.m.model", "file_changed")


def test_what_is_gone_from_the_file_stays_and_is_told(
    administration: Administration, apply: Apply
) -> None:
    apply(project(), servers=(server(),))
    administration.projects.create(ProjectWish(key="by-hand"))
    for force in (False, True):
        done = apply(force=force)
        assert [(each.path, each.state) for each in done.kept] == [
            ("tool_servers.orders", "only_api"),
            ("projects.support", "only_api"),
        ]
    administration.projects.archive("support")
    assert [each.path for each in apply().kept] == ["tool_servers.orders"]


def test_a_project_that_others_made_is_taken_over_and_stays_as_it_is(
    administration: Administration, apply: Apply
) -> None:
    administration.projects.create(
        ProjectWish(key="p", name="By hand", models=(AttachedModelWish(model="large", key="m"),))
    )
    wanted = ProjectDefinition(
        key="p", models=(AttachedModelWish(model="s", key="m", sampling=SamplingWish(seed=1)),)
    )
    done = apply(wanted)
    assert {each.state for each in done.kept} == {"api_changed"}
    assert administration.projects.find("p").name == "By hand"
    apply(wanted, force=True)
    assert administration.projects.find("p").name == "p"
    attached = administration.projects.find("p").attached("m")
    assert attached is not None
    assert (attached.model, attached.sampling.seed) == ("small", 1)


def test_an_archived_project_is_left_alone_unless_it_is_overwritten(
    administration: Administration, apply: Apply
) -> None:
    apply(project(), servers=(server(),))
    administration.projects.archive("support")
    done = apply(changed(ttft(7)), servers=(server(),))
    assert not done.changed
    assert ("projects.support.archived", "api_changed") in [(d.path, d.state) for d in done.kept]
    apply(changed(ttft(7)), servers=(server(),), force=True)
    assert administration.projects.find("support").archived_s is None
    assert model_named(administration, "fast").max_ttft_ms == 7


def test_a_definition_that_cannot_be_applied_fails_alone_and_whole(
    administration: Administration, apply: Apply
) -> None:
    bad = project(key="bad", account_id="acct_none")
    worse = project(key="worse", content={"redact": [{"kind": "pattern", "pattern": "("}]})
    done = apply(bad, worse, project(), servers=(server(),))
    assert [each.path for each in done.failed] == ["projects.bad", "projects.worse"]
    assert "acct_none" in done.failed[0].reason
    assert [each.key for each in administration.projects.list_all()] == ["support"]
    # Changing what cannot change fails, and nothing of it holds.
    administration.metrics.change("support", "helpful", MetricChange(name="Helpful?"))
    moved = project(metrics=[{"key": "helpful", "kind": "scalar"}], name="Moved")
    (failure,) = apply(moved, servers=(server(),)).failed
    assert "cannot change" in failure.reason
    assert administration.projects.find("support").name == "support"


def test_members_are_the_same_by_id_and_by_address(
    administration: Administration, apply: Apply
) -> None:
    apply(project(), servers=(server(),))
    (member,) = administration.accounts.show("acct_default").members
    by_id = project(rights=[{"member": member.id, "right": "edit"}])
    assert apply(by_id, servers=(server(),)) == FileApplied()
    administration.projects.set_right("support", RightWish(member="ann@example.com", right="view"))
    (kept,) = apply(by_id, servers=(server(),)).kept
    assert (kept.state, kept.path) == ("api_changed", f"projects.support.rights.{member.id}.right")
    assert apply(project(rights=[]), servers=(server(),), force=True).failed == ()
    assert administration.projects.find("support").rights == ()


def test_whoever_left_the_account_is_in_nobodys_way(
    administration: Administration, apply: Apply
) -> None:
    apply(project(rights=[]), servers=(server(),))
    (member,) = administration.accounts.show("acct_default").members
    administration.projects.set_right("support", RightWish(member=member.id, right="view"))
    administration.accounts.remove_member("acct_default", member.id)
    done = apply(project(rights=[], name="Help"), servers=(server(),))
    assert (done.failed, [each.path for each in done.changed]) == ((), ["projects.support.name"])
    # One whom the file names is told.
    (failure,) = apply(project(), servers=(server(),)).failed
    assert "Ann@example.com" in failure.reason


def test_a_disabled_tool_server_stays_disabled(
    administration: Administration, apply: Apply
) -> None:
    apply(servers=(server(),))
    administration.tool_servers.set_enabled("orders", is_enabled=False)
    (kept,) = apply(servers=(server(tools=[*SERVER["tools"], {"name": "list"}]),)).kept
    assert (kept.path, kept.state) == ("tool_servers.orders.is_enabled", "only_api")
    after = administration.tool_servers.find("orders")
    assert [tool.name for tool in after.tools] == ["find", "list"]
    assert after.disabled_s is not None
