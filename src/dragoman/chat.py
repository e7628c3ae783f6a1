"""The canonical vocabulary: what every dialect is decoded to, and every answer is encoded from.

A superset of the wire formats, not the shape of any one: a codec carries a thing or refuses it by
name, and never drops it silently. All values are frozen. Three families:

- a question: `ChatRequest`, made of `Message`s, made of `Part`s;
- an answer in motion: `StreamEvent`s, each naming the choice it belongs to;
- an answer at rest: `ChatResponse`, which is `collect(events)`.

Order of events, per choice: `Started`, then parts one after another (`PartStarted`, any number of
`PartDelta`, `PartEnded`), then `Finished`. Choices interleave freely. `Failed` ends the whole stream,
at any place, and nothing follows it. Usage comes once, on the `Finished` that comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NewType, assert_never

import msgspec

from dragoman.errors import DragomanError, ProviderGarbled

NanoUSD = NewType("NanoUSD", int)
"""Money: 10^-9 US dollars, always an integer."""

DialectName = Literal["openai", "studio", "dreamsolve", "anthropic"]
Role = Literal["system", "user", "assistant", "tool"]


# --- Parts of a message -------------------------------------------------------------------------

CacheTTL = Literal["5m", "1h"]


class Text(msgspec.Struct, frozen=True):
    text: str
    cache: CacheTTL | None = None
    """Ask the provider to cache the prompt up to and including this part, for so long."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """Either `url`, or `data` (base64 text) with its `media_type`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: Literal["auto", "low", "high"] | None = None
    cache: CacheTTL | None = None


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """Thinking that the model showed. `signature` proves it to the provider that made it."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    """Encrypted thinking: opaque, handed back to the same provider as it came."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """The model wants `name` called. `arguments` stays the JSON text that the model wrote."""

    id: str
    name: str
    arguments: str = ""
    cache: CacheTTL | None = None


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool answered to the call with `call_id`."""

    call_id: str
    parts: tuple[Text | Image, ...] = ()
    is_error: bool = False
    name: str | None = None
    cache: CacheTTL | None = None


class Refusal(msgspec.Struct, frozen=True):
    """The model declined, in its own words."""

    text: str


class Opaque(msgspec.Struct, frozen=True, kw_only=True):
    """A part that only its own wire format understands, kept as it came.

    Targets of another upstream format cannot honour it.
    """

    wire: Literal["openai", "anthropic"]
    kind: str
    json: str


Part = Text | Image | Reasoning | ToolCall | ToolResult | Refusal | Opaque


class Message(msgspec.Struct, frozen=True):
    """One turn, or a piece of one: neighbours of one role may be merged by a codec that has to."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    completion_id: str | None = None
    """Names the earlier completion of ours that this message repeats (`studio`)."""
    metadata: msgspec.Raw | None = None
    """Any JSON, kept with the interaction, never sent to a provider (`studio`)."""

    @property
    def text(self) -> str:
        """The message's text parts, joined."""
        return "".join([part.text for part in self.parts if type(part) is Text])


# --- A question ---------------------------------------------------------------------------------


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may ask the client to call."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b'{"type":"object","properties":{}}')
    """A JSON Schema, as the client wrote it."""
    strict: bool | None = None
    cache: CacheTTL | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """`auto`: the model decides; `required`: at least one call; `named`: the function `name`."""

    mode: Literal["auto", "none", "required", "named"]
    name: str | None = None


AUTO_TOOL_CHOICE = ToolChoice("auto")


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """`schema` is the JSON Schema, as the client wrote it, of a `json_schema` answer."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    description: str | None = None
    schema: msgspec.Raw | None = None
    strict: bool | None = None


TEXT_FORMAT = ResponseFormat()


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are drawn. `None`: not asked for. Ranges are the dialect's to check."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()

    def over(self, below: Sampling) -> Sampling:
        """This, and `below` where this says nothing."""
        said = {
            name: value
            for name in Sampling.__struct_fields__
            if (value := getattr(self, name)) is not None and value != ()
        }
        return msgspec.structs.replace(below, **said) if said else below


NO_SAMPLING = Sampling()


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """How much the model may think before it answers: an `effort`, a token budget, or neither."""

    enabled: bool = True
    effort: str | None = None
    budget_tokens: int | None = None
    display: str | None = None
    is_implied: bool = False
    """Only an `effort` for the whole answer was given: whether to think is left to the model."""


class ToolSwitch(msgspec.Struct, frozen=True):
    """Turns a project's server-side tool on or off for one request."""

    id: str
    enabled: bool


