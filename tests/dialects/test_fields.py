"""What clients are told of bodies that cannot be decoded."""

from __future__ import annotations

import msgspec
import pytest

from dragoman.dialects.fields import BodyDecoder, require_range
from dragoman.errors import InvalidRequest, MalformedBody


class Body(msgspec.Struct, forbid_unknown_fields=True):
    text: str = ""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "ends too early"),
        (b'{"text":"secret"', "ends too early"),
        (b'{"text":"secret \\ud800 half"}', "surrogate pair"),
        (b'{"text":secret}', "byte 8"),
        (b'{"text":"secret"} more', "trailing characters"),
        (b'{"text":"secret \xff"}', "not UTF-8"),
        (b'{"other":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_is_told_where_and_not_repeated(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody, match=reason) as caught:
        BodyDecoder(Body).decode(body)
    assert str(caught.value).startswith("The body is not valid JSON: ")
    assert "secret" not in str(caught.value)


def test_json_that_is_no_object_is_told_so() -> None:
    with pytest.raises(MalformedBody, match="must be a JSON object"):
        BodyDecoder(Body).decode(b"[]")


def test_bounds_are_told_in_full() -> None:
    with pytest.raises(InvalidRequest, match=r"between 0 and 2147483647$"):
        require_range("max_tokens", -1, 0, 2147483647)
    with pytest.raises(InvalidRequest, match=r"between -2 and 2\.5$"):
        require_range("penalty", 3, -2, 2.5)
