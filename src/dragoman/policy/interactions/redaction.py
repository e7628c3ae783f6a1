"""What projects want replaced in everything that is stored of their conversations.

It works on the text of JSON, string by string: what is left alone stays as it was written, to the last digit of
a number. JSON inside strings (arguments of tools) is gone through as JSON, because escapes hide what follows
them. Keys of objects count as strings; the names and roles of chat messages themselves, and the data of images,
are left alone.

Redaction never fails. Where something cannot be looked into, or looking takes too long, it is replaced whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from time import thread_time
from typing import TYPE_CHECKING, Any

import msgspec

from dragoman.errors import InvalidRequest
from dragoman.policy.interactions.personal_data import (
    Span,
    find_cards,
    find_ip_v4,
    find_ip_v6,
    find_phones,
    has_digit,
)
from dragoman.records.interaction import InteractionContent
from dragoman.records.project import RedactionRule
from dragoman.records.tool_server import ToolCallRecord

if TYPE_CHECKING:
    import re2

MAX_S = 0.25
"""The time of a processor that one conversation may take: with some patterns, the search for each match reads
far beyond it, and settlements wait meanwhile."""
MAX_PATTERN_BYTES = 1 << 20
"""The memory of a compiled pattern."""
MAX_DEPTH = 4
"""Of JSON in strings of JSON in strings …"""
WITHHELD = "[withheld]"
"""In place of a string that cannot be read."""

# Letters and digits of any script. Linear: between two matches there is an `@`, which ends the search.
_EMAIL = r"[\pL\pN._%+'\-]+@(?:[\pL\pN\-]+\.)+\pL{2,}"

_TOKEN = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*"(?P<colon>\s*:)?|(?P<number>-?[0-9][0-9.eE+\-]*)', re.DOTALL
)
_DATA_URI = re.compile(r"data:[\w.+/\-]{1,100};base64,[A-Za-z0-9+/]*={0,2}", re.ASCII)
_KEYS = frozenset(
    {
        *("role", "content", "type", "text", "name", "refusal", "reasoning_content", "parameters"),
        *("tool_calls", "tool_call_id", "id", "function", "arguments", "index", "description"),
        *("image_url", "url", "detail", "metadata", "completion_id", "properties", "required"),
    }
)
_WORDS = frozenset(
    {
        *("system", "developer", "user", "assistant", "tool", "function", "text", "image_url"),
        *("object", "string", "number", "integer", "boolean", "array", "null", ""),
    }
)

Find = Callable[[str, "_Budget"], Iterator[Span]]


class _Budget:
    """How long it may still take."""

    def __init__(self) -> None:
        self._end_s: float | None = None

    def is_spent(self) -> bool:
        now_s = thread_time()
        if self._end_s is None:
            self._end_s = now_s + MAX_S
        return now_s > self._end_s


class _Rule(msgspec.Struct, frozen=True):
    may_find: Callable[[str], bool]
    """Cheap; never wrong when it says no. Also asked of JSON as it is written."""
    find: Find
    replacement: str


def redact(content: InteractionContent, rules: Sequence[RedactionRule]) -> InteractionContent:
    """`content` as it may be stored. Each rule takes some 25 ms for each MB."""
    if not rules:
        return content
    redactor = _Redactor(_compiled(tuple(rules)))
    return InteractionContent(
        messages=redactor.json(content.messages),
        completion=redactor.optional_json(content.completion),
        system_prompt=redactor.optional_text(content.system_prompt),
        arguments=redactor.optional_json(content.arguments),
        tools=redactor.optional_json(content.tools),
        tool_calls=tuple(map(redactor.tool_call, content.tool_calls)),
    )


def redact_text(text: str, rules: Sequence[RedactionRule]) -> str:
    """The same of one text."""
    return _Redactor(_compiled(tuple(rules))).text(text) if rules else text


def check_rule(rule: RedactionRule, param: str = "redact") -> None:
    """Raises `InvalidRequest`, which names a field below `param`."""
    if rule.kind != "pattern":
        if rule.pattern is not None:
            raise InvalidRequest(
                f"{param}.pattern goes with kind 'pattern', not with {rule.kind!r}; leave it out",
                param=f"{param}.pattern",
            )
        return
    if not rule.pattern:
        raise InvalidRequest(
            f"{param}.pattern is missing; write a regular expression in RE2's syntax",
            param=f"{param}.pattern",
        )
    import re2  # noqa: PLC0415 - few need it

    try:
        matches_nothing = _compile_pattern(rule.pattern).search("") is not None
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidRequest(
            f"{param}.pattern {rule.pattern[:60]!r} is no regular expression in RE2's syntax: "
            + _said(error)[:200],
            param=f"{param}.pattern",
        ) from error
    if matches_nothing:
        raise InvalidRequest(
            f"{param}.pattern {rule.pattern[:60]!r} matches even where there is nothing; let it match at"
            " least one character",
            param=f"{param}.pattern",
        )


class _Redactor:
    """Of one conversation."""

    def __init__(self, rules: tuple[_Rule, ...]) -> None:
        self._rules = rules
        self._budget = _Budget()

    def json(self, raw: msgspec.Raw) -> msgspec.Raw:
        text = bytes(raw).decode("utf-8", "replace")
        redacted = self._json_text(text, 0)
        return raw if redacted is text else msgspec.Raw(redacted.encode())

    def optional_json(self, raw: msgspec.Raw | None) -> msgspec.Raw | None:
        return None if raw is None else self.json(raw)

    def optional_text(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def tool_call(self, call: ToolCallRecord) -> ToolCallRecord:
        return msgspec.structs.replace(
            call, arguments=self.text(call.arguments), result=self.text(call.result)
        )

    def text(self, text: str, depth: int = 0) -> str:
        """A text, which may be JSON."""
        if not text.isascii():
            # What cannot be stored either: halves of surrogate pairs.
            text = text.encode("utf-8", "replace").decode()
        if depth < MAX_DEPTH and text.lstrip()[:1] in ("{", "[") and _is_json(text):
            text = self._json_text(text, depth)
        # Patterns may also mean JSON as it is written: names with their values.
        for rule in self._rules:
            if rule.may_find(text):
                text = self._replaced(text, rule)
        return text

    def _json_text(self, text: str, depth: int) -> str:
        """`text` itself where nothing is found in it."""
        if "\\" not in text and not any(rule.may_find(text) for rule in self._rules):
            return text
        pieces: list[str] = []
        done = 0
        for token in _TOKEN.finditer(text):
            written = token[0]
            redacted = self._token(token, depth)
            if redacted is not written:
                pieces += (text[done : token.start()], redacted)
                done = token.end()
        if not pieces:
            return text
        return "".join((*pieces, text[done:]))

    def _token(self, token: re.Match[str], depth: int) -> str:
        written = token[0]
        if token["number"] is not None:
            redacted = self.text(written, MAX_DEPTH)
            return written if redacted == written else _quoted(redacted)
        colon = token["colon"] or ""
        inside = written[1 : len(written) - len(colon) - 1]
        if inside in (_KEYS if colon else _WORDS) or _DATA_URI.fullmatch(inside) is not None:
            return written
        if "\\" in inside:
            try:
                inside = msgspec.json.decode(f'"{inside}"', type=str)
            except msgspec.MsgspecError:
                return _quoted(WITHHELD) + colon
        redacted = self.text(inside, depth + 1)
        return written if redacted == inside else _quoted(redacted) + colon

    def _replaced(self, text: str, rule: _Rule) -> str:
        pieces: list[str] = []
        done = 0
        for start, end in rule.find(text, self._budget):
            pieces += (text[done:start], rule.replacement)
            done = end
        if not pieces:
            return text
        return "".join((*pieces, text[done:]))


@lru_cache(maxsize=256)
def _compiled(rules: tuple[RedactionRule, ...]) -> tuple[_Rule, ...]:
    return tuple(compiled for rule in rules for compiled in _compile(rule))


def _compile(rule: RedactionRule) -> tuple[_Rule, ...]:
    replacement = rule.replacement
    if replacement is None:
        replacement = "[redacted]" if rule.kind == "pattern" else f"[{rule.kind}]"
    match rule.kind:
        case "email":
            return (_Rule(lambda text: "@" in text, _pattern_finder(_EMAIL), replacement),)
        case "phone":
            return (
                _Rule(
                    has_digit, lambda text, budget: find_phones(text, budget.is_spent), replacement
                ),
            )
        case "card":
            find: Find = lambda text, budget: find_cards(text, budget.is_spent)  # noqa: E731
            return (_Rule(has_digit, find, replacement),)
        case "ip_address":
            # IPv6 addresses may end in an IPv4 address.
            return (
                _Rule(
                    has_digit, lambda text, budget: find_ip_v6(text, budget.is_spent), replacement
                ),
                _Rule(
                    has_digit, lambda text, budget: find_ip_v4(text, budget.is_spent), replacement
                ),
            )
        case "pattern":
            return (_Rule(bool, _pattern_finder(rule.pattern or ""), replacement),)


def _pattern_finder(pattern: str) -> Find:
    import re2  # noqa: PLC0415 - few need it

    try:
        compiled = _compile_pattern(pattern)
    except (re2.error, UnicodeEncodeError):
        # It was checked when it was set; should it be invalid all the same, nothing may pass.
        return lambda text, _: iter([(0, len(text))])

    def find(text: str, budget: _Budget) -> Iterator[Span]:
        if budget.is_spent():
            yield 0, len(text)
            return
        for count, match in enumerate(compiled.finditer(text), 1):
            start, end = match.span()
            if count % 32 == 0 and budget.is_spent():
                yield start, len(text)
                return
            if end > start:
                yield start, end

    return find


def _compile_pattern(pattern: str) -> re2._Regexp[Any]:
    """Raises `re2.error`."""
    import re2  # noqa: PLC0415 - few need it

    options = re2.Options()
    options.max_mem = MAX_PATTERN_BYTES
    options.log_errors = False
    return re2.compile(pattern, options)


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