MAX_LABELS = 64
MAX_LABEL_CHARS = 512
"""Of a label's name, its value, and a tag."""


class RequestContext(msgspec.Struct, frozen=True, kw_only=True):
    """What surrounds the conversation and never reaches a model."""

    session_id: str | None = None
    user: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    metadata: msgspec.Raw | None = None
    store: bool | None = None
    """`None`: the dialect's default."""
    campaign: str | None = None
    system_prompt_args: msgspec.Raw | None = None
    use_tools: bool | None = None
    tool_switches: tuple[ToolSwitch, ...] = ()
    max_ttft_ms: int | None = None


NO_CONTEXT = RequestContext()

StreamUsage = Literal["none", "final_chunk", "separate_chunk"]
"""Where a stream of chat-completion chunks puts its usage: nowhere, on the chunk with the finish
reason, or on a chunk of its own with no choices."""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation and what is wanted of it."""

    dialect: DialectName
    target: str | None
    """The model, alias or project as the client named it; `None`: the default model."""
    messages: tuple[Message, ...]
    system_prompt: str | None = None
    """A project's, rendered: put before the client's messages when the request is bound to a target."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = AUTO_TOOL_CHOICE
    parallel_tool_calls: bool | None = None
    sampling: Sampling = NO_SAMPLING
    """What the client asked for: binding, a target that cannot honour it is skipped."""
    default_sampling: Sampling = NO_SAMPLING
    """The dialect's own defaults: for targets that accept them."""
    max_output_tokens: int | None = None
    """`None`: no maximum given. 0 is answered without a model."""
    is_default_maximum: bool = False
    """The maximum is the dialect's, not the client's: a project's goes before it."""
    stop: tuple[str, ...] = ()
    choices: int = 1
    response_format: ResponseFormat = TEXT_FORMAT
    logprobs: bool = False
    top_logprobs: int = 0
    thinking: Thinking | None = None
    stream: bool = False
    stream_usage: StreamUsage = "none"
    bare_text: bool = False
    """Stream text deltas with no framing (`dreamsolve`)."""
    context: RequestContext = NO_CONTEXT
    extensions: tuple[tuple[str, msgspec.Raw], ...] = ()
    """Top-level fields that the dialect does not know, by name, as the client wrote them. A
    provider's row allow-lists those that it forwards; the rest are named in a response header."""


# --- An answer in motion ------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one answer.

    `input_tokens` is the whole prompt: it includes `cached_input_tokens` (read from a provider's
    cache) and `cache_write_tokens` (written to it), which do not overlap. `output_tokens` is all
    that was produced, for every choice: it includes `reasoning_tokens`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    is_estimated: bool = False
    """Counted by us, because the provider reported nothing."""
    cost_nano_usd: NanoUSD | None = None
    """What the answer was charged, once that is durable; `None`: not priced."""

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "paused"]
"""`paused`: the provider stopped a long turn that may be continued (Anthropic's `pause_turn`)."""


class TokenLogprob(msgspec.Struct, frozen=True):
    """A token's natural-log probability; `top` holds the likeliest tokens in its place."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple[TokenLogprob, ...] = ()


class Started(msgspec.Struct, frozen=True, tag=True):
    choice: int = 0
    upstream_id: str | None = None
    upstream_model: str | None = None
    system_fingerprint: str | None = None


class PartStarted(msgspec.Struct, frozen=True, tag=True):
    """`part` says what kind is coming and all that is known of it: text or arguments may be empty.

    A tool call's id and name are whole here. `Refusal`, `Opaque` and redacted `Reasoning` come whole.
    """

    part: Text | Reasoning | ToolCall | Refusal | Opaque
    choice: int = 0


class PartDelta(msgspec.Struct, frozen=True, tag=True):
    """More of the open part: text, reasoning text, or JSON text of a tool call's arguments."""

    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] | None = None


