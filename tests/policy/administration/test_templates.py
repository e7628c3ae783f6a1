"""Templates: versions that are added, activated, rolled back and shown."""

from __future__ import annotations

import msgspec
import pytest
from tests.policy.administration.conftest import actions, refused

from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration import (
    Administration,
    AttachedModelWish,
    PreviewWish,
    ProjectWish,
    TemplateVersionWish,
    TemplateWish,
)
from dragoman.policy.administration.project_wishes import ArgumentWish
from dragoman.records.template import Template, TemplateArgument


@pytest.fixture
def greeting(administration: Administration) -> Template:
    administration.projects.create(
        ProjectWish(key="shop", models=(AttachedModelWish(model="small"),))
    )
    template, is_new = administration.templates.create(
        "shop",
        TemplateWish(
            key="greeting",
            text="Greet {{user.name}} in {{language}}.",
            arguments=(ArgumentWish(name="language", default="German", description="Of words."),),
            note="first",
        ),
    )
    assert is_new
    return template


def test_every_name_in_the_text_is_an_argument(
    administration: Administration, greeting: Template
) -> None:
    version = administration.templates.find_version("shop", "greeting", 1)
    assert version.arguments == (
        TemplateArgument(name="user.name"),
        TemplateArgument(
            name="language", default=msgspec.Raw(b'"German"'), description="Of words."
        ),
    )
    assert administration.templates.find("shop", greeting.id) == greeting
    assert administration.templates.list_all("shop") == [greeting]


def test_a_repeated_wish_makes_no_second_template(
    administration: Administration, greeting: Template
) -> None:
    wish = TemplateWish(
        key="greeting",
        text="Greet {{user.name}} in {{language}}.",
        arguments=(ArgumentWish(name="language", default="German", description="Of words."),),
    )
    assert administration.templates.create("shop", wish) == (greeting, False)
    with pytest.raises(Conflict, match="add a version to it") as error:
        administration.templates.create("shop", TemplateWish(key="greeting", text="Other"))
    assert refused(error) == "key"


def test_versions_are_added_and_rolled_back(
    administration: Administration, greeting: Template
) -> None:
    templates = administration.templates
    kept, version, is_new = templates.add_version(
        "shop", "greeting", TemplateVersionWish(text="Be brief.")
    )
    assert (version.version, is_new, kept.active_version) == (2, True, 2)
    kept, version, is_new = templates.add_version(
        "shop", "greeting", TemplateVersionWish(text="Be very brief.", activate=False)
    )
    assert (version.version, is_new, kept.active_version) == (3, True, 2)
    assert templates.roll_back("shop", "greeting").active_version == 1
    with pytest.raises(Conflict, match="no version before 1"):
        templates.roll_back("shop", "greeting")
    assert templates.activate("shop", "greeting", 3).active_version == 3
    assert templates.activate("shop", "greeting", 3).active_version == 3
    assert templates.find("shop", "greeting").active_version == 3
    with pytest.raises(UnknownEntity, match="no version 4; its newest is 3"):
        templates.activate("shop", "greeting", 4)
    assert actions(administration)[2:] == [
        "template.add_version",
        "template.add_version",
        "template.activate",
        "template.activate",
    ]
    told = [msgspec.json.decode(event.detail) for _, event in administration.audit(limit=4)]
    assert [detail.get("is_active") for detail in reversed(told)] == [True, False, None, None]


def test_the_newest_text_again_adds_no_version(
    administration: Administration, greeting: Template
) -> None:
    wish = TemplateVersionWish(text="Be brief.", activate=False)
    administration.templates.add_version("shop", "greeting", wish)
    kept, version, is_new = administration.templates.add_version(
        "shop", "greeting", TemplateVersionWish(text="Be brief.", note="again")
    )
    assert (version.version, is_new, kept.active_version) == (2, False, 2)


def test_a_template_in_use_is_not_deleted(
    administration: Administration, greeting: Template
) -> None:
    wish = AttachedModelWish(model="small", template="greeting")
    administration.projects.put_model("shop", "small", wish)
    with pytest.raises(Conflict, match="system prompt of 'small'"):
        administration.templates.delete("shop", "greeting")
    administration.projects.put_model("shop", "small", AttachedModelWish(model="small"))
    administration.templates.delete("shop", greeting.id)
    with pytest.raises(UnknownEntity, match="no template 'greeting'; it has none yet"):
        administration.templates.find("shop", "greeting")


