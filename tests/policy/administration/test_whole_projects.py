"""A project put as one definition, with its templates and metrics."""

from __future__ import annotations

import msgspec
import pytest
from tests.policy.administration.conftest import actions, refused

from dragoman.errors import Conflict, InvalidRequest
from dragoman.policy.administration import (
    AccountWish,
    Administration,
    AttachedModelWish,
    LimitsWish,
    MemberWish,
    MetricWish,
    ProjectDefinition,
    ProjectWish,
    RightWish,
    TemplateWish,
)
from dragoman.policy.administration.project_wishes import (
    ArgumentWish,
    ContentWish,
    RedactionWish,
    SamplingWish,
)
from dragoman.records.account import DEFAULT_ACCOUNT

DEFINITION = ProjectDefinition(
    key="shop",
    name="The shop",
    models=(
        AttachedModelWish(
            model="small",
            key="fast",
            template="greeting",
            sampling=SamplingWish(temperature=0.5),
        ),
        AttachedModelWish(model="large", key="large"),
    ),
    default_model="large",
    public=LimitsWish(requests_per_minute=5),
    content=ContentWish(redact=(RedactionWish(kind="email"),), keep_days=3),
    templates=(
        TemplateWish(
            key="greeting",
            text="Hi {{name}}",
            arguments=(ArgumentWish(name="name", default="you"),),
        ),
    ),
    metrics=(MetricWish(key="helpful", kind="bool", name="Helpful", description="Was it?"),),
)


def test_a_definition_makes_what_it_says(administration: Administration) -> None:
    applied = administration.whole_projects.put(DEFINITION, applied=msgspec.Raw(b"{}"))
    assert (applied.is_new, applied.has_changed) == (True, True)
    assert administration.projects.find("shop") == applied.project
    assert applied.project.applied == msgspec.Raw(b"{}")
    assert applied.project.models[0].template == "greeting"
    assert administration.whole_projects.current("shop") == DEFINITION
    assert actions(administration) == ["template.create", "metric.create", "project.create"]


def test_the_same_definition_changes_nothing(administration: Administration) -> None:
    first = administration.whole_projects.put(DEFINITION)
    before = actions(administration)
    again = administration.whole_projects.put(DEFINITION, applied=msgspec.Raw(b'{"a":1}'))
    assert (again.is_new, again.has_changed) == (False, False)
    assert again.project == msgspec.structs.replace(first.project, applied=msgspec.Raw(b'{"a":1}'))
    assert administration.whole_projects.put(DEFINITION).project == again.project
    assert administration.projects.find("shop") == again.project
    assert actions(administration) == before


def test_what_is_other_than_before_follows(administration: Administration) -> None:
    administration.whole_projects.put(DEFINITION)
    texts = ("Hello {{name}}", "Hi {{name}}")
    for text in texts:
        wish = TemplateWish(
            key="greeting", text=text, arguments=(ArgumentWish(name="name", default="you"),)
        )
        changed = msgspec.structs.replace(DEFINITION, templates=(wish,), name=text)
        assert administration.whole_projects.put(changed).has_changed
        assert administration.whole_projects.current("shop") == changed
    template = administration.templates.find("shop", "greeting")
    # The first text came back: no third version is needed to say it again.
    assert ([v.version for v in template.versions], template.active_version) == ([1, 2], 1)
    renamed = msgspec.structs.replace(DEFINITION.metrics[0], name="Help")
    administration.whole_projects.put(msgspec.structs.replace(DEFINITION, metrics=(renamed,)))
    assert administration.metrics.find("shop", "helpful").name == "Help"


def test_what_the_definition_does_not_name_stays(administration: Administration) -> None:
    administration.whole_projects.put(DEFINITION)
    bare = msgspec.structs.replace(DEFINITION, templates=(), metrics=())
    administration.whole_projects.put(bare)
    assert [t.key for t in administration.templates.list_all("shop")] == ["greeting"]
    assert administration.metrics.list_all("shop")[0].key == "helpful"


def test_a_definition_is_put_whole_or_not_at_all(administration: Administration) -> None:
    administration.whole_projects.put(DEFINITION)
    before, told = administration.whole_projects.current("shop"), actions(administration)
    other = MetricWish(key="helpful", kind="scalar")
    text = TemplateWish(key="greeting", text="Other")
    wrong = msgspec.structs.replace(DEFINITION, templates=(text,), metrics=(other,))
    with pytest.raises(Conflict, match="'helpful' of project 'shop' is bool") as error:
        administration.whole_projects.put(wrong)
    assert refused(error) == "metrics"
    fresh = msgspec.structs.replace(DEFINITION, key="new", default_model="none")
    with pytest.raises(InvalidRequest) as refusal:
        administration.whole_projects.put(fresh)
    assert refused(refusal) == "default_model"
    assert administration.whole_projects.current("shop") == before
    assert actions(administration) == told
    assert [p.key for p in administration.projects.list_all()] == ["shop"]


def test_a_definition_does_not_take_what_is_anothers(administration: Administration) -> None:
    account, _ = administration.accounts.create(AccountWish(name="other"))
    administration.projects.create(ProjectWish(key="shop", account_id=account.id))
    with pytest.raises(Conflict, match=f"belongs to account {account.id}") as error:
        administration.whole_projects.put(DEFINITION)
    assert refused(error) == "account_id"
    with pytest.raises(Conflict, match="the model 'small'"):
        administration.whole_projects.put(msgspec.structs.replace(DEFINITION, key="small"))


def test_an_archived_project_is_not_put(administration: Administration) -> None:
    administration.whole_projects.put(DEFINITION)
    administration.projects.archive("shop")
    with pytest.raises(Conflict, match="archived; restore it"):
        administration.whole_projects.put(DEFINITION)


def test_members_are_told_by_id(administration: Administration) -> None:
    ann, _ = administration.accounts.add_member(DEFAULT_ACCOUNT, MemberWish(email="ann@x.org"))
    wish = RightWish(member="ann@x.org", right="admin")
    administration.whole_projects.put(msgspec.structs.replace(DEFINITION, rights=(wish,)))
    assert administration.whole_projects.current("shop").rights == (
        RightWish(member=ann.id, right="admin"),
    )
