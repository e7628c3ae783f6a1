"""Requests to the embedded model, and its answers, as tests put them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from dragoman.chat import (
    ChatRequest,
    ChatResponse,
    Collector,
    Message,
    PartDelta,
    ResponseFormat,
    Sampling,
    StreamEvent,
    Text,
    Tool,
)
from dragoman.engine.supervisor import EngineSupervisor
from dragoman.providers.local import LocalProvider
from dragoman.records.model import Model

SYSTEM = Message("system", (Text("You are a helpful assistant. Answer briefly."),))
END_OF_TURN = 2
ENDLESS = Sampling(temperature=0.8, logit_bias=((END_OF_TURN, -100.0),))
"""Sampling that never ends by itself: the token that ends a turn is out of reach."""


def chat(text: str = "Say hello.", **fields: Any) -> ChatRequest:
    messages = fields.pop("messages", (SYSTEM, Message("user", (Text(text),))))
    fields.setdefault("max_output_tokens", 24)
    return ChatRequest(dialect="openai", target="local", messages=messages, **fields)


def as_schema(schema: Any) -> ResponseFormat:
    raw = schema if isinstance(schema, bytes) else msgspec.json.encode(schema)
    return ResponseFormat(kind="json_schema", name="answer", schema=msgspec.Raw(raw))


def tool(name: str, parameters: Any) -> Tool:
    return Tool(name=name, parameters=msgspec.Raw(msgspec.json.encode(parameters)))


@dataclass(frozen=True)
class RunningModel:
    provider: LocalProvider
    supervisor: EngineSupervisor
    model: Model

    async def ask(
        self, request: ChatRequest, on_text: Callable[[], None] | None = None
    ) -> ChatResponse:
        collector = Collector()
        async for batch in self.provider.stream(request, self.model):
            collector.feed(batch)
            if on_text is not None and any(isinstance(event, PartDelta) for event in batch):
                on_text()
        return collector.response()

    async def events(self, request: ChatRequest) -> list[StreamEvent]:
        return [
            event async for batch in self.provider.stream(request, self.model) for event in batch
        ]

    async def begin(self, request: ChatRequest) -> asyncio.Task[ChatResponse]:
        """A task that asks; returned when its first text is there."""
        begun = asyncio.Event()
        task = asyncio.create_task(self.ask(request, begun.set))
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return task
