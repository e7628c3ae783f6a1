"""A request's life over scripted targets: fallback, first-token time, metering, leaving early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.pipeline.house import (
    USAGE,
    House,
    Step,
    asking,
    house,
    said,
)

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Failed,
    Finished,
    RequestContext,
    Sampling,
    Started,
    Usage,
    collect,
)
from dragoman.errors import (
    ContextOverflow,
    FirstTokenTimeout,
    InvalidRequest,
    ProviderGarbled,
    ProviderOverloaded,
    UnknownEntity,
    UnsupportedField,
)


async def both_ways(make: Callable[[], House], request: ChatRequest) -> list[ChatResponse]:
    whole, _ = await make().complete(request)
    events, _ = await make().stream(request)
    return [whole, collect(events)]


async def test_whole_and_streamed_answers_are_the_same_fold() -> None:
    whole, streamed = await both_ways(lambda: house([said("hello")]), asking())
    assert whole == streamed
    assert whole.choices[0].text == "hello"
    assert whole.usage == USAGE


async def test_an_answer_in_one_piece_is_the_same_as_its_fold() -> None:
    scripts: list[list[Step]] = [
        [said("hello")],
        [said("12345678", usage=None)],
        [[*said("one", None), *said("two", choice=1)]],
        [said("one two STOP three")],
    ]
    asked = [asking(), asking(), asking(choices=2), asking(stop=("nope", "STOP"))]
    for script, request in zip(scripts, asked, strict=True):
        folded, _ = await house(script, max_stops=1).complete(request)
        made = house(script, max_stops=1)
        made.target.gives_wholes = True
        whole, _ = await made.complete(request)
        assert whole == folded


async def test_an_answer_in_one_piece_that_lacks_a_choice_is_not_presented_as_complete() -> None:
    made = house([said("one of two")])
    made.target.gives_wholes = True
    with pytest.raises(ProviderGarbled):
        await made.complete(asking(choices=2))


async def test_the_answer_is_headed_by_the_model_that_gave_it() -> None:
    made = house([ProviderOverloaded()], [said("from the second")])
    response, head = await made.complete(asking())
    assert response.choices[0].text == "from the second"
    assert (head.model, head.request_id, head.created_s) == ("second", "req_1", 1_700_000_000)


async def test_a_fallback_answers_when_the_first_fails_before_its_first_token() -> None:
    scripts: list[list[Step]] = [[ProviderOverloaded()], [[Started()], ProviderGarbled()], []]
    for first in scripts:
        made = house(first, [said("second")])
        events, head = await made.stream(asking())
        assert collect(events).choices[0].text == "second"
        assert head.model == "second"
        assert made.target.closed == ["first", "second"]


async def test_a_whole_answer_falls_back_even_when_it_breaks_in_the_middle() -> None:
    made = house([said("hal")[:3], ProviderGarbled()], [said("second")])
    response, _ = await made.complete(asking())
    assert response.choices[0].text == "second"


async def test_a_stream_never_falls_back_once_a_token_was_handed_over() -> None:
    made = house([said("hal")[:3], ProviderGarbled()], [said("second")])
    events, head = await made.stream(asking())
    assert head.model == "first"
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, ProviderGarbled)
    assert not any(isinstance(event, Finished) for event in events)
    assert made.target.closed == ["first"]


async def test_an_answer_that_just_ends_is_not_presented_as_complete() -> None:
    events, _ = await house([said("hal")[:3]]).stream(asking())
    assert isinstance(events[-1], Failed)
    with pytest.raises(ProviderGarbled):
        await house([said("hal")[:3]]).complete(asking())
    with pytest.raises(ProviderGarbled):
        await house([said("one of two")]).complete(asking(choices=2))


async def test_the_clients_own_fault_is_not_tried_again_elsewhere() -> None:
    made = house([InvalidRequest("bad", param="messages")], [said("second")])
    with pytest.raises(InvalidRequest):
        await made.complete(asking())
    assert made.target.closed == ["first"]


async def test_what_one_wire_format_cannot_say_another_may() -> None:
    made = house([UnsupportedField("temperature", param="temperature")], [said("second")])
    response, _ = await made.complete(asking())
    assert response.choices[0].text == "second"


async def test_a_campaign_that_does_not_exist_is_named() -> None:
    asked = asking(context=RequestContext(campaign="spring"))
    with pytest.raises(UnknownEntity, match="campaign 'spring' does not exist") as caught:
        await house([]).admit(asked)
    assert caught.value.entity == "ab_campaign"


async def test_a_prompt_too_long_for_one_model_may_fit_the_next() -> None:
    made = house([ContextOverflow("too long")], [said("second")])
    response, _ = await made.complete(asking())
    assert response.choices[0].text == "second"


async def test_when_every_target_fails_the_last_error_is_told() -> None:
    made = house([ProviderGarbled()], [ProviderOverloaded(retry_after_s=7)])
    with pytest.raises(ProviderOverloaded) as caught:
        await made.complete(asking())
    assert caught.value.retry_after_s == 7


async def test_an_unknown_model_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownEntity, match="model 'zz' does not exist; there are 'first'"):
        await house([]).admit(asking("zz"))


async def test_more_choices_than_the_server_allows_are_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="n must be at most 4") as caught:
        await house([]).admit(asking(choices=5))
    assert caught.value.param == "n"


@pytest.mark.parametrize("streamed", [False, True])
async def test_no_first_token_within_max_ttft_is_a_408_and_ends_the_call(streamed: bool) -> None:
    never = asyncio.Event()
    made = house([[Started()], never])
    request = asking(context=RequestContext(max_ttft_ms=20))
    with pytest.raises(FirstTokenTimeout):
        await (made.stream(request) if streamed else made.complete(request))
    assert made.target.closed == ["first"]


async def test_max_ttft_of_0_is_always_over_and_asks_nobody() -> None:
    made = house([said("quick")])
    with pytest.raises(FirstTokenTimeout):
        await made.complete(asking(context=RequestContext(max_ttft_ms=0)))
    assert made.target.asked == []


async def test_max_ttft_counts_from_the_requests_arrival() -> None:
    made = house([said("quick")])
    tab = made.tab()
    plan = await made.pipeline.admit(asking(context=RequestContext(max_ttft_ms=50)), tab)
    made.clock.now_s += 0.051
    with pytest.raises(FirstTokenTimeout):
        await made.pipeline.open(plan, tab)


async def test_max_ttft_is_the_lesser_of_the_requests_and_the_models_own() -> None:
    made = house([asyncio.Event()], max_ttft_ms=20)
    plan = await made.admit(asking(context=RequestContext(max_ttft_ms=60_000)))
    assert plan.max_ttft_ms == 20


async def test_a_slow_end_is_not_a_slow_first_token() -> None:
    gate = asyncio.Event()
    made = house([said("hello")[:3], gate, said("hello")[3:]])
    asyncio.get_running_loop().call_later(0.6, gate.set)
    response, _ = await made.complete(asking(context=RequestContext(max_ttft_ms=500)))
    assert response.choices[0].text == "hello"


async def test_usage_that_the_provider_does_not_report_is_counted_and_marked() -> None:
    whole, streamed = await both_ways(lambda: house([said("12345678", usage=None)]), asking())
    assert whole.usage == streamed.usage
    assert whole.usage.is_estimated
    assert whole.usage.output_tokens == 2
    assert whole.usage.input_tokens > 0


async def test_the_input_is_counted_exactly_where_the_provider_can_tell() -> None:
    made = House({"counting": {}}, {"counting": [said("x", usage=None)]})
    response, _ = await made.complete(asking("counting"))
    assert response.usage.input_tokens == 11


async def test_a_maximum_of_0_gives_length_at_once_without_a_model() -> None:
    made = House({"counting": {}}, {"counting": []})
    response, _ = await made.complete(asking("counting", max_output_tokens=0, choices=2))
    assert [choice.finish_reason for choice in response.choices] == ["length", "length"]
    assert [choice.text for choice in response.choices] == ["", ""]
    assert response.usage == Usage(input_tokens=11)
    assert made.target.asked == []


async def test_stop_strings_over_the_targets_limit_are_applied_here_and_end_the_call() -> None:
    never = asyncio.Event()
    script: list[Step] = [said("one two STOP three")[:3], never]
    request = asking(stop=("nope", "STOP"))
    whole, streamed = await both_ways(lambda: house(script, max_stops=1), request)
    assert whole == streamed
    assert whole.choices[0].text == "one two "
    assert whole.choices[0].stop_sequence == "STOP"
    assert whole.usage.is_estimated


async def test_leaving_early_closes_the_providers_stream() -> None:
    made = house([said("hello")[:3], asyncio.Event()])
    tab = made.tab()
    answer = await made.pipeline.open(await made.pipeline.admit(asking(), tab), tab)
    await anext(answer.batches)
    await answer.batches.aclose()
    assert made.target.closed == ["first"]


async def test_cancelling_a_whole_answer_closes_the_providers_stream() -> None:
    made = house([said("hello")[:3], asyncio.Event()])
    task = asyncio.ensure_future(made.complete(asking()))
    await made.target.was_asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.target.closed == ["first"]


async def test_ids_are_fresh_uuids_unless_the_client_gave_its_session() -> None:
    _, one = await house([said("a")]).complete(asking())
    _, two = await house([said("a")]).complete(asking())
    assert len({one.response_id, two.response_id}) == 2
    assert one.session_id != two.session_id
    session = "6c1ad9a4-3a8e-4a41-8f43-0e9f0a0f0a0f"
    _, kept = await house([said("a")]).complete(
        asking(context=RequestContext(session_id=session), sampling=Sampling(temperature=0.5))
    )
    assert kept.session_id == session