class PartEnded(msgspec.Struct, frozen=True, tag=True):
    choice: int = 0
    signature: str | None = None
    """Proof of a `Reasoning` part, which providers send at its end."""


class Finished(msgspec.Struct, frozen=True, tag=True):
    reason: FinishReason
    choice: int = 0
    stop_sequence: str | None = None
    """Which of the client's stop strings ended the text, where that is known."""
    usage: Usage | None = None


class Failed(msgspec.Struct, frozen=True, tag=True):
    error: DragomanError


StreamEvent = Started | PartStarted | PartDelta | PartEnded | Finished | Failed


# --- An answer at rest --------------------------------------------------------------------------


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    parts: tuple[Part, ...]
    finish_reason: FinishReason
    stop_sequence: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None

    @property
    def text(self) -> str:
        """The choice's text parts, joined."""
        return "".join([part.text for part in self.parts if type(part) is Text])


class ChatResponse(msgspec.Struct, frozen=True, kw_only=True):
    """`choices[i]` has index i."""

    choices: tuple[Choice, ...]
    usage: Usage
    upstream_id: str | None = None
    upstream_model: str | None = None
    system_fingerprint: str | None = None


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True):
    """What we say of an answer and the model does not: ids and times, made by the pipeline."""

    request_id: str
    response_id: str
    """32 hexadecimal digits; each dialect adds its own prefix."""
    created_s: int
    model: str
    """The full id of the model that answers, never an alias."""
    session_id: str
    completion_ids: tuple[str, ...]
    """One UUID per choice."""
    system_fingerprint: str | None = None


class _OpenChoice:
    """One choice while it is being collected."""

    __slots__ = ("finished", "fragments", "logprobs", "open_part", "parts", "started")

    def __init__(self) -> None:
        self.started: Started | None = None
        self.parts: list[Part] = []
        self.open_part: Part | None = None
        self.fragments: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.finished: Finished | None = None

    def end_part(self, signature: str | None) -> None:
        part = self.open_part
        if part is not None and not self.fragments and signature is None:
            # It came whole.
            self.open_part = None
            self.parts.append(part)
            return
        text = "".join(self.fragments)
        self.open_part, self.fragments = None, []
        match part:
            case None:
                raise ProviderGarbled("the answer ended a part that it had not begun")
            case Text():
                self.parts.append(Text(part.text + text, part.cache))
            case Reasoning():
                self.parts.append(
                    Reasoning(
                        text=part.text + text,
                        signature=signature or part.signature,
                        redacted=part.redacted,
                    )
                )
            case ToolCall():
                self.parts.append(
                    ToolCall(id=part.id, name=part.name, arguments=part.arguments + text)
                )
            case Refusal():
                self.parts.append(Refusal(part.text + text))
            case Opaque():
                self.parts.append(part)
            case Image() | ToolResult():
                raise ProviderGarbled(f"an answer cannot hold {type(part).__name__}")
            case _:
                assert_never(part)


class CutChoice(msgspec.Struct, frozen=True):
    """What came of one choice of an answer that may have broken off."""

    index: int
    parts: tuple[Part, ...]
    finish_reason: FinishReason | None
    """`None`: it did not finish."""


