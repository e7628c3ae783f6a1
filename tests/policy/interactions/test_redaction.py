"""Redaction: what is found, what is left alone, and that it neither fails nor takes long."""

from __future__ import annotations

import json
import subprocess
import sys
from time import thread_time
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import InvalidRequest
from dragoman.policy.interactions import redaction
from dragoman.policy.interactions.redaction import MAX_S, check_rule, redact, redact_text
from dragoman.records.interaction import InteractionContent
from dragoman.records.project import RedactionRule
from dragoman.records.tool_server import ToolCallRecord

EMAIL = RedactionRule(kind="email")
PHONE = RedactionRule(kind="phone")
CARD = RedactionRule(kind="card")
IP_ADDRESS = RedactionRule(kind="ip_address")
ALL = (EMAIL, PHONE, CARD, IP_ADDRESS)


def pattern(text: str, replacement: str | None = None) -> RedactionRule:
    return RedactionRule(kind="pattern", pattern=text, replacement=replacement)


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def value_of(found: msgspec.Raw | None) -> Any:
    assert found is not None
    return json.loads(bytes(found))


def in_json(text: str, *rules: RedactionRule) -> str:
    """The text of a message as it is kept."""
    content = InteractionContent(messages=raw([{"role": "user", "content": text}]))
    messages = value_of(redact(content, rules).messages)
    assert messages[0]["role"] == "user"
    kept = messages[0]["content"]
    assert isinstance(kept, str)
    return kept


@pytest.mark.parametrize(
    ("rule", "text", "kept"),
    [
        (EMAIL, "write to ada.lovelace+x@mail.example.org.", "write to [email]."),
        (EMAIL, "<jürgen@müller.example>, o'neil@example.com", "<[email]>, [email]"),
        (EMAIL, "user@localhost and @handle and a@b", "user@localhost and @handle and a@b"),
        (PHONE, "call +49 (171) 123-4567 now", "call [phone] now"),
        (PHONE, "call 0049 171 1234567", "call [phone]"),
        (PHONE, "(555) 234-5678, 555-234-5678, 5552345678", "[phone], [phone], [phone]"),
        (PHONE, "06 12 34 56 78 or 0171/1234567", "[phone] or [phone]"),
        (PHONE, "on 2026-11-22 18:00:00, 01.02.2026 1830", "on 2026-11-22 18:00:00, 01.02.2026 1830"),
        (PHONE, "at 1720712536, 1720712536911 ms", "at 1720712536, 1720712536911 ms"),
        (PHONE, "1 000 000 000 or 3.1415926535", "1 000 000 000 or 3.1415926535"),
        (PHONE, "4111 1111 1111 1111", "4111 1111 1111 1111"),
        (CARD, "pay 4111 1111 1111 1111.", "pay [card]."),
        (CARD, "5555-5555-5555-4444 3782 822463 10005", "[card] [card]"),
        (CARD, "4111111111111111", "[card]"),
        (CARD, "cvv 123 4111 1111 1111 1111 12 26", "cvv 123 [card] 12 26"),
        (CARD, "4111 1111 1111 1112", "4111 1111 1111 1112"),
        (CARD, "9" * 40, "9" * 40),
        (IP_ADDRESS, "192.0.2.7:80, host:10.0.0.1.", "[ip_address]:80, host:[ip_address]."),
        (IP_ADDRESS, "to 2001:db8::1 and fe80::1%eth0 and ::1", "to [ip_address] and [ip_address] and [ip_address]"),
        (IP_ADDRESS, "::ffff:192.0.2.7", "[ip_address]"),
        (IP_ADDRESS, "2001:db8::7: x [::1]:80 12::" "34", "[ip_address]: x [[ip_address]]:80 [ip_address]"),
        (IP_ADDRESS, "v1.2.3.4, 1.2.3.4.5, 300.1.1.1, 12:30:45, std::a1", "v1.2.3.4, 1.2.3.4.5, 300.1.1.1, 12:30:45, std::a1"),
        (pattern(r"sk-[a-z0-9]{4,}"), "my sk-abc123 key", "my [redacted] key"),
        (pattern(r"(?i)project \w+", r"\1 {x}"), "Project Blue", r"\1 {x}"),
        (pattern(r"x*"), "axxb", "a[redacted]b"),
    ],
)  # fmt: skip
def test_kinds_find_what_they_should_and_nothing_else(
    rule: RedactionRule, text: str, kept: str
) -> None:
    assert redact_text(text, [rule]) == kept
    assert in_json(text, rule) == kept


