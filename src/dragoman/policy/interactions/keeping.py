"""What is kept of a request to a project: gathered while it is answered, made into rows when it is settled.

The request's path pays for references alone: events go into the fold that whole answers are made of, and the
JSON, the redaction and the rows are made in the thread that writes (`ports.Keep`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from dragoman.chat import (
    MAX_LABEL_CHARS,
    MAX_LABELS,
    ChatRequest,
    ChatResponse,
    Collector,
    CutChoice,
    NanoUSD,
    StreamEvent,
    ToolCall,
)
from dragoman.policy.interactions.transcript import (
    MAX_CONTENT_BYTES,
    encode_answer,
    encode_messages,
    encode_tools,
)
from dragoman.policy.projects import Route
from dragoman.ports import Keep
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.tool_server import ToolCallRecord
from dragoman.records.usage_record import NO_USAGE, UsageRecord

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of an answer, over all choices; what comes after that is not kept."""

_metadata = msgspec.json.Decoder(dict[str, str])


class Conversation:
    """One request to a project. Belongs to the task that answers it, until it is settled."""

    __slots__ = (
        "_choices",
        "_collector",
        "completion_ids",
        "hidden_calls",
        "request",
        "route",
        "session_id",
        "tool_calls",
    )

    def __init__(self, route: Route, request: ChatRequest) -> None:
        """`request` is as the client sent it, with the project's rendered prompt apart."""
        self.route = route
        self.request = request
        self.session_id = ""
        self.completion_ids: tuple[str, ...] = ()
        """A UUID for each choice."""
        self.hidden_calls: frozenset[str] = frozenset()
        """Functions whose calls are no part of the answer: those of server-side tools."""
        self.tool_calls: list[ToolCallRecord] = []
        """Of server-side tools."""
        self._collector: Collector | None = None
        self._choices: tuple[CutChoice, ...] = ()

    def begin(self) -> None:
        """Another call of a model: what an earlier one produced is not the answer."""
        self._collector = Collector()
        self._choices = ()

    def feed(self, events: Sequence[StreamEvent], produced_bytes: int) -> None:
        """More of the answer; `produced_bytes` is how much has come by now, with it."""
        if produced_bytes <= MAX_ANSWER_BYTES and self._collector is not None:
            self._collector.feed(events)

    def take(self, response: ChatResponse) -> None:
        """The answer came whole."""
        self._collector = None
        self._choices = tuple(
            [
                CutChoice(index, choice.parts, choice.finish_reason)
                for index, choice in enumerate(response.choices)
            ]
        )

    def keep(self) -> Keep:
        """What makes the rows, of all that has come by now. Nothing more is gathered."""
        collector, self._collector = self._collector, None
        return partial(self._interactions, collector, tuple(self.tool_calls))

    # --- In the thread that writes ---

    def _interactions(
        self,
        collector: Collector | None,
        tool_calls: tuple[ToolCallRecord, ...],
        record: UsageRecord,
    ) -> tuple[Interaction, ...]:
        choices = self._choices if collector is None else collector.cut_off()
        words = self._words(tool_calls)
        rows: list[Interaction] = []
        for choice in choices[: len(self.completion_ids)] or (_NO_ANSWER,):
            answer = None if words is None else self._answer(choice)
            row = self._row(record, choice, _with_answer(words, answer))
            rows.append(msgspec.structs.replace(row, **_COUNTED_ALREADY) if rows else row)
        return tuple(rows)

    def _row(
        self, record: UsageRecord, choice: CutChoice, content: InteractionContent | None
    ) -> Interaction:
        route, entry = self.route, self.route.entry
        return Interaction(
            completion_id=self.completion_ids[choice.index],
            request_id=record.request_id,
            choice=choice.index,
            project_id=route.project.id,
            account_id=record.account_id,
            key_id=record.key_id,
            created_s=record.started_s,
            session_id=self.session_id,
            # Whole, so that whoever is to be forgotten is found by it.
            user=self.request.context.user,
            attached=route.attached.key,
            model=record.model,
            template_id=None if route.template is None else route.template.id,
            template_version=None if route.version is None else route.version.version,
            labels=record.labels or _labels_of(self.request.context.metadata),
            tags=record.tags,
            campaign_id=None if entry is None else entry.campaign.id,
            unit=None if entry is None else entry.unit,
            arm=None if entry is None else entry.arm.key,
            served_arm=_served_arm(route, record.model),
            entered_by=None if entry is None else entry.by,
            status=record.status,
            error=record.error,
            finish_reason=choice.finish_reason or (None if choice.index else record.finish_reason),
            usage=record.usage,
            cost_nano_usd=record.cost_nano_usd,
            first_token_ms=record.first_token_ms,
            total_ms=record.total_ms,
            content=content,
        )

    def _words(self, tool_calls: tuple[ToolCallRecord, ...]) -> InteractionContent | None:
        """What was said before the answer, redacted. `None`: words are not kept, or these are too many."""
        request, context = self.request, self.request.context
        if context.store is False or not self.route.project.content.is_stored:
            return None
        arguments = context.system_prompt_args
        tools = encode_tools(request.tools)
        beside = len(request.system_prompt or "") + len(bytes(arguments or b""))
        beside += len(bytes(tools or b""))
        for with_data in (True, False):
            messages = encode_messages(request.messages, with_data=with_data)
            if len(bytes(messages)) + beside <= MAX_CONTENT_BYTES:
                return self._redacted(
                    InteractionContent(
                        messages=messages,
                        system_prompt=request.system_prompt,
                        # Apart from the body that it came in, which need not be kept in memory.
                        arguments=None if arguments is None else arguments.copy(),
                        tools=tools,
                        tool_calls=tool_calls,
                    )
                )
        return None

    def _answer(self, choice: CutChoice) -> InteractionContent | None:
        """One choice's words alone, redacted; `None`: there are none."""
        parts = choice.parts
        if self.hidden_calls:
            parts = tuple(
                [
                    part
                    for part in parts
                    if not (isinstance(part, ToolCall) and part.name in self.hidden_calls)
                ]
            )
        if not parts:
            return None
        return self._redacted(
            InteractionContent(messages=_NO_MESSAGES, completion=encode_answer(parts))
        )

    def _redacted(self, content: InteractionContent) -> InteractionContent:
        rules = self.route.project.content.redact
        if not rules:
            return content
        # Most projects have no rules, and need not load what they are applied with.
        from dragoman.policy.interactions.redaction import redact  # noqa: PLC0415

        return redact(content, rules)


