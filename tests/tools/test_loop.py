"""The loop in which a model uses tools, with a model that follows a script and tools that a test holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from dragoman.chat import (
    ChatRequest,
    Finished,
    FinishReason,
    Message,
    Part,
    PartDelta,
    PartEnded,
    PartStarted,
    Reasoning,
    Started,
    StreamEvent,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
    collect,
)
from dragoman.errors import ContextOverflow, DragomanError
from dragoman.records.project import ToolBounds
from dragoman.records.tool_server import ServerTool, ToolCallRecord, ToolOutcome
from dragoman.tools.loop import LAST_WORDS, ToolKit, ToolLoop

Answer = list[StreamEvent] | DragomanError


class Clock:
    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


class Asker:
    """Gives one answer a round, and remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[ChatRequest] = []
        self.live_rounds = 0
        self.rounds = 1

    async def whole(self, request: ChatRequest) -> list[StreamEvent]:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, DragomanError):
            raise answer
        return answer

    async def live(self, request: ChatRequest) -> AsyncGenerator[list[StreamEvent], None]:
        self.live_rounds += 1
        for event in await self.whole(request):
            yield [event]

    def next_round(self) -> None:
        self.rounds += 1


class Box:
    """Tools that answer at once, or as `behave` says."""

    def __init__(self, behave: Callable[[str, str], Awaitable[ToolOutcome]] | None = None) -> None:
        self.behave = behave
        self.calls: list[tuple[str, str, float, int]] = []

    async def offered(self, servers: Sequence[str], *, timeout_s: float) -> list[ServerTool]:
        raise AssertionError("the loop is given its tools")

    async def call(
        self, tool: ServerTool, arguments: str, *, timeout_s: float, max_bytes: int
    ) -> ToolOutcome:
        self.calls.append((tool.id, arguments, timeout_s, max_bytes))
        if self.behave is not None:
            return await self.behave(tool.name, arguments)
        return ToolOutcome(text=f"{tool.name} says hello")


def server_tool(name: str) -> ServerTool:
    return ServerTool(server="s", name=name, function=Tool(name=f"s__{name}"))


def answer(*parts: Part, reason: FinishReason | None = None) -> list[StreamEvent]:
    events: list[StreamEvent] = [Started()]
    for part in parts:
        if isinstance(part, ToolCall):
            events += [
                PartStarted(msgspec.structs.replace(part, arguments="")),
                PartDelta(part.arguments),
                PartEnded(),
            ]
        else:
            assert isinstance(part, Text | Reasoning)
            events += [PartStarted(part), PartEnded()]
    calls = any(isinstance(part, ToolCall) for part in parts)
    usage = Usage(input_tokens=1, output_tokens=1)
    return [*events, Finished(reason or ("tool_calls" if calls else "stop"), 0, None, usage)]


def call(name: str, arguments: str = "{}", call_id: str = "c1") -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


DONE = answer(Text("done"))


class Case:
    """One request with tools, run to its end."""

    def __init__(
        self,
        *answers: Answer,
        bounds: ToolBounds | None = None,
        box: Box | None = None,
        results_bytes: int = 100_000,
        **request: Any,
    ) -> None:
        self.asker = Asker(*answers)
        self.box = box or Box()
        self.clock = Clock()
        self.records: list[ToolCallRecord] = []
        self.request = ChatRequest(
            dialect="studio",
            target="shop",
            messages=(Message("user", (Text("hi"),)),),
            **request,
        )
        kit = ToolKit(
            tools=(server_tool("a"), server_tool("b")),
            bounds=bounds or ToolBounds(),
            results_bytes=results_bytes,
        )
        self.loop = ToolLoop(self.request, kit, self.box, self.clock)

    async def shown(self) -> list[list[StreamEvent]]:
        return [batch async for batch in self.loop.run(self.asker, self.records.append)]

    async def parts(self) -> tuple[Part, ...]:
        return collect([event for batch in await self.shown() for event in batch]).choices[0].parts

    def results(self, round_number: int) -> list[ToolResult]:
        """What the model was told of the calls before that round."""
        return [
            part
            for message in self.asker.asked[round_number - 1].messages
            for part in message.parts
            if isinstance(part, ToolResult)
        ]