def test_everything_that_is_stored_is_gone_through() -> None:
    content = InteractionContent(
        messages=raw([{"role": "user", "content": [{"type": "text", "text": "I am a@b.example"}]}]),
        completion=raw({"role": "assistant", "content": "Hello a@b.example"}),
        system_prompt="You serve a@b.example.",
        arguments=raw({"user": {"a@b.example": ["a@b.example", 4111111111111111, 7]}}),
        tools=raw([{"type": "function", "function": {"name": "f", "description": "of a@b.example"}}]),
        tool_calls=(
            ToolCallRecord(round=1, tool="t/f", arguments='{"to":"a@b.example"}', result="to a@b.example"),
        ),
    )  # fmt: skip
    kept = redact(content, ALL)
    assert b"a@b.example" not in msgspec.json.encode(kept)
    assert value_of(kept.messages) == [
        {"role": "user", "content": [{"type": "text", "text": "I am [email]"}]}
    ]
    assert value_of(kept.completion) == {"role": "assistant", "content": "Hello [email]"}
    assert kept.system_prompt == "You serve [email]."
    assert value_of(kept.arguments) == {"user": {"[email]": ["[email]", "[card]", 7]}}
    assert value_of(kept.tools)[0]["function"] == {"name": "f", "description": "of [email]"}
    assert (kept.tool_calls[0].arguments, kept.tool_calls[0].result) == (
        '{"to":"[email]"}',
        "to [email]",
    )


def test_without_rules_nothing_is_touched() -> None:
    content = InteractionContent(messages=raw(["a@b.example"]))
    assert redact(content, ()) is content


def test_what_is_left_alone_stays_as_it_was_written() -> None:
    written = b'[ {"a" : 1.50, "b": 12345678901234567890123, "\\u00e9": "\\u00e9\\/"},1e400 ]'
    content = InteractionContent(messages=msgspec.Raw(written))
    assert bytes(redact(content, (EMAIL, CARD)).messages) == written


def test_escapes_hide_nothing() -> None:
    written = (
        rb'[{"role":"user","content":"a\u0040b.example, 4111\u0020111111111111\n\ud83d\ude00"}]'
    )
    kept = redact(InteractionContent(messages=msgspec.Raw(written)), ALL)
    assert value_of(kept.messages)[0]["content"] == "[email], [card]\n\U0001f600"


def test_json_in_strings_is_gone_through_as_json() -> None:
    arguments = json.dumps({"text": "call\n0171 1234567", "card": 4111111111111111, "n": 1.50})
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    content = InteractionContent(messages=raw([{"role": "assistant", "tool_calls": [call]}]))
    kept = value_of(redact(content, ALL).messages)[0]["tool_calls"][0]["function"]
    assert kept["name"] == "f"
    assert json.loads(kept["arguments"]) == {"text": "call\n[phone]", "card": "[card]", "n": 1.5}


def test_json_in_strings_is_also_a_text() -> None:
    rule = pattern(r'"password":\s*"[^"]*"')
    assert in_json('{"password": "x"}', rule) == "{[redacted]}"


def test_json_however_deep_in_strings_is_redacted() -> None:
    text = "a@b.example"
    for _ in range(8):
        text = json.dumps([text])
    assert "a@b.example" not in in_json(text, EMAIL)


def test_a_string_that_cannot_be_read_is_withheld() -> None:
    kept = redact(InteractionContent(messages=msgspec.Raw(rb'["\ud800 a@b.example", "x"]')), ALL)
    assert value_of(kept.messages) == ["[withheld]", "x"]


def test_names_and_roles_of_messages_are_left_alone_by_any_pattern() -> None:
    content = InteractionContent(messages=raw([{"role": "user", "content": "the user"}]))
    kept = redact(content, [pattern("[a-z]+", "*")])
    assert value_of(kept.messages) == [{"role": "user", "content": "* *"}]


def test_data_of_images_are_left_alone() -> None:
    url = "data:image/png;base64,iVBOR5552345678AAA+4111111111111111/=="
    part = {"type": "image_url", "image_url": {"url": url}}
    content = InteractionContent(messages=raw([{"role": "user", "content": [part]}]))
    assert value_of(redact(content, ALL).messages)[0]["content"] == [part]


