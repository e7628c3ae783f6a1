"""Answers in motion fold into answers at rest, and nothing half-told passes for an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.chat import (
    ChatResponse,
    Choice,
    Collector,
    CutChoice,
    Failed,
    Finished,
    Message,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    Sampling,
    Started,
    StreamEvent,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
    collect,
    events_of,
    merge_turns,
)
from dragoman.errors import ProviderGarbled, ProviderOverloaded

TEXT = st.text(max_size=20)
PARTS = st.one_of(
    st.builds(Text, TEXT),
    st.builds(Reasoning, text=TEXT, signature=st.none() | TEXT),
    st.builds(ToolCall, id=TEXT, name=TEXT, arguments=TEXT),
    st.builds(Refusal, TEXT),
)
CHOICES = st.builds(
    Choice,
    parts=st.lists(PARTS, max_size=4).map(tuple),
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter", "paused"]),
    stop_sequence=st.none() | TEXT,
)
RESPONSES = st.builds(
    ChatResponse,
    choices=st.lists(CHOICES, min_size=1, max_size=3).map(tuple),
    usage=st.builds(Usage, input_tokens=st.integers(0, 9), output_tokens=st.integers(0, 9)),
    upstream_id=st.none() | TEXT,
)


@given(RESPONSES)
def test_collect_undoes_events_of(response: ChatResponse) -> None:
    assert collect(events_of(response)) == response


@given(RESPONSES, st.data())
def test_events_may_come_in_batches_of_any_size(
    response: ChatResponse, data: st.DataObject
) -> None:
    events = events_of(response)
    collector = Collector()
    while events:
        size = data.draw(st.integers(1, len(events)))
        collector.feed(events[:size])
        events = events[size:]
    assert collector.response() == response


@given(RESPONSES, st.data())
def test_an_answer_that_lost_its_end_is_never_complete(
    response: ChatResponse, data: st.DataObject
) -> None:
    events = events_of(response)
    kept = data.draw(st.integers(0, len(events) - 1))
    with pytest.raises(ProviderGarbled):
        collect(events[:kept] if len(response.choices) == 1 else events[: min(kept, 1)])


def test_logprobs_are_kept_with_their_choice() -> None:
    logprobs = (TokenLogprob("Hi", -0.5, None, (TokenLogprob("Hi", -0.5),)),)
    choice = Choice(parts=(Text("Hi"),), finish_reason="stop", logprobs=logprobs)
    response = ChatResponse(choices=(choice,), usage=Usage())
    assert collect(events_of(response)) == response


def test_a_reasoning_part_takes_its_signature_from_its_end() -> None:
    events: list[StreamEvent] = [
        Started(),
        PartStarted(Reasoning()),
        PartDelta("because"),
        PartEnded(signature="proof"),
        Finished("stop", usage=Usage()),
    ]
    assert collect(events).choices[0].parts == (Reasoning(text="because", signature="proof"),)


def test_a_failure_is_raised_as_it_is() -> None:
    error = ProviderOverloaded(retry_after_s=3)
    with pytest.raises(ProviderOverloaded) as caught:
        collect([Started(), Failed(error)])
    assert caught.value is error


@pytest.mark.parametrize(
    "events",
    [
        [],
        [Started(), Started()],
        [PartDelta("x")],
        [Started(), PartDelta("x")],
        [Started(), PartEnded()],
        [Started(), PartStarted(Text("")), PartStarted(Text(""))],
        [Started(), PartStarted(Text("")), Finished("stop")],
        [Started(), Finished("stop"), PartStarted(Text(""))],
        [Started(1), Finished("stop", 1)],
    ],
)
def test_an_illegal_order_of_events_is_garbled(events: list[StreamEvent]) -> None:
    with pytest.raises(ProviderGarbled):
        collect(events)


@given(data=st.data(), response=st.builds(ChatResponse, choices=st.tuples(CHOICES, CHOICES)))
def test_an_answer_that_is_cut_off_has_what_came_of_it(
    data: st.DataObject, response: ChatResponse
) -> None:
    events = events_of(response)
    collector = Collector()
    end = data.draw(st.integers(0, len(events)))
    collector.feed(events[:end])
    cut = collector.cut_off()
    begun = {event.choice for event in events[:end] if isinstance(event, Started)}
    assert [each.index for each in cut] == sorted(begun)
    for each in cut:
        choice = response.choices[each.index]
        last = Finished(choice.finish_reason, each.index)
        is_whole = any(
            isinstance(event, Finished) and event.choice == last.choice for event in events[:end]
        )
        assert each.finish_reason == (choice.finish_reason if is_whole else None)
        assert len(each.parts) <= len(choice.parts)
        if is_whole:
            assert each.parts == choice.parts


def test_an_open_part_is_cut_where_it_is() -> None:
    collector = Collector()
    collector.feed([Started(), PartStarted(Text("on")), PartDelta("e tw"), PartDelta("o")])
    assert collector.cut_off() == (CutChoice(0, (Text("one two"),), None),)
    assert Collector().cut_off() == ()


def test_neighbouring_turns_of_one_role_are_merged_and_others_are_not() -> None:
    a, b = Message("user", (Text("a"),)), Message("user", (Text("b"),))
    named = Message("user", (Text("c"),), name="ann")
    assistant = Message("assistant", (Text("d"),))
    assert merge_turns([a, b, named, assistant]) == [
        Message("user", (Text("a"), Text("b"))),
        named,
        assistant,
    ]


def test_sampling_goes_over_other_sampling_where_it_says_something() -> None:
    below = Sampling(temperature=0.2, top_p=0.9, logit_bias=((5, 1.0),))
    assert Sampling().over(below) is below
    assert Sampling(temperature=0.0, seed=7).over(below) == Sampling(
        temperature=0.0, top_p=0.9, seed=7, logit_bias=((5, 1.0),)
    )
    assert Sampling(logit_bias=((6, 2.0),)).over(below).logit_bias == ((6, 2.0),)
