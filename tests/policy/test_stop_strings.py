"""Stop strings applied by us give the text that a target applying them itself would give."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from dragoman.chat import (
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
    Text,
    ToolCall,
    Usage,
    collect,
)
from dragoman.policy.stop_strings import StopScanner


def stream(pieces: list[str], choice: int = 0, usage: Usage | None = None) -> list[StreamEvent]:
    deltas = [PartDelta(piece, choice) for piece in pieces]
    return [
        Started(choice),
        PartStarted(Text(""), choice),
        *deltas,
        PartEnded(choice),
        Finished("stop", choice, None, usage),
    ]


def scan(events: list[StreamEvent], stops: list[str], choices: int = 1) -> list[StreamEvent]:
    scanner = StopScanner(stops, choices)
    out: list[StreamEvent] = []
    for event in events:
        out += scanner.feed([event])
        if scanner.is_done:
            return out + scanner.close(Usage(output_tokens=1, is_estimated=True))
    return out


@example(pieces=["ac", "c"], stops=["c", "acc"])
@given(
    pieces=st.lists(st.text(alphabet="abc", max_size=4), max_size=12),
    stops=st.lists(st.text(alphabet="abc", min_size=1, max_size=3), min_size=1, max_size=5),
)
def test_text_ends_before_the_first_stop_string_however_it_was_split(
    pieces: list[str], stops: list[str]
) -> None:
    whole = "".join(pieces)
    found = [(at + len(stop), at) for stop in stops if (at := whole.find(stop)) >= 0]
    answer = collect(scan(stream(pieces, usage=Usage(output_tokens=9)), stops)).choices[0]
    assert answer.text == (whole[: min(found)[1]] if found else whole)
    if found:
        assert answer.stop_sequence in stops
        assert whole.startswith(answer.stop_sequence, min(found)[1])
    else:
        assert answer.stop_sequence is None


def test_text_that_cannot_become_a_stop_string_is_not_held_back() -> None:
    scanner = StopScanner(["END"], 1)
    scanner.feed([Started(), PartStarted(Text(""))])
    assert scanner.feed([PartDelta("hello")]) == [PartDelta("hello")]
    assert scanner.feed([PartDelta(" E")]) == [PartDelta(" ")]
    assert scanner.feed([PartDelta("N")]) == []
    assert scanner.feed([PartDelta("x")]) == [PartDelta("ENx")]


def test_a_stopped_choice_waits_for_the_others_and_keeps_their_usage() -> None:
    usage = Usage(output_tokens=7)
    first = stream(["aXb"], 0)
    second = stream(["plain"], 1, usage)
    scanner = StopScanner(["X"], 2)
    out = scanner.feed([*first[:3], *second[:-1]])
    assert not scanner.is_done
    out += scanner.feed([first[-1], second[-1]])
    answer = collect(out)
    assert [choice.text for choice in answer.choices] == ["a", "plain"]
    assert answer.usage == usage


def test_the_generation_may_end_when_every_choice_was_stopped() -> None:
    scanner = StopScanner(["X"], 2)
    out = scanner.feed([*stream(["aX"], 0)[:3], *stream(["bX"], 1)[:3]])
    assert scanner.is_done
    usage = Usage(output_tokens=2, is_estimated=True)
    answer = collect(out + scanner.close(usage))
    assert [choice.text for choice in answer.choices] == ["a", "b"]
    assert answer.usage == usage


def test_tool_arguments_are_no_text_to_stop_in() -> None:
    call = ToolCall(id="call_1", name="f", arguments="")
    events: list[StreamEvent] = [
        Started(),
        PartStarted(call),
        PartDelta('{"a":"X"}'),
        PartEnded(),
        Finished("tool_calls", usage=Usage()),
    ]
    assert scan(events, ["X"]) == events
