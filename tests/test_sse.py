"""The parser against the specification's own cases, and any split of any stream."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.sse import EventTooLarge, SseEvent, SseParser


def parse(*pieces: bytes) -> list[tuple[bytes, bytes]]:
    parser = SseParser()
    return [(event.name, event.data) for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [(b"message", b"a")]),
        (b"data:a\n\n", [(b"message", b"a")]),
        (b"data:  a\n\n", [(b"message", b" a")]),
        (b"data: a\r\n\r\n", [(b"message", b"a")]),
        (b"data: a\r\r", [(b"message", b"a")]),
        (b"data: a\r\n\n", [(b"message", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"message", b"a")]),
        (b"data: a\ndata: b\n\n", [(b"message", b"a\nb")]),
        (b"data\n\ndata\ndata\n\ndata:", [(b"message", b""), (b"message", b"\n")]),
        (b": a comment\n\ndata: a\n\n", [(b"message", b"a")]),
        (b"data: a\n: a comment\n\n", [(b"message", b"a")]),
        (b"event: ping\ndata: {}\n\n", [(b"ping", b"{}")]),
        (b"data: {}\nevent: ping\n\n", [(b"ping", b"{}")]),
        (b"event: ping\n\ndata: a\n\n", [(b"message", b"a")]),
        (b"event:\ndata: a\n\n", [(b"message", b"a")]),
        (b"id: 7\nretry: 10\nother: x\ndata: a\n\n", [(b"message", b"a")]),
        (b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [(b"message", b"a"), (b"message", b"b")]),
        (b"data: no blank line", []),
        (b"data: no blank line\n", []),
        (b"data: caf\xc3\xa9: x\n\n", [(b"message", b"caf\xc3\xa9: x")]),
        (b"data : a\n\n", []),
        (b"", []),
    ],
)
def test_streams_are_read_as_the_specification_says(
    stream: bytes, events: list[tuple[bytes, bytes]]
) -> None:
    assert parse(stream) == events


LINE = st.sampled_from(
    [b"data: x", b"data: y z", b"data:", b"data", b"event: e", b": note", b"id: 1", b"junk", b""]
)
END = st.sampled_from([b"\n", b"\r\n", b"\r"])


def lines_read_one_by_one(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The specification's algorithm, line by line, as a reference."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events = []
    data: list[bytes] = []
    name = b""
    for line in text.split(b"\n")[:-1]:
        if not line:
            if data:
                events.append((name or b"message", b"\n".join(data)))
            data, name = [], b""
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


@settings(deadline=None)
@given(
    st.lists(st.tuples(LINE, END), max_size=30),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_any_split_yields_the_same_events(
    lines: list[tuple[bytes, bytes]], has_mark: bool, cuts: list[int]
) -> None:
    stream = (b"\xef\xbb\xbf" if has_mark else b"") + b"".join(a + b for a, b in lines)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    expected = lines_read_one_by_one(stream)
    assert parse(stream) == expected
    assert parse(*pieces) == expected
    assert parse(*[stream[i : i + 1] for i in range(len(stream))]) == expected


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_read_as_lines(stream: bytes) -> None:
    assert parse(*[stream[i : i + 1] for i in range(len(stream))]) == lines_read_one_by_one(stream)


def test_an_event_past_the_bound_is_refused() -> None:
    parser = SseParser(max_event_bytes=100)
    assert parser.feed(b"data: " + b"a" * 90) == []
    with pytest.raises(EventTooLarge):
        parser.feed(b"a" * 10)


def test_many_small_events_are_no_long_event() -> None:
    parser = SseParser(max_event_bytes=100)
    assert parser.feed(b"data: a\n\n" * 1000) == [SseEvent(b"a")] * 1000


def test_a_long_event_in_single_bytes_is_not_copied_each_time() -> None:
    parser = SseParser()
    for _ in range(300_000):
        parser.feed(b"a")
    assert parser.has_pending
    assert parser.feed(b"\n\n") == []


def test_pending_says_whether_an_event_was_cut() -> None:
    parser = SseParser()
    parser.feed(b"data: a\n\n\n")
    assert not parser.has_pending
    parser.feed(b"data: b\n")
    assert parser.has_pending
