"""Complaints about wishes: in words, with the field first."""

from __future__ import annotations

import msgspec
import pytest

from dragoman.errors import InvalidRequest
from dragoman.policy.administration.complaints import in_words
from dragoman.policy.administration.desk import checked, invalid
from dragoman.policy.administration.project_wishes import CampaignWish, HttpToolWish, ProjectWish


@pytest.mark.parametrize(
    ("kind", "sent", "said"),
    [
        (ProjectWish, b'{"key":"Support"}', "key must be 1 to 64 lower-case letters, digits, '-' and '_'"),
        (ProjectWish, b'{"key":5}', "key must be text, not a whole number"),
        (ProjectWish, b'{"key":null}', "key must be text, not null"),
        (ProjectWish, b"{}", "must have 'key'"),
        (ProjectWish, b"[]", "must be an object, not a list"),
        (HttpToolWish, b'{"name":"a b"}', "name must be 1 to 64 letters, digits, '_', '.' and '-'"),
        (CampaignWish, b'{"key":"c","metric":"m","arms":[]}', "arms must have at least 2 entries"),
        (CampaignWish, b'{"key":"c","metric":"m","traffic_split":2}', "traffic_split must be at most 1"),
        (CampaignWish, b'{"key":"c","metric":"m","alpha":0}', "alpha must be more than 0"),
        (CampaignWish, b'{"key":"c","colour":1}', "has no field 'colour'"),
    ],
)  # fmt: skip
def test_complaints_say_what_a_value_must_be(kind: type, sent: bytes, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(sent, type=kind)
    told = invalid(str(raised.value))
    assert told.message.startswith(said)
    assert told.param in (None, said.partition(" ")[0])


def test_bounds_are_told_wherever_a_wish_came_from() -> None:
    with pytest.raises(InvalidRequest, match=r"^key must be 1 to 64 lower-case letters"):
        checked(ProjectWish(key="A"))


def test_what_has_no_better_words_stays() -> None:
    assert in_words("Invalid enum value 'x'") == "Invalid enum value 'x'"
