"""What has to be referred to because it looks like a secret, and who may refer to what."""

from __future__ import annotations

import pytest

from dragoman.policy.administration.references import (
    is_open_to_remote,
    is_reference,
    looks_secret,
)


@pytest.mark.parametrize(
    "name",
    ["Authorization", "X-Api-Key", "apikey", "API_TOKEN", "Cookie", "X-Auth", "DB_PASSWORD", "key"],
)
def test_some_names_are_secrets(name: str) -> None:
    assert looks_secret(name, "x")


@pytest.mark.parametrize("name", ["X-Team", "MONKEY", "MAX_TOKENS", "PATH", "Accept-Language"])
def test_other_names_are_not(name: str) -> None:
    assert not looks_secret(name, "x")


@pytest.mark.parametrize(
    "value",
    [
        "Bearer abcdefgh",
        "basic dXNlcjpwYXNz",
        "sk-abcdefghijklmnop",
        "ghp_abcdefghijklmnop",
        "drg_sk_abcdefghijklmnop",
        "eyJhbGciOiJIUzI1NiJ9.x",
        "postgres://user:pass@db/x",
    ],
)
def test_some_values_are_secrets_whatever_their_name(value: str) -> None:
    assert looks_secret("X-Value", value)


@pytest.mark.parametrize(
    "value", ["application/json", "team a", "https://example.com/x", "skiing-resort-bookings"]
)
def test_other_values_are_not(value: str) -> None:
    assert not looks_secret("X-Value", value)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("env:NAME", True),
        ("env:_n1", True),
        ("file:/run/secrets/x", True),
        ("env:", False),
        ("env:1A", False),
        ("env:A B", False),
        ("file:", False),
        ("file:a\nb", False),
        ("plain", False),
    ],
)
def test_a_reference_has_its_form(text: str, is_one: bool) -> None:
    assert is_reference(text) is is_one


def test_only_variables_for_tools_are_open_to_all_administrators() -> None:
    assert is_open_to_remote("env:TOOL_X")
    assert not is_open_to_remote("env:XTOOL_X")
    assert not is_open_to_remote("file:TOOL_X")