def test_texts_stay_out_of_the_audit_log(
    administration: Administration, greeting: Template
) -> None:
    administration.templates.add_version(
        "shop", "greeting", TemplateVersionWish(text="A secret recipe", note="Greet them")
    )
    administration.templates.delete("shop", "greeting")
    for _, event in administration.audit():
        assert b"recipe" not in bytes(event.detail)
        assert b"Greet" not in bytes(event.detail)


@pytest.mark.parametrize(
    ("wish", "param", "words"),
    [
        (TemplateWish(key="T", text="x"), "key", None),
        (TemplateWish(key="tmpl_x", text="x"), "key", "is an id"),
        (TemplateWish(key="t", text=""), "text", None),
        (TemplateWish(key="t", text="a\udcffb"), None, "no text in UTF-8"),
        (TemplateWish(key="t", text="x" * 65_537), "text", None),
        (
            TemplateWish(key="t", text="x", arguments=(ArgumentWish(name="y"),)),
            "arguments[0].name",
            "no argument of the text",
        ),
        (
            TemplateWish(key="t", text="{{y}}", arguments=(ArgumentWish(name="y", default=None),)),
            "arguments[0].default",
            "null",
        ),
        (
            TemplateWish(
                key="t", text="{{y}}", arguments=(ArgumentWish(name="y", default="x" * 70_000),)
            ),
            "arguments[0].default",
            "65536 bytes",
        ),
    ],
)
def test_what_breaks_a_rule_is_refused(
    administration: Administration,
    greeting: Template,
    wish: TemplateWish,
    param: str | None,
    words: str | None,
) -> None:
    with pytest.raises(InvalidRequest, match=words) as error:
        administration.templates.create("shop", wish)
    assert refused(error) == param
    assert administration.templates.list_all("shop") == [greeting]


# --- Preview ------------------------------------------------------------------------------------


def test_a_preview_names_what_is_missing(
    administration: Administration, greeting: Template
) -> None:
    preview = administration.templates.preview("shop", "greeting", PreviewWish())
    assert preview.text == "Greet {{user.name}} in German."
    assert preview.arguments == ("user.name", "language")
    assert preview.missing == ("user.name",)


def test_a_preview_is_what_a_request_would_get(
    administration: Administration, greeting: Template
) -> None:
    given = {"user": {"name": "{{language}}"}, "language": ["en", 5], "other": 1}
    preview = administration.templates.preview("shop", "greeting", PreviewWish(arguments=given))
    assert preview.text == 'Greet {{language}} in ["en",5].'
    assert preview.missing == ()


def test_a_preview_of_another_version_or_text(
    administration: Administration, greeting: Template
) -> None:
    templates = administration.templates
    templates.add_version("shop", "greeting", TemplateVersionWish(text="Be brief."))
    assert templates.preview("shop", "greeting", PreviewWish()).text == "Be brief."
    assert templates.preview("shop", "greeting", PreviewWish(version=1)).missing == ("user.name",)
    edited = PreviewWish(text="{{a}} and {{b}}", arguments={"a": "1"})
    assert templates.preview("shop", "greeting", edited).text == "1 and {{b}}"
    assert templates.preview("shop", None, edited).missing == ("b",)
    with pytest.raises(UnknownEntity):
        templates.preview("shop", "greeting", PreviewWish(version=3))
    for template, wish in (
        (None, PreviewWish()),
        ("greeting", PreviewWish(text="x", version=1)),
    ):
        with pytest.raises(InvalidRequest) as error:
            templates.preview("shop", template, wish)
        assert refused(error) == "text"


def test_a_preview_that_grows_too_long_is_refused_in_its_own_words(
    administration: Administration, greeting: Template
) -> None:
    wish = PreviewWish(text="{{a}}" * 5000, arguments={"a": "x" * 1000})
    with pytest.raises(InvalidRequest, match="arguments make") as error:
        administration.templates.preview("shop", None, wish)
    assert refused(error) == "arguments"