class Collector:
    """Folds events into a `ChatResponse`.

    `feed` raises the error that a `Failed` carries, and `ProviderGarbled` on an illegal order;
    `response` raises `ProviderGarbled` when the answer is not complete.
    """

    __slots__ = ("_choices", "_usage")

    def __init__(self) -> None:
        self._choices: dict[int, _OpenChoice] = {}
        self._usage: Usage | None = None

    def feed(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            if isinstance(event, Failed):
                raise event.error
            self._feed_choice(event)

    def _feed_choice(self, event: Started | PartStarted | PartDelta | PartEnded | Finished) -> None:
        choice = self._choices.get(event.choice)
        if isinstance(event, Started):
            if choice is not None:
                raise ProviderGarbled("the answer started twice")
            choice = self._choices[event.choice] = _OpenChoice()
            choice.started = event
            return
        if choice is None or choice.finished is not None:
            raise ProviderGarbled("the answer goes on outside its start and finish")
        # By frequency: a long answer is nearly all deltas.
        if isinstance(event, PartDelta):
            if choice.open_part is None:
                raise ProviderGarbled("the answer continues a part that it had not begun")
            choice.fragments.append(event.text)
            if event.logprobs:
                choice.logprobs.extend(event.logprobs)
        elif isinstance(event, PartStarted):
            if choice.open_part is not None:
                raise ProviderGarbled("the answer began a part within another")
            choice.open_part = event.part
        elif isinstance(event, PartEnded):
            choice.end_part(event.signature)
        else:
            if choice.open_part is not None:
                raise ProviderGarbled("the answer finished within a part")
            choice.finished = event
            if event.usage is not None:
                self._usage = event.usage

    def response(self) -> ChatResponse:
        if not self._choices:
            raise ProviderGarbled("the answer is empty")
        choices = []
        for index in range(len(self._choices)):
            choice = self._choices.get(index)
            if choice is None or choice.finished is None:
                raise ProviderGarbled("the answer ended before it was complete")
            choices.append(
                Choice(
                    parts=tuple(choice.parts),
                    finish_reason=choice.finished.reason,
                    stop_sequence=choice.finished.stop_sequence,
                    logprobs=tuple(choice.logprobs) or None,
                )
            )
        started = self._choices[0].started
        assert started is not None
        return ChatResponse(
            choices=tuple(choices),
            usage=self._usage or Usage(is_estimated=True),
            upstream_id=started.upstream_id,
            upstream_model=started.upstream_model,
            system_fingerprint=started.system_fingerprint,
        )

    def cut_off(self) -> tuple[CutChoice, ...]:
        """End the answer wherever it is: every choice that has begun, with what there is of it."""
        cut = []
        for index, choice in sorted(self._choices.items()):
            if choice.open_part is not None:
                choice.end_part(None)
            reason = choice.finished.reason if choice.finished is not None else None
            cut.append(CutChoice(index, tuple(choice.parts), reason))
        return tuple(cut)


def collect(events: Iterable[StreamEvent]) -> ChatResponse:
    """Fold a whole stream into the answer that it describes; raises as `Collector` does."""
    collector = Collector()
    collector.feed(events)
    return collector.response()


def events_of(response: ChatResponse) -> list[StreamEvent]:
    """The shortest stream that `collect` folds back into `response`."""
    events: list[StreamEvent] = []
    last = len(response.choices) - 1
    # What nobody counted is left out, so that whoever meters the stream counts it.
    usage = None if response.usage == Usage(is_estimated=True) else response.usage
    for index, choice in enumerate(response.choices):
        events.append(
            Started(
                index, response.upstream_id, response.upstream_model, response.system_fingerprint
            )
        )
        logprobs = choice.logprobs
        for part in choice.parts:
            assert not isinstance(part, Image | ToolResult), "an answer cannot hold these"
            if logprobs and type(part) is Text:
                events.append(PartStarted(Text(""), index))
                events.append(PartDelta(part.text, index, logprobs))
                logprobs = None
            else:
                events.append(PartStarted(part, index))
            events.append(PartEnded(index))
        events.append(
            Finished(
                choice.finish_reason,
                index,
                choice.stop_sequence,
                usage if index == last else None,
            )
        )
    return events


def merge_turns(messages: Sequence[Message]) -> list[Message]:
    """Join neighbours of one role and name, for wire formats in which roles must alternate."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role and merged[-1].name == message.name:
            merged[-1] = Message(message.role, merged[-1].parts + message.parts, message.name)
        else:
            merged.append(message)
    return merged