def told(result: ToolResult) -> list[str]:
    return [part.text for part in result.parts if isinstance(part, Text)]


async def test_a_round_without_calls_is_shown_whole() -> None:
    case = Case(DONE)
    assert await case.shown() == [DONE]
    assert [tool.name for tool in case.asker.asked[0].tools] == ["s__a", "s__b"]
    assert case.asker.rounds == 1


async def test_results_go_back_with_everything_that_the_model_said() -> None:
    thought = Reasoning(text="hm", signature="sig")
    first = answer(thought, Text("I will look"), call("s__a", '{"x":1}'))
    case = Case(first, DONE)
    assert await case.parts() == (Text("done"),)
    second = case.asker.asked[1]
    assert second.messages[1] == Message(
        "assistant", (thought, Text("I will look"), call("s__a", '{"x":1}'))
    )
    assert second.messages[2] == Message(
        "tool", (ToolResult(call_id="c1", parts=(Text("a says hello"),), name="s__a"),)
    )
    assert case.asker.rounds == 2
    assert case.records == [
        ToolCallRecord(round=1, tool="s/a", arguments='{"x":1}', result="a says hello")
    ]


async def test_calls_of_a_round_run_together_and_results_keep_their_order() -> None:
    both = asyncio.Barrier(2)
    first_may_end = asyncio.Event()

    async def behave(name: str, arguments: str) -> ToolOutcome:
        await both.wait()
        if name == "a":
            await first_may_end.wait()
        else:
            first_may_end.set()
        return ToolOutcome(text=name)

    first = answer(call("s__a", call_id="1"), call("s__b", call_id="2"))
    case = Case(first, DONE, box=Box(behave))
    await case.parts()
    assert [(each.call_id, told(each)) for each in case.results(2)] == [("1", ["a"]), ("2", ["b"])]
    assert [record.tool for record in case.records] == ["s/a", "s/b"]


async def test_the_last_round_has_no_tools_and_comes_as_it_is_made() -> None:
    case = Case(answer(call("s__a")), DONE, bounds=ToolBounds(rounds=2))
    assert len(await case.shown()) > 1
    assert case.asker.live_rounds == 1
    assert case.asker.asked[1].tool_choice == ToolChoice("none")
    assert told(case.results(2)[-1]) == ["a says hello", LAST_WORDS]


async def test_calls_in_the_last_round_are_not_shown() -> None:
    stubborn = answer(Text("so"), call("s__a"))
    case = Case(stubborn, bounds=ToolBounds(rounds=1))
    events = [event for batch in await case.shown() for event in batch]
    assert collect(events).choices[0].parts == (Text("so"),)
    assert collect(events).choices[0].finish_reason == "stop"
    assert case.box.calls == []


async def test_the_clients_own_functions_end_the_answer() -> None:
    first = answer(Text("both"), call("s__a", call_id="1"), call("mine", '{"q":1}', call_id="2"))
    case = Case(first, tools=(Tool(name="mine"),))
    batches = await case.shown()
    choice = collect(batches[0]).choices[0]
    assert choice.parts == (Text("both"), call("mine", '{"q":1}', call_id="2"))
    assert choice.finish_reason == "tool_calls"
    assert case.box.calls == []
    assert case.records == []


async def test_the_clients_functions_stay_in_the_last_round() -> None:
    case = Case(
        answer(call("s__a")),
        answer(call("mine")),
        bounds=ToolBounds(rounds=2),
        tools=(Tool(name="mine"),),
        tool_choice=ToolChoice("required"),
    )
    assert await case.parts() == (call("mine"),)
    assert [each.tool_choice.mode for each in case.asker.asked] == ["required", "auto"]
    assert [tool.name for tool in case.asker.asked[1].tools] == ["mine"]


async def test_a_failing_tool_is_the_models_to_deal_with() -> None:
    async def behave(name: str, arguments: str) -> ToolOutcome:
        return ToolOutcome(text="no such town", is_error=True, error="tool_failed")

    case = Case(answer(call("s__a")), DONE, box=Box(behave))
    assert await case.parts() == (Text("done"),)
    assert case.results(2)[0].is_error
    assert case.records[0].error == "tool_failed"


