"""Ids are of random digits, used once."""

from __future__ import annotations

import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from dragoman.policy.ids import RandomHex, request_id, uuid4


def test_no_digits_are_given_out_twice() -> None:
    noise = RandomHex()
    drawn = [noise.draw(32) for _ in range(5000)]
    assert len(set(drawn)) == len(drawn)
    assert all(len(digits) == 32 and int(digits, 16) >= 0 for digits in drawn)


@given(st.lists(st.integers(1, 16_384), max_size=20))
def test_as_many_digits_are_drawn_as_were_asked_for(counts: list[int]) -> None:
    noise = RandomHex()
    assert [len(noise.draw(count)) for count in counts] == counts


@given(st.integers(0, 16**32 - 1))
def test_a_uuid_has_version_4_and_the_standard_variant(number: int) -> None:
    made = uuid.UUID(uuid4(f"{number:032x}"))
    assert made.version == 4
    assert made.variant == uuid.RFC_4122


def test_request_ids_of_one_moment_sort_together() -> None:
    noise = RandomHex()
    ids = [request_id(1_790_000_000 + second / 10, noise.draw(16)) for second in range(50)]
    assert ids == sorted(ids)
    assert all(re.fullmatch("req_[0-9a-f]{24}", each) for each in ids)


def test_request_ids_of_one_moment_differ_in_sixteen_random_digits() -> None:
    noise = RandomHex()
    first, second = (request_id(1_790_000_000.0, noise.draw(16)) for _ in range(2))
    assert first[:12] == second[:12]
    assert first[12:] != second[12:]