def test_rules_are_applied_in_their_order() -> None:
    rules = (pattern("a@b", "c@d.example"), EMAIL)
    assert redact_text("x a@b", rules) == "x [email]"


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("pattern", None, "missing"),
        ("pattern", "(", r"missing \)"),
        ("pattern", r"(a)\1", "RE2's syntax"),
        ("pattern", r"(?=a)", "RE2's syntax"),
        ("pattern", "x*", "where there is nothing"),
        ("pattern", r"(\pL{1,500}){1,500}", "RE2's syntax"),
        ("pattern", "\ud800", "RE2's syntax"),
        ("email", "x", "kind 'pattern'"),
    ],
)
def test_rules_that_cannot_work_are_refused(
    kind: Literal["pattern", "email"], text: str | None, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        check_rule(RedactionRule(kind=kind, pattern=text), "content.redact[2]")
    assert refused.value.param == "content.redact[2].pattern"


@pytest.mark.parametrize("rule", [*ALL, pattern(r"\d{3}")])
def test_rules_that_can_work_are_not(rule: RedactionRule) -> None:
    check_rule(rule)


def test_a_pattern_that_slipped_through_lets_nothing_pass() -> None:
    assert redact_text("secret", [pattern("(")]) == "[redacted]"


@pytest.mark.parametrize(
    "piece",
    ["a", "1", "(", "+", ".", ":", "1.", "((1", "f:", "1 ", "1-", "(1) ", "+1", "@", "a@", "a@b.", "a@b.cd ", "1.1.1.1.", "1:", "::1 ", "4111 ", "4 ", "\ud800", "é.", '{"', "[", "\\"],
)  # fmt: skip
def test_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    began_s = thread_time()
    redact_text(text, ALL)
    assert thread_time() - began_s < 3.0


@pytest.mark.parametrize("kind", ["email", "phone", "card", "ip_address"])
@pytest.mark.parametrize("piece", ["1 ", "2-", "(1)2", "+1234567 ", "4111 1111 1111 "])
def test_no_kind_holds_settlements_up(kind: Literal["phone", "card"], piece: str) -> None:
    text = piece * (4_000_000 // len(piece))
    began_s = thread_time()
    redact_text(text, [RedactionRule(kind=kind)])
    assert thread_time() - began_s < 6 * MAX_S


def test_when_it_is_late_all_that_looks_like_one_is_taken_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redaction, "MAX_S", -1.0)
    assert (
        redact_text("a 1234 1234 1234 1234", [RedactionRule(kind="phone", replacement="*")])
        == "a *"
    )
    assert (
        redact_text("a 1234 1234 1234 1234", [RedactionRule(kind="card", replacement="*")]) == "a *"
    )
    assert redact_text("a 1234.1234", [RedactionRule(kind="ip_address", replacement="*")]) == "a *"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("phone", "+49\N{NO-BREAK SPACE}30\N{NO-BREAK SPACE}123456"),
        (
            "phone",
            "06\N{NARROW NO-BREAK SPACE}12\N{NARROW NO-BREAK SPACE}34\N{NARROW NO-BREAK SPACE}56"
            "\N{NARROW NO-BREAK SPACE}78",
        ),
        ("phone", "\N{FULLWIDTH DIGIT ZERO}90-1234-5678"),
        (
            "phone",
            "+1\N{NON-BREAKING HYPHEN}212\N{NON-BREAKING HYPHEN}555\N{NON-BREAKING HYPHEN}0123",
        ),
        ("card", "4111\N{NO-BREAK SPACE}1111\N{NO-BREAK SPACE}1111\N{NO-BREAK SPACE}1111"),
        (
            "card",
            "".join(chr(ord("\N{FULLWIDTH DIGIT ZERO}") + int(d)) for d in "4111111111111111"),
        ),
        ("ip_address", "192\N{FULLWIDTH FULL STOP}168.1.1"),
    ],
)
def test_blanks_hyphens_and_digits_that_only_look_different_hide_nothing(
    kind: Literal["phone", "card"], text: str
) -> None:
    rules = [RedactionRule(kind=kind, replacement="*")]
    assert redact_text(f"a {text} b", rules) == "a * b"
    assert redact_text(json.dumps([text]), rules) == '["*"]'


def test_a_pattern_that_takes_too_long_costs_the_text_not_the_server() -> None:
    began_s = thread_time()
    kept = redact_text("a" * 1_000_000, [pattern("a(?:.*b)?", "*")])
    assert thread_time() - began_s < 5.0
    assert "a" not in kept


@given(st.lists(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_any_content_comes_out_as_json(values: list[str | int | float]) -> None:
    content = InteractionContent(
        messages=raw([{"content": value, "k": json.dumps(value)} for value in values])
    )
    rules = (*ALL, pattern(r"[0-9\"\\{}]"))
    kept = value_of(redact(content, rules).messages)
    assert [set(message) for message in kept] == [{"content", "k"} for _ in values]


@given(st.text())
def test_redacting_twice_finds_nothing_new(text: str) -> None:
    once = redact_text(text, ALL)
    assert redact_text(once, ALL) == once


def test_re2_is_loaded_only_for_rules_that_need_it() -> None:
    code = (
        "import sys; import dragoman.policy.interactions.redaction as r;"
        "from dragoman.records.project import RedactionRule as R;"
        "assert r.redact_text('10.0.0.1', [R(kind='ip_address')]) == '[ip_address]';"
        "assert 're2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
