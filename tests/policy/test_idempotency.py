"""What is kept of an answer is all of it, and it is given again as it was."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Choice,
    Finished,
    NanoUSD,
    Opaque,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    RequestContext,
    ResponseHead,
    Started,
    StreamEvent,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
    events_of,
)
from dragoman.errors import Conflict, InvalidRequest
from dragoman.policy.idempotency import (
    KEPT_FOR_S,
    AnswerKeeper,
    check_may_be_kept,
    hash_request,
    make_claim,
    read_answer,
    read_key,
)
from dragoman.records.idempotency import KeptAnswer
from dragoman.records.key import KeyId

HEAD = ResponseHead(
    request_id="req_first",
    response_id="a" * 32,
    created_s=1_700_000_000,
    model="a-model",
    session_id="5f0f4b6e-0000-4000-8000-000000000000",
    completion_ids=("5f0f4b6e-0000-4000-8000-000000000001",),
    system_fingerprint="fp_1",
)


def kept(answer: bytes | None) -> KeptAnswer:
    return KeptAnswer(request_id="req_first", answer=answer)


# --- The header ---


@pytest.mark.parametrize("key", ["k", "8e03978e-40d5-43e8-bc93-6894a57f9324", "a b~!" * 51])
def test_printable_key_is_taken_as_it_is(key: str) -> None:
    assert read_key({"idempotency-key": key}) == key


@pytest.mark.parametrize("key", ["", "k" * 256, "é", "a\tb", "a\x7f", "☃"])
def test_other_keys_are_refused_by_name(key: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 255 printable ASCII") as raised:
        read_key({"idempotency-key": key})
    assert raised.value.param == "Idempotency-Key"


def test_no_header_asks_for_nothing() -> None:
    assert read_key({"origin": "x"}) is None


@pytest.mark.parametrize(("store", "is_refused"), [(None, False), (True, False), (False, True)])
def test_what_must_not_be_kept_cannot_be_replayed(store: bool | None, is_refused: bool) -> None:
    request = ChatRequest(
        dialect="openai", target="m", messages=(), context=RequestContext(store=store)
    )
    if not is_refused:
        check_may_be_kept(request)
        return
    with pytest.raises(InvalidRequest, match="store: false") as raised:
        check_may_be_kept(request)
    assert raised.value.param == "store"


def test_path_stream_format_and_body_make_a_request_another() -> None:
    asked = {
        hash_request("/v1/messages", {}, b"{}"),
        hash_request("/v1/chat/completions", {}, b"{}"),
        hash_request("/v1/messages", {"x-stream-format": "text"}, b"{}"),
        hash_request("/v1/messages", {}, b"{ }"),
    }
    assert len(asked) == 4
    assert all(len(each) == 32 for each in asked)
    assert hash_request("/v1/messages", {"authorization": "x"}, b"{}") in asked


def test_claim_holds_for_a_day() -> None:
    claim = make_claim(KeyId("key_a"), "k", b"h", "req_1", 1000.0)
    assert claim.expires_s == 1000.0 + KEPT_FOR_S == 1000.0 + 86_400


# --- Answers ---

choices = st.integers(0, 3)
texts = st.text(max_size=20)
logprobs = st.none() | st.lists(
    st.builds(
        TokenLogprob,
        token=texts,
        logprob=st.floats(-9, 0),
        bytes=st.none() | st.lists(st.integers(0, 255), max_size=3).map(tuple),
        top=st.just(()) | st.just((TokenLogprob("x", -1.5),)),
    ),
    max_size=2,
).map(tuple)
parts = st.one_of(
    st.builds(Text, texts),
    st.builds(Reasoning, text=texts, signature=st.none() | texts, redacted=st.none() | texts),
    st.builds(ToolCall, id=texts, name=texts, arguments=texts),
    st.builds(Refusal, texts),
    st.builds(Opaque, wire=st.just("anthropic"), kind=texts, json=st.just('{"a": [1]}')),
)
counts = st.integers(0, 1 << 40)
usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cached_input_tokens=counts,
    reasoning_tokens=counts,
    is_estimated=st.booleans(),
)
events = st.one_of(
    st.builds(Started, choices, st.none() | texts, st.none() | texts, st.none() | texts),
    st.builds(PartStarted, parts, choices),
    st.builds(PartDelta, texts, choices, logprobs),
    st.builds(PartEnded, choices, st.none() | texts),
    st.builds(Finished, st.sampled_from(["stop", "tool_calls"]), choices, st.none() | texts),
)


@given(st.lists(st.lists(events, min_size=1, max_size=5), max_size=6), usages)
def test_stream_is_replayed_batch_by_batch(batches: list[list[StreamEvent]], usage: Usage) -> None:
    keeper = AnswerKeeper()
    keeper.begin(HEAD)
    last: list[StreamEvent] = [PartEnded(0), Finished("stop", 0, None, usage)]
    for batch in [*batches, last]:
        keeper.feed(batch)
    replay = read_answer(kept(keeper.answer(NanoUSD(77))), "req_second")
    costing = msgspec.structs.replace(usage, cost_nano_usd=NanoUSD(77))
    assert replay.batches == [*batches, [PartEnded(0), Finished("stop", 0, None, costing)]]
    assert replay.head == msgspec.structs.replace(HEAD, request_id="req_second")


def test_whole_answer_is_replayed_whole() -> None:
    response = ChatResponse(
        choices=(
            Choice(
                parts=(
                    Reasoning(text="hm", signature="sig"),
                    Text("It is"),
                    ToolCall(id="call_1", name="look", arguments='{"at": "it"}'),
                ),
                finish_reason="tool_calls",
            ),
            Choice(
                parts=(Text("Yes"),),
                finish_reason="stop",
                stop_sequence=".",
                logprobs=(TokenLogprob("Yes", -0.1, (89, 101, 115)),),
            ),
        ),
        usage=Usage(input_tokens=7, output_tokens=9, cached_input_tokens=3),
        upstream_id="up",
        system_fingerprint="fp",
    )
    keeper = AnswerKeeper()
    keeper.begin(HEAD)
    keeper.feed(events_of(response))
    replayed = read_answer(kept(keeper.answer(None)), "req_second").response()
    assert replayed == response


def test_answer_that_is_too_long_is_not_run_again() -> None:
    keeper = AnswerKeeper(max_bytes=1000)
    keeper.begin(HEAD)
    keeper.feed([Started(), PartStarted(Text(""))])
    for _ in range(20):
        keeper.feed([PartDelta("x" * 100)])
    keeper.feed([PartEnded(), Finished("stop", usage=Usage())])
    answer = keeper.answer(NanoUSD(1))
    assert answer is None
    with pytest.raises(Conflict, match=r"answered, as req_first, .* too long") as raised:
        read_answer(kept(answer), "req_second")
    # No client is to try that again by itself.
    assert raised.value.retry_after_s is None


def test_bound_is_of_what_is_kept_and_not_below_it() -> None:
    keeper = AnswerKeeper(max_bytes=1000)
    keeper.begin(HEAD)
    keeper.feed([PartDelta("x" * 900)])
    keeper.feed([Finished("stop")])
    assert keeper.answer(None) is not None


@pytest.mark.parametrize("junk", [b"", b"\xc1", msgspec.msgpack.encode([1, 2])])
def test_answer_of_another_version_is_told_so(junk: bytes) -> None:
    with pytest.raises(Conflict, match="cannot be read by this version"):
        read_answer(kept(junk), "req_second")


def test_unknown_kind_of_event_is_told_so() -> None:
    batch = msgspec.msgpack.encode([(99, 0, None)])
    junk = msgspec.msgpack.encode([HEAD, [batch]])
    with pytest.raises(Conflict, match="cannot be read by this version"):
        read_answer(kept(junk), "req_second")


def test_bare_text_of_a_long_stream_takes_little_more_than_itself() -> None:
    keeper = AnswerKeeper()
    keeper.begin(HEAD)
    for _ in range(10_000):
        keeper.feed([PartDelta(" word")])
    keeper.feed([Finished("stop", usage=Usage())])
    answer = keeper.answer(None)
    assert answer is not None
    assert len(answer) < 10_000 * (5 + 8) + 1000
