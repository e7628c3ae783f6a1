"""What every store promises of projects, templates, tool servers and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from dragoman.chat import Sampling
from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.records.account import DEFAULT_ACCOUNT, AccountId, MemberId
from dragoman.records.feedback import Comparison, Feedback, Outcome
from dragoman.records.limits import Limits
from dragoman.records.metric import Metric, MetricId
from dragoman.records.project import (
    AttachedModel,
    AttachedTool,
    ContentRules,
    MemberRight,
    Project,
    ProjectId,
    RedactionRule,
    ToolBounds,
)
from dragoman.records.template import Template, TemplateArgument, TemplateId, TemplateVersion
from dragoman.records.tool_server import HttpTool, ToolServer
from dragoman.stores import Store

OpenAgain = Callable[[], Store]


def make_project(number: int = 1) -> Project:
    return Project(
        id=ProjectId(f"proj_{number}"),
        key=f"p{number}",
        name="P",
        account_id=DEFAULT_ACCOUNT,
        created_s=float(number),
    )


WHOLE = Project(
    id=ProjectId("proj_whole"),
    key="whole",
    name="a 'whole' prøject ☃",
    account_id=DEFAULT_ACCOUNT,
    models=(
        AttachedModel(key="small", model="m"),
        AttachedModel(
            key="large/x",
            model="n",
            sampling=Sampling(temperature=0.25, seed=7, logit_bias=((3, -1.5),)),
            max_output_tokens=9,
            max_ttft_ms=500,
            template="greeting",
            tools=(AttachedTool("search"), AttachedTool("files/read", enabled=False)),
            tool_bounds=ToolBounds(rounds=2, call_s=0.5),
        ),
    ),
    default_model="large/x",
    public=Limits(requests_per_minute=0),
    content=ContentRules(
        is_stored=False,
        redact=(
            RedactionRule(kind="email"),
            RedactionRule(kind="pattern", pattern=r"\d{4}\"", replacement=""),
        ),
        keep_days=30,
    ),
    rights=(MemberRight(MemberId("mem_1"), "edit"),),
    applied=msgspec.Raw(b'{"key": "whole"}'),
    created_s=1763760000.125,
    archived_s=1763760001.5,
)


# --- Projects ---


def test_everything_of_a_project_is_kept_and_can_be_written_anew(
    store: Store, open_again: OpenAgain
) -> None:
    store.add_project(WHOLE)
    other = open_again()
    assert other.list_projects() == [WHOLE]
    changed = replace(make_project(), id=WHOLE.id, key="other")
    store.replace_project(changed)
    assert other.list_projects() == [changed]
    store.replace_project(WHOLE)
    assert other.list_projects() == [WHOLE]


def test_a_public_project_without_limits_stays_public(store: Store) -> None:
    store.add_project(replace(make_project(), public=Limits()))
    assert store.list_projects()[0].public == Limits()


def test_projects_are_listed_oldest_first(store: Store) -> None:
    for number in (2, 3, 1):
        store.add_project(make_project(number))
    assert [project.key for project in store.list_projects()] == ["p1", "p2", "p3"]


def test_a_projects_key_is_taken_for_ever_and_its_account_exists(store: Store) -> None:
    store.add_project(replace(make_project(), archived_s=5.0))
    with pytest.raises(Conflict, match="'p1'"):
        store.add_project(replace(make_project(2), key="p1"))
    store.add_project(make_project(2))
    with pytest.raises(Conflict, match="'p1'"):
        store.replace_project(replace(make_project(2), key="p1"))
    for refused, number in ((store.add_project, 3), (store.replace_project, 2)):
        with pytest.raises(UnknownEntity, match="acct_none") as caught:
            refused(replace(make_project(number), key="x", account_id=AccountId("acct_none")))
        assert caught.value.entity == "account"
    with pytest.raises(UnknownEntity, match="proj_9"):
        store.replace_project(make_project(9))
    assert store.list_projects() == [replace(make_project(), archived_s=5.0), make_project(2)]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "\ud800"},
        {"rights": (MemberRight(MemberId("\ud800"), "view"),)},
        {"models": (AttachedModel(key="m", model="m", sampling=Sampling(top_p=float("nan"))),)},
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    store: Store, changes: dict[str, object]
) -> None:
    before = store.generation()
    with pytest.raises(InvalidRequest, match="stored"):
        store.add_project(replace(make_project(), **changes))
    assert store.list_projects() == []
    assert store.generation() == before


def test_every_change_of_a_project_and_its_parts_is_told(
    store: Store, open_again: OpenAgain
) -> None:
    other = open_again()
    seen = [other.generation()]
    changes: tuple[Callable[[], None], ...] = (
        lambda: store.add_project(make_project()),
        lambda: store.replace_project(replace(make_project(), name="x")),
        lambda: store.add_template(GREETING),
        lambda: store.add_template_version(GREETING.id, SECOND),
        lambda: store.activate_template(GREETING.id, 2),
        lambda: store.delete_template(GREETING.id),
        lambda: store.put_tool_server(SEARCH),
        lambda: store.delete_tool_server(SEARCH.key),
        lambda: store.add_metric(LIKED),
        lambda: store.replace_metric(replace(LIKED, name="x")),
        lambda: store.delete_metric(LIKED.id),
    )
    for change in changes:
        change()
        seen.append(other.generation())
    assert len(set(seen)) == 12


# --- Templates ---

FIRST = TemplateVersion(version=1, text="Hello", created_s=1.0)
SECOND = TemplateVersion(
    version=2,
    text="Hello {{user.name}}, {{ '\" \x00 ☃ }}",
    arguments=(
        TemplateArgument(name="user.name"),
        TemplateArgument(name="a", default=msgspec.Raw(b'{"x":[1,null]}'), description="d"),
        TemplateArgument(name="b", default=msgspec.Raw(b"null")),
        TemplateArgument(name="c", default=msgspec.Raw(b'""')),
    ),
    note="shorter",
    created_s=2.5,
)
GREETING = Template(
    id=TemplateId("tmpl_1"),
    project_id=ProjectId("proj_1"),
    key="greeting",
    active_version=1,
    versions=(FIRST,),
    created_s=1.0,
)


def test_versions_are_kept_activated_and_rolled_back(store: Store, open_again: OpenAgain) -> None:
    store.add_project(make_project())
    store.add_template(GREETING)
    store.add_template_version(GREETING.id, SECOND)
    (kept,) = open_again().list_templates()
    assert kept == replace(GREETING, versions=(FIRST, SECOND))
    store.activate_template(GREETING.id, 2)
    assert store.list_templates()[0].version() == SECOND
    store.activate_template(GREETING.id, 1)
    assert store.list_templates()[0].version() == FIRST


def test_templates_of_one_project_or_of_all(store: Store) -> None:
    for number in (1, 2):
        store.add_project(make_project(number))
    for number, project in ((3, 1), (1, 2), (2, 1)):
        store.add_template(
            replace(
                GREETING,
                id=TemplateId(f"tmpl_{number}"),
                key=f"t{number}",
                project_id=ProjectId(f"proj_{project}"),
                versions=(FIRST, SECOND),
                created_s=float(number),
            )
        )
    assert [template.key for template in store.list_templates()] == ["t1", "t2", "t3"]
    (one,) = store.list_templates(ProjectId("proj_2"))
    assert (one.key, one.versions) == ("t1", (FIRST, SECOND))
    assert store.list_templates(ProjectId("proj_none")) == []


def test_a_version_is_made_once_and_never_changed(store: Store) -> None:
    store.add_project(make_project())
    store.add_template(GREETING)
    with pytest.raises(Conflict, match="version 1"):
        store.add_template_version(GREETING.id, replace(SECOND, version=1))
    with pytest.raises(UnknownEntity, match="tmpl_9"):
        store.add_template_version(TemplateId("tmpl_9"), SECOND)
    for unknown in (GREETING.id, TemplateId("tmpl_9")):
        with pytest.raises(UnknownEntity, match=f"version 2 of template '{unknown}'"):
            store.activate_template(unknown, 2)
    assert store.list_templates() == [GREETING]


def test_a_template_that_is_refused_leaves_nothing(store: Store) -> None:
    with pytest.raises(UnknownEntity, match="project 'proj_1'"):
        store.add_template(GREETING)
    store.add_project(make_project())
    store.add_template(GREETING)
    with pytest.raises(Conflict, match="'greeting'"):
        store.add_template(replace(GREETING, id=TemplateId("tmpl_2")))
    with pytest.raises(UnknownEntity, match="version 7"):
        store.add_template(
            replace(GREETING, id=TemplateId("tmpl_2"), key="other", active_version=7)
        )
    assert store.list_templates() == [GREETING]


def test_a_template_is_deleted_with_its_versions(store: Store) -> None:
    store.add_project(make_project())
    store.add_template(replace(GREETING, versions=(FIRST, SECOND)))
    store.delete_template(GREETING.id)
    assert store.list_templates() == []
    with pytest.raises(UnknownEntity, match="tmpl_1"):
        store.delete_template(GREETING.id)
    store.add_template(GREETING)
    assert store.list_templates() == [GREETING]


# --- Tool servers ---

SEARCH = ToolServer(
    key="search",
    kind="http",
    url="https://tools.example.com/v1",
    command=("python", "-m", "x y"),
    environment=(("TOKEN", "env:SEARCH_TOKEN"),),
    headers=(("authorization", "file:/run/secret"),),
    tools=(
        HttpTool(name="plain"),
        HttpTool(
            name="find",
            description="Finds.",
            parameters=msgspec.Raw(b'{"type": "object"}'),
            path="/find",
            method="GET",
        ),
    ),
    allow_private=True,
    applied=msgspec.Raw(b"{}"),
    created_s=1.5,
    disabled_s=2.5,
)


def test_a_tool_server_is_put_listed_and_deleted(store: Store, open_again: OpenAgain) -> None:
    files = ToolServer(key="files", kind="mcp_stdio", command=("a",))
    store.put_tool_server(SEARCH)
    store.put_tool_server(files)
    other = open_again()
    assert other.list_tool_servers() == [files, SEARCH]
    changed = ToolServer(key="search", kind="mcp_http", url="https://other.example.com")
    store.put_tool_server(changed)
    assert other.list_tool_servers() == [files, changed]
    store.delete_tool_server("search")
    assert other.list_tool_servers() == [files]
    with pytest.raises(UnknownEntity, match="'search'"):
        store.delete_tool_server("search")


# --- Metrics ---

LIKED = Metric(
    id=MetricId("0b0e7e2a-5ad1-4f0e-8f6e-4d1d2a8c0001"),
    project_id=ProjectId("proj_1"),
    key="liked",
    name="Liked",
    kind="bool",
    better="lower_is_better",
    description="d",
    created_s=1.0,
)


def test_metrics_belong_to_a_project_and_are_known_by_key_there(
    store: Store, open_again: OpenAgain
) -> None:
    with pytest.raises(UnknownEntity, match="proj_1"):
        store.add_metric(LIKED)
    store.add_project(make_project(1))
    store.add_project(make_project(2))
    store.add_metric(LIKED)
    with pytest.raises(Conflict, match="'liked'"):
        store.add_metric(replace(LIKED, id=MetricId("m2")))
    elsewhere = replace(
        LIKED, id=MetricId("m3"), project_id=ProjectId("proj_2"), kind="scalar", created_s=0.5
    )
    store.add_metric(elsewhere)
    other = open_again()
    assert other.list_metrics() == [elsewhere, LIKED]
    assert other.list_metrics(ProjectId("proj_1")) == [LIKED]
    changed = replace(LIKED, name="x", description=None)
    store.replace_metric(changed)
    assert other.list_metrics(ProjectId("proj_1")) == [changed]
    with pytest.raises(UnknownEntity, match="m9"):
        store.replace_metric(replace(LIKED, id=MetricId("m9"), key="k"))


def say_of(metric: Metric, kind: str, store: Store) -> None:
    assert metric.project_id is not None
    about: dict[str, Any] = {
        "id": "i1",
        "project_id": metric.project_id,
        "metric_id": metric.id,
        "created_s": 1.0,
    }
    match kind:
        case "feedback":
            store.add_feedback(Feedback(completion_id="c1", value=1.0, **about))
        case "comparison":
            store.add_comparison(Comparison(preferred_id="c1", other_id="c2", **about))
        case "outcome":
            store.add_outcome(Outcome(session_id="s1", value=1.0, **about))


@pytest.mark.parametrize("kind", ["feedback", "comparison", "outcome"])
def test_a_metric_that_something_was_said_of_stays(store: Store, kind: str) -> None:
    store.add_project(make_project())
    store.add_metric(LIKED)
    unused = replace(LIKED, id=MetricId("m2"), key="unused")
    store.add_metric(unused)
    say_of(LIKED, kind, store)
    with pytest.raises(Conflict, match="feedback"):
        store.delete_metric(LIKED.id)
    store.delete_metric(unused.id)
    assert store.list_metrics() == [LIKED]
    with pytest.raises(UnknownEntity, match="m2"):
        store.delete_metric(unused.id)
