"""Server-side tools on a request's way: which it has, and what asks its models round by round.

All rounds share the request's one hold, its token reservation, its bound for the first token and its one usage
record. Each round is routed and falls back by itself; while a round is held, nothing of it has reached the client,
and so another target may answer it even after it began.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from dragoman.chat import ChatRequest, Finished, RequestContext, StreamEvent
from dragoman.errors import UnsupportedField
from dragoman.pipeline.plan import Plan
from dragoman.pipeline.tab import Tab
from dragoman.policy.charging import Rounds, estimate_input
from dragoman.ports import Clock, ToolBox
from dragoman.records.model import Model
from dragoman.records.project import AttachedModel
from dragoman.tools.choosing import asks_for_tools, choose, servers_of
from dragoman.tools.loop import MIN_RESULT_BYTES, RESULTS_TOGETHER, ToolKit, ToolLoop

LISTING_S = 10.0
"""A request waits no longer for what a server that was never asked before has."""
GUESSED_ANSWER_TOKENS = 1024
"""Of a round, where the client named no maximum."""
BYTES_PER_TOKEN = 2
"""No fewer in results of tools: what is denser may outgrow the context, and is shortened then."""


async def equip(
    box: ToolBox | None, request: ChatRequest, attached: AttachedModel, left_s: float | None
) -> ToolKit | None:
    """The tools that `request` turns on; `None`: none. Raises `InvalidRequest`.

    `left_s` is what is left of the wait for the first token; `None`: that is not bounded.
    """
    context = request.context
    if box is None or not (asks_for_tools(context) or context.tool_switches):
        return None
    timeout_s = LISTING_S if left_s is None else max(0.0, min(LISTING_S, left_s))
    offered = await box.offered(servers_of(attached.tools), timeout_s=timeout_s)
    tools = choose(attached.tools, offered, request)
    if not tools or request.tool_choice.mode == "none" or request.max_output_tokens == 0:
        return None
    bounds = attached.tool_bounds
    return ToolKit(tools=tools, bounds=bounds, results_bytes=RESULTS_TOGETHER * bounds.result_bytes)


def refuse_tools(context: RequestContext, model: Model) -> None:
    """Raises `UnsupportedField` where `context` turns any on."""
    if not asks_for_tools(context):
        return
    field = "use_tools" if context.use_tools else "tools"
    raise UnsupportedField(
        f"{field}: '{model.id}' is a model, and only models of projects have server-side tools;"
        " leave it out, or name a project",
        param=field,
    )


def fit_results(kit: ToolKit, request: ChatRequest, targets: Sequence[Model]) -> ToolKit:
    """With no more results than the smallest context holds beside the prompt and the answers."""
    contexts = [each.context_tokens for each in targets if each.context_tokens is not None]
    if not contexts:
        return kit
    prompt = max(estimate_input(request, model).tokens for model in targets)
    answer = request.max_output_tokens or GUESSED_ANSWER_TOKENS
    room = (min(contexts) - prompt - answer) * BYTES_PER_TOKEN
    most = max(min(kit.results_bytes, room), MIN_RESULT_BYTES)
    return msgspec.structs.replace(kit, results_bytes=most)


def with_functions(request: ChatRequest, kit: ToolKit) -> ChatRequest:
    """As the first round is asked."""
    functions = [tool.function for tool in kit.tools]
    return msgspec.structs.replace(request, tools=(*request.tools, *functions))


def rounds_of(plan: Plan) -> Rounds | None:
    """What the request's rounds may grow to; `None`: it has but one."""
    kit = plan.kit
    if kit is None:
        return None
    contexts = [each.context_tokens for each in plan.targets]
    known = [each for each in contexts if each is not None]
    return Rounds(
        count=kit.bounds.rounds,
        # As prompts are guessed: a token for every three bytes.
        result_tokens=kit.results_bytes // 3 + 1,
        context_tokens=max(known) if len(known) == len(contexts) else None,
    )


class AskWhole(Protocol):
    def __call__(
        self, request: ChatRequest, plan: Plan, tab: Tab
    ) -> Awaitable[list[StreamEvent]]: ...


class AskLive(Protocol):
    def __call__(
        self, request: ChatRequest, plan: Plan, tab: Tab
    ) -> AsyncGenerator[list[StreamEvent], None]: ...


class RoundAsker:
    """Implements `tools.loop.Asker` for one request."""

    def __init__(self, plan: Plan, tab: Tab, whole: AskWhole, live: AskLive) -> None:
        self._plan = plan
        self._tab = tab
        self._whole = whole
        self._live = live
        self.next_round: Callable[[], None] = tab.end_round

    async def whole(self, request: ChatRequest) -> list[StreamEvent]:
        self._tab.round_request = request
        return await self._whole(request, self._plan, self._tab)

    def live(self, request: ChatRequest) -> AsyncGenerator[list[StreamEvent], None]:
        self._tab.round_request = request
        return self._live(request, self._plan, self._tab)


async def final_round(
    asker: RoundAsker, plan: Plan, tab: Tab, box: ToolBox, clock: Clock
) -> AsyncGenerator[list[StreamEvent], None]:
    """What the client is shown of a request with tools; the calls go to what is kept of it."""
    assert plan.kit is not None
    assert tab.conversation is not None
    loop = ToolLoop(plan.request, plan.kit, box, clock)
    batches = loop.run(asker, tab.conversation.tool_calls.append)
    is_first = True
    try:
        async for batch in batches:
            last = batch[-1]
            if isinstance(last, Finished):
                tab.finish(last.reason)
                if is_first:
                    # It was held: the client sees no token before now.
                    tab.show()
            is_first = False
            yield batch
    finally:
        await batches.aclose()
