"""Projects: what they may be made of, and how they change."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from tests.policy.administration.conftest import SetClock, actions, refused

from dragoman.chat import Sampling
from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration import (
    AccountWish,
    Administration,
    AttachedModelWish,
    LimitsWish,
    MemberWish,
    ProjectChange,
    ProjectWish,
    RightWish,
    TemplateWish,
    ToolServerWish,
)
from dragoman.policy.administration.project_wishes import (
    AttachedToolWish,
    ContentWish,
    HttpToolWish,
    RedactionWish,
    SamplingWish,
    ToolBoundsWish,
)
from dragoman.policy.administration.rights import may, right_of
from dragoman.policy.routing import ModelDirectory
from dragoman.records.account import DEFAULT_ACCOUNT, Member, MemberId
from dragoman.records.campaign import Arm, Campaign, CampaignId
from dragoman.records.metric import MetricId
from dragoman.records.model import Model
from dragoman.records.project import AttachedTool, Project, RedactionRule, ToolBounds
from dragoman.stores import Store


def model(name: str, key: str | None = None) -> AttachedModelWish:
    return AttachedModelWish(model=name, key=key)


def make(administration: Administration, key: str = "shop", *models: str) -> Project:
    wishes = tuple(model(name) for name in models or ("small",))
    return administration.projects.create(ProjectWish(key=key, models=wishes))[0]


def compare(store: Store, project: Project, *models: str) -> Campaign:
    """As if a campaign ran."""
    campaign = Campaign(
        id=CampaignId("6f9f2c1e-0000-4000-8000-000000000001"),
        project_id=project.id,
        key="which",
        name="which",
        metric_id=MetricId("total_ms"),
        kind="direct",
        arms=tuple(Arm(key="AB"[i], model=name) for i, name in enumerate(models)),
    )
    store.add_campaign(campaign)
    return campaign


# --- Made ---------------------------------------------------------------------------------------


def test_a_project_keeps_all_that_was_wished_for(administration: Administration) -> None:
    ann, _ = administration.accounts.add_member(DEFAULT_ACCOUNT, MemberWish(email="ann@x.org"))
    administration.tool_servers.put(
        ToolServerWish(key="web", kind="mcp_http", url="https://tools.example.com/mcp")
    )
    project, is_new = administration.projects.create(
        ProjectWish(
            key="shop",
            name="The shop",
            models=(
                AttachedModelWish(
                    model="s",
                    sampling=SamplingWish(temperature=0.2, seed=7),
                    max_output_tokens=99,
                    max_ttft_ms=2000,
                    tools=(
                        AttachedToolWish(id="web"),
                        AttachedToolWish(id="web/find", enabled=False),
                    ),
                    tool_bounds=ToolBoundsWish(rounds=2),
                ),
                model("large", "big"),
            ),
            public=LimitsWish(requests_per_minute=5),
            content=ContentWish(redact=(RedactionWish(kind="email"),), keep_days=30),
            rights=(RightWish(member="Ann@X.org", right="admin"),),
        )
    )
    assert is_new
    assert administration.projects.find("shop") == administration.projects.find(project.id)
    assert administration.projects.find("shop") == project
    first, second = project.models
    # Requests name it as it was named; what is asked is the model's id.
    assert (first.key, first.model, first.sampling) == (
        "s",
        "small",
        Sampling(temperature=0.2, seed=7),
    )
    assert first.tools == (AttachedTool("web"), AttachedTool("web/find", enabled=False))
    assert first.tool_bounds == ToolBounds(rounds=2)
    assert (second.key, second.model) == ("big", "large")
    assert project.default_model == "s"
    assert project.public is not None
    assert project.content.redact == (RedactionRule(kind="email"),)
    assert [right.member_id for right in project.rights] == [ann.id]
    assert actions(administration)[-1] == "project.create"


def test_the_same_wish_makes_one_project(administration: Administration) -> None:
    wish = ProjectWish(key="shop", models=(model("small"),))
    project, _ = administration.projects.create(wish, token="t")
    assert administration.projects.create(wish, token="t") == (project, False)
    other = ProjectWish(key="shop", models=(model("large"),))
    with pytest.raises(Conflict, match=project.id):
        administration.projects.create(other, token="t")
    assert actions(administration) == ["project.create"]


@pytest.mark.parametrize("key", ["small", "s"])
def test_a_models_name_is_no_projects(administration: Administration, key: str) -> None:
    with pytest.raises(Conflict, match=f"'{key}' is an id or alias of the model 'small'") as error:
        make(administration, key)
    assert refused(error) == "key"


def test_a_key_is_taken_once_whoever_has_it(administration: Administration) -> None:
    account, _ = administration.accounts.create(AccountWish(name="other"))
    project, _ = administration.projects.create(ProjectWish(key="shop", account_id=account.id))
    with pytest.raises(Conflict, match=f"{project.id} of account {account.id}") as error:
        make(administration)
    assert refused(error) == "key"
    administration.projects.archive("shop")
    with pytest.raises(Conflict, match="archived: restore it"):
        make(administration)


def test_a_model_cannot_be_attached_where_another_would_answer(
    store: Store, clock: SetClock
) -> None:
    directory = ModelDirectory(
        [
            Model(id="small", provider="p", upstream_name="s"),
            Model(id="shop/large", provider="p", upstream_name="l"),
        ],
        "small",
    )
    other = Administration(store, clock, "cli:x", directory=directory)
    with pytest.raises(Conflict, match="'shop/large' mean the model 'shop/large'") as error:
        other.projects.create(ProjectWish(key="shop", models=(model("small", "large"),)))
    assert refused(error) == "models[0].key"


def test_collisions_that_came_with_the_settings_are_told(
    store: Store, clock: SetClock, administration: Administration
) -> None:
    make(administration, "shop")
    administration.projects.attach("shop", model("large", "big"))
    directory = ModelDirectory(
        [
            Model(id="shop", provider="p", upstream_name="s"),
            Model(id="x", aliases=("shop/big",), provider="p", upstream_name="l"),
        ],
        "shop",
    )
    told = Administration(store, clock, "server", directory=directory).projects.collisions()
    assert len(told) == 2
    assert "'shop' mean the model 'shop'" in told[0]
    assert "'shop/big' mean the model 'x'" in told[1]
    assert administration.projects.collisions() == []


def test_of_many_who_want_a_key_at_once_one_gets_it(
    store: Store, clock: SetClock, administration: Administration
) -> None:
    start = threading.Barrier(6)

    def wish(number: int) -> bool:
        start.wait()
        office = Administration(store, clock, f"cli:{number}")
        try:
            return office.projects.create(ProjectWish(key="shop"))[1]
        except Conflict:
            return False

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(wish, range(6))) == [False] * 5 + [True]
    assert len(administration.projects.list_all()) == 1
    assert actions(administration) == ["project.create"]


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        (ProjectWish(key="Shop"), "key"),
        (ProjectWish(key="a/b"), "key"),
        (ProjectWish(key="proj_x"), "key"),
        (ProjectWish(key="p", name=" "), "name"),
        (ProjectWish(key="p", account_id="acct_none"), "account_id"),
        (ProjectWish(key="p", models=(model("huge"),)), "models[0].model"),
        (ProjectWish(key="p", models=(model("small"), model("s", "small"))), "models[1].key"),
        (ProjectWish(key="p", models=(model("small", "a\nb"),)), "models[0].key"),
        (ProjectWish(key="p", models=(model("small"),), default_model="s"), "default_model"),
        (ProjectWish(key="p", default_model="small"), "default_model"),
        (
            ProjectWish(key="p", models=(AttachedModelWish(model="s", template="t"),)),
            "models[0].template",
        ),
        (
            ProjectWish(
                key="p", models=(AttachedModelWish(model="s", tools=(AttachedToolWish(id="web"),)),)
            ),
            "models[0].tools[0].id",
        ),
        (ProjectWish(key="p", public=LimitsWish(concurrent_requests=3)), "public"),
        (
            ProjectWish(key="p", content=ContentWish(redact=(RedactionWish(kind="pattern"),))),
            "content.redact[0].pattern",
        ),
        (
            ProjectWish(
                key="p",
                content=ContentWish(
                    redact=(
                        RedactionWish(kind="email"),
                        RedactionWish(kind="pattern", pattern="(a"),
                    )
                ),
            ),
            "content.redact[1].pattern",
        ),
        (
            ProjectWish(key="p", rights=(RightWish(member="nobody@x.org", right="edit"),)),
            "rights[0].member",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused_whole(
    administration: Administration, wish: ProjectWish, param: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        administration.projects.create(wish)
    assert refused(error) == param
    assert param.rpartition(".")[2] in str(error.value)
    assert administration.projects.list_all() == []
    assert actions(administration) == []


def test_tools_are_those_that_servers_have(administration: Administration) -> None:
    administration.tool_servers.put(
        ToolServerWish(
            key="calc",
            kind="http",
            url="https://calc.example.com",
            tools=(HttpToolWish(name="add", path="/add"),),
        )
    )
    make(administration)

    def attach(*ids: str) -> None:
        tools = tuple(AttachedToolWish(id=tool) for tool in ids)
        administration.projects.put_model(
            "shop", "small", AttachedModelWish(model="small", tools=tools)
        )

    attach("calc", "calc/add")
    for ids, words in (
        (("calc/sub",), "has no tool 'sub'; it has add"),
        (("calc/",), "names no tool"),
        (("calc", "calc"), "named twice"),
        (("web/x",), "no tool server 'web'; there are calc"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            attach(*ids)


# --- Changed ------------------------------------------------------------------------------------


def test_a_change_leaves_the_rest_as_it_is(administration: Administration) -> None:
    before = make(administration, "shop", "small", "large")
    after = administration.projects.change("shop", ProjectChange(default_model="large"))
    assert after == msgspec.structs.replace(before, default_model="large")
    assert administration.projects.change("shop", ProjectChange(default_model="large")) == after
    assert administration.projects.change("shop", ProjectChange(default_model=None)) == before
    detail = bytes(administration.audit()[0][1].detail)
    assert msgspec.json.decode(detail) == {"default_model": "small"}
    assert actions(administration) == ["project.create", "project.change", "project.change"]


def test_the_default_is_one_of_the_models_at_all_times(administration: Administration) -> None:
    make(administration, "shop", "small", "large")
    with pytest.raises(InvalidRequest, match="'small' is no key") as error:
        administration.projects.change("shop", ProjectChange(models=(model("large"),)))
    assert refused(error) == "default_model"
    with pytest.raises(Conflict, match="make another the default first"):
        administration.projects.detach("shop", "small")
    after = administration.projects.change(
        "shop", ProjectChange(models=(model("large"),), default_model="large")
    )
    assert [each.key for each in after.models] == ["large"]
    assert administration.projects.detach("shop", "large").default_model is None
    attached, added = administration.projects.attach("shop", model("s"))
    assert (attached.default_model, added.model) == ("s", "small")


def test_models_are_attached_written_anew_and_detached(administration: Administration) -> None:
    make(administration)
    with pytest.raises(Conflict, match="has a model 'small'") as error:
        administration.projects.attach("shop", model("large", "small"))
    assert refused(error) == "key"
    project, is_new = administration.projects.put_model("shop", "vendor/big", model("large"))
    assert is_new
    assert administration.projects.find_model("shop", "vendor/big").model == "large"
    project, is_new = administration.projects.put_model(
        "shop", "vendor/big", AttachedModelWish(model="small", max_output_tokens=5)
    )
    assert not is_new
    assert project.models[1].max_output_tokens == 5
    with pytest.raises(InvalidRequest, match="the path names another one"):
        administration.projects.put_model("shop", "vendor/big", model("small", "other"))
    assert len(administration.projects.detach("shop", "vendor/big").models) == 1
    with pytest.raises(UnknownEntity, match="it has 'small'"):
        administration.projects.detach("shop", "vendor/big")


def test_a_template_is_named_once_it_is_there(administration: Administration) -> None:
    make(administration)
    administration.templates.create("shop", TemplateWish(key="greeting", text="Hello {{name}}"))
    project, _ = administration.projects.put_model(
        "shop", "small", AttachedModelWish(model="small", template="greeting")
    )
    assert project.models[0].template == "greeting"
    with pytest.raises(InvalidRequest, match="has no template 'other'; it has greeting"):
        administration.projects.attach("shop", AttachedModelWish(model="large", template="other"))


def test_what_a_campaign_compares_stays_what_it_is(
    store: Store, administration: Administration
) -> None:
    project = make(administration, "shop", "small", "large", "s")
    compare(store, project, "large", "s")
    for change in (
        lambda: administration.projects.detach("shop", "large"),
        lambda: administration.projects.put_model("shop", "large", model("small")),
        lambda: administration.projects.change("shop", ProjectChange(models=(model("small"),))),
        lambda: administration.projects.archive("shop"),
    ):
        with pytest.raises(Conflict, match="campaign 'which'"):
            change()
    changed, _ = administration.projects.put_model(
        "shop", "large", AttachedModelWish(model="large", max_output_tokens=5)
    )
    assert changed.models[1].max_output_tokens == 5


def test_an_archived_project_is_kept_and_restored(administration: Administration) -> None:
    project = make(administration)
    archived = administration.projects.archive("shop")
    assert archived.archived_s is not None
    assert administration.projects.archive("shop") == archived
    assert administration.projects.list_all() == []
    assert administration.projects.list_all(with_archived=True) == [archived]
    for change in (
        lambda: administration.projects.change("shop", ProjectChange(name="x")),
        lambda: administration.projects.attach("shop", model("large")),
        lambda: administration.templates.create("shop", TemplateWish(key="t", text="x")),
    ):
        with pytest.raises(Conflict, match="archived; restore it first"):
            change()
    assert administration.projects.restore("shop") == project
    assert administration.projects.restore("shop") == project
    assert actions(administration) == ["project.create", "project.archive", "project.restore"]


def test_projects_are_listed_by_account(administration: Administration, clock: SetClock) -> None:
    account, _ = administration.accounts.create(AccountWish(name="other"))
    mine = make(administration)
    clock.now_s += 1
    theirs, _ = administration.projects.create(ProjectWish(key="p", account_id=account.id))
    assert administration.projects.list_all() == [mine, theirs]
    assert administration.projects.list_all(account.id) == [theirs]
    with pytest.raises(UnknownEntity):
        administration.projects.list_all("acct_none")
    with pytest.raises(UnknownEntity, match="project 'none' does not exist"):
        administration.projects.find("none")


def test_patterns_of_redaction_stay_out_of_the_audit_log(administration: Administration) -> None:
    make(administration)
    for pattern in ("SECRETNAME", "OTHERNAME"):
        rule = RedactionWish(kind="pattern", pattern=pattern, replacement="SUBSTITUTE")
        administration.projects.change("shop", ProjectChange(content=ContentWish(redact=(rule,))))
    told = [bytes(event.detail) for _, event in administration.audit()]
    assert b'"content"' in told[0]
    assert b'"content"' in told[1]
    assert not any(b"NAME" in detail or b"SUBST" in detail for detail in told)


# --- Rights -------------------------------------------------------------------------------------


def test_a_right_is_given_by_address_or_id_and_taken_back(administration: Administration) -> None:
    make(administration)
    ann, _ = administration.accounts.add_member(DEFAULT_ACCOUNT, MemberWish(email="ann@x.org"))
    given = administration.projects.set_right("shop", RightWish(member="ANN@x.org", right="edit"))
    assert [(r.member_id, r.right) for r in given.rights] == [(ann.id, "edit")]
    changed = administration.projects.set_right("shop", RightWish(member=ann.id, right="admin"))
    assert [(r.member_id, r.right) for r in changed.rights] == [(ann.id, "admin")]
    with pytest.raises(InvalidRequest, match="is no member of the project's account") as error:
        administration.projects.set_right("shop", RightWish(member="bob@x.org", right="edit"))
    assert refused(error) == "member"
    assert administration.projects.remove_right("shop", "ann@x.org").rights == ()


def test_a_right_can_be_taken_from_who_is_no_member_any_more(
    administration: Administration,
) -> None:
    make(administration)
    ann, _ = administration.accounts.add_member(DEFAULT_ACCOUNT, MemberWish(email="ann@x.org"))
    administration.projects.set_right("shop", RightWish(member=ann.id, right="edit"))
    administration.accounts.remove_member(DEFAULT_ACCOUNT, ann.id)
    assert administration.projects.remove_right("shop", ann.id).rights == ()


def test_nobody_is_given_two_rights(administration: Administration) -> None:
    ann, _ = administration.accounts.add_member(DEFAULT_ACCOUNT, MemberWish(email="ann@x.org"))
    wishes = (RightWish(member=ann.id, right="edit"), RightWish(member="ann@x.org", right="view"))
    with pytest.raises(InvalidRequest, match="named twice") as error:
        administration.projects.create(ProjectWish(key="p", rights=wishes))
    assert refused(error) == "rights[1].member"


def test_a_role_gives_a_right_unless_the_project_says_otherwise(
    administration: Administration,
) -> None:
    members = {
        role: administration.accounts.add_member(
            DEFAULT_ACCOUNT, MemberWish(email=f"{role}@x.org", role=role)
        )[0]
        for role in ("owner", "developer", "viewer")
    }
    project = make(administration)
    assert [right_of(project, m) for m in members.values()] == ["admin", "edit", "view"]
    administration.projects.set_right("shop", RightWish(member=members["owner"].id, right="view"))
    project = administration.projects.set_right(
        "shop", RightWish(member=members["viewer"].id, right="admin")
    )
    assert [right_of(project, m) for m in members.values()] == ["view", "edit", "admin"]
    stranger = Member(
        id=MemberId("mem_x"),
        account_id=administration.accounts.create(AccountWish(name="b"))[0].id,
        email="x@x.org",
        role="owner",
        created_s=0,
    )
    assert right_of(project, stranger) is None
    assert not may(project, stranger, "view")


def test_a_right_includes_those_below_it(administration: Administration) -> None:
    project = make(administration)
    developer, _ = administration.accounts.add_member(
        DEFAULT_ACCOUNT, MemberWish(email="d@x.org", role="developer")
    )
    assert [may(project, developer, right) for right in ("view", "edit", "admin")] == [
        True,
        True,
        False,
    ]