async def test_a_tool_that_does_not_exist_is_named_to_the_model() -> None:
    case = Case(answer(call("s__zzz")), DONE)
    await case.parts()
    assert case.results(2)[0].is_error
    assert "s__a, s__b" in told(case.results(2)[0])[0]
    assert (case.records[0].tool, case.records[0].error) == ("s__zzz", "unknown_tool")


async def test_more_calls_than_allowed_are_told_to_the_model() -> None:
    calls = [call("s__a", call_id=str(i)) for i in range(5)]
    case = Case(answer(*calls), DONE, bounds=ToolBounds(calls_per_round=2))
    await case.parts()
    assert len(case.box.calls) == 2
    assert [result.is_error for result in case.results(2)] == [False, False, True, True, True]
    assert [record.error for record in case.records[2:]] == ["too_many_calls"] * 3


async def test_when_time_is_up_the_model_is_asked_for_its_answer() -> None:
    clocks: list[Clock] = []

    async def behave(name: str, arguments: str) -> ToolOutcome:
        clocks[0].now_s += 50
        return ToolOutcome(text="late")

    case = Case(answer(call("s__a")), answer(call("s__a")), DONE, box=Box(behave))
    clocks.append(case.clock)
    assert await case.parts() == (Text("done"),)
    # Of the sixty seconds ten were left for the second call.
    assert [round(timeout_s) for _, _, timeout_s, _ in case.box.calls] == [20, 10]
    assert case.asker.live_rounds == 1
    assert told(case.results(3)[-1])[-1] == LAST_WORDS


async def test_results_are_bounded_each_and_together() -> None:
    async def behave(name: str, arguments: str) -> ToolOutcome:
        return ToolOutcome(text="x" * 500)

    calls = [call("s__a", call_id=str(i)) for i in range(2)]
    case = Case(
        answer(*calls),
        answer(*calls),
        DONE,
        bounds=ToolBounds(result_bytes=600),
        results_bytes=1_100,
        box=Box(behave),
    )
    await case.parts()
    assert [most for *_, most in case.box.calls] == [550, 550]
    # What was left is not worth another call.
    assert case.asker.live_rounds == 1


async def test_a_conversation_that_outgrows_the_context_is_shortened_once() -> None:
    async def behave(name: str, arguments: str) -> ToolOutcome:
        return ToolOutcome(text="x" * 5_000)

    case = Case(answer(call("s__a")), ContextOverflow(), DONE, box=Box(behave))
    assert await case.parts() == (Text("done"),)
    assert len(told(case.results(3)[0])[0]) == 256
    assert "[cut" in told(case.results(3)[0])[0]

    case = Case(answer(call("s__a")), ContextOverflow(), ContextOverflow(), box=Box(behave))
    with pytest.raises(ContextOverflow):
        await case.parts()


async def test_a_prompt_that_never_fitted_is_the_clients_error() -> None:
    case = Case(ContextOverflow())
    with pytest.raises(ContextOverflow):
        await case.parts()


async def test_an_answer_that_is_cut_off_makes_no_calls() -> None:
    case = Case(answer(Text("well"), call("s__a", '{"x'), reason="length"))
    batches = await case.shown()
    choice = collect(batches[0]).choices[0]
    assert (choice.parts, choice.finish_reason) == ((Text("well"),), "length")
    assert case.box.calls == []


async def test_ids_that_come_twice_are_made_different() -> None:
    case = Case(answer(call("s__a"), call("s__b")), answer(call("s__a")), DONE)
    await case.parts()
    ids = [result.call_id for result in case.results(3)]
    assert len(set(ids)) == 3
    calls = [
        part.id
        for message in case.asker.asked[2].messages
        for part in message.parts
        if isinstance(part, ToolCall)
    ]
    assert calls == ids


async def test_leaving_reaches_the_tools_and_what_was_called_is_kept() -> None:
    running = asyncio.Event()
    left = asyncio.Event()

    async def behave(name: str, arguments: str) -> ToolOutcome:
        if name == "a":
            return ToolOutcome(text="quick")
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError

    first = answer(call("s__a", call_id="1"), call("s__b", call_id="2"))
    case = Case(first, box=Box(behave))
    task = asyncio.create_task(case.parts())
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()
    assert [(record.result, record.error) for record in case.records] == [
        ("quick", None),
        ("", "cancelled"),
    ]