_NO_MESSAGES = msgspec.Raw(b"[]")
_NO_ANSWER = CutChoice(0, (), None)
_COUNTED_ALREADY = {
    "usage": NO_USAGE,
    "cost_nano_usd": NanoUSD(0),
    "first_token_ms": None,
    "total_ms": None,
}
"""Of the choices after the first: the first has what the whole request used."""


def _with_answer(
    words: InteractionContent | None, answer: InteractionContent | None
) -> InteractionContent | None:
    if words is None or answer is None:
        return words
    return msgspec.structs.replace(words, completion=answer.completion)


def _served_arm(route: Route, answered_by: str | None) -> str | None:
    entry = route.entry
    if entry is None or answered_by is None:
        return None
    if answered_by == route.model.id and entry.arm.model == route.attached.key:
        return entry.arm.key
    for arm in entry.campaign.arms:
        attached = route.project.attached(arm.model)
        if attached is not None and attached.model == answered_by:
            return arm.key
    return None


def _labels_of(metadata: msgspec.Raw | None) -> tuple[tuple[str, str], ...]:
    """What another dialect than `studio` calls metadata, as far as it is as short as labels are."""
    if metadata is None:
        return ()
    try:
        given = _metadata.decode(metadata)
    except (msgspec.DecodeError, UnicodeError):
        return ()
    fitting = [
        (name, value)
        for name, value in given.items()
        if len(name) <= MAX_LABEL_CHARS and len(value) <= MAX_LABEL_CHARS
    ]
    return tuple(fitting[:MAX_LABELS])
