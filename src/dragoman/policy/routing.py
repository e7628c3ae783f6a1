"""Which models may answer a request, and what exactly each of them is sent.

A request names a model, an alias or nothing. `ModelDirectory.resolve` finds the model;
`targets` lists it and its fallbacks, in order, less those that cannot honour a field of the request;
`bind` makes the request that one of them is sent: sampling defaults, the system prompt and the output
limit are settled there, so that providers have nothing left to decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import assert_never

import msgspec

from dragoman.chat import (
    NO_SAMPLING,
    ChatRequest,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Sampling,
    Text,
    ToolCall,
    ToolResult,
)
from dragoman.errors import InvalidRequest, UnsupportedField
from dragoman.records.model import Feature, Model

MAX_IMAGE_TOKENS = 1600
"""Of one image: https://docs.anthropic.com/en/docs/build-with-claude/vision#calculate-image-costs."""
MAX_FILE_TOKENS = 32_768
"""Of one document or recording, in the guess: most of their bytes are no text."""
MIN_GUESSED_LIMIT = 1024
"""Where the guess of the prompt leaves less of the context, it may well be too high by all that is
left: no limit is made of it, and the provider ends the answer where the context really ends."""

_FIELD_NAMES: dict[Feature, str] = {
    "temperature_with_top_p": "top_p",
    "json_object": "response_format",
    "json_schema": "response_format",
    "tool_choice_with_thinking": "tool_choice",
    "images": "messages",
    "prefill": "messages",
}


class ModelDirectory:
    """All models by id and alias. Built once; replaced whole when the configuration changes."""

    def __init__(self, models: Iterable[Model], default_model: str) -> None:
        """Raises `ValueError` where two models claim one name, or a fallback does not exist."""
        self.models: tuple[Model, ...] = tuple(models)
        self._by_name: dict[str, Model] = {}
        for model in self.models:
            for name in (model.id, *model.aliases):
                if name in self._by_name:
                    raise ValueError(f"two models are called {name!r}")
                self._by_name[name] = model
        for model in self.models:
            for name in model.fallbacks:
                if name not in self._by_name:
                    raise ValueError(f"{model.id!r} falls back to {name!r}, which does not exist")
        self.default_model = default_model

    def resolve(self, name: str | None) -> Model | None:
        """The model of that id or alias; the default model for `None`."""
        return self._by_name.get(self.default_model if name is None else name)

    def names(self) -> list[str]:
        return list(self._by_name)

    def candidates(self, model: Model) -> tuple[Model, ...]:
        """`model`, then its fallbacks, by whatever name they were given; none twice."""
        if not model.fallbacks:
            return (model,)
        return tuple(dict.fromkeys((model, *(self._by_name[name] for name in model.fallbacks))))


def targets(request: ChatRequest, candidates: Sequence[Model]) -> list[Model]:
    """Those of `candidates` that can honour every field of `request`.

    Raises `UnsupportedField` naming the field that the first of them lacks, when none is left.
    """
    able = [model for model in candidates if missing_feature(request, model) is None]
    if able:
        return able
    feature = missing_feature(request, candidates[0])
    assert feature is not None
    field = _field_of(feature, request)
    raise UnsupportedField(
        f"{field}: the model '{candidates[0].id}' cannot honour {_describe(feature)};"
        " leave it out, or choose another model",
        param=field,
    )


def missing_feature(request: ChatRequest, model: Model) -> Feature | None:
    """A feature that `request` needs and `model` lacks. Neutral values need nothing."""
    lacks = model.lacks
    if not lacks:
        return None
    for feature in _needed(request):
        if feature in lacks:
            return feature
    return None


def _needed(request: ChatRequest) -> list[Feature]:
    needed = _needed_sampling(request.sampling)
    if request.choices > 1:
        needed.append("n")
    if request.logprobs:
        needed.append("logprobs")
    if request.tools:
        needed.append("tools")
        if request.tool_choice.mode in ("required", "named"):
            needed.append("tool_choice")
            if _wants_thinking(request):
                needed.append("tool_choice_with_thinking")
    if request.response_format.kind == "json_object":
        needed.append("json_object")
    elif request.response_format.kind == "json_schema":
        needed.append("json_schema")
    if _wants_thinking(request):
        needed.append("thinking")
    if request.messages[-1].role == "assistant":
        needed.append("prefill")
    if _first_image(request.messages) is not None:
        needed.append("images")
    return needed


def _wants_thinking(request: ChatRequest) -> bool:
    """Whether thinking is asked for: an effort for the whole answer is no such wish."""
    thinking = request.thinking
    return thinking is not None and thinking.enabled and not thinking.is_implied


def _needed_sampling(sampling: Sampling) -> list[Feature]:
    needed: list[Feature] = []
    if sampling is NO_SAMPLING:
        return needed
    # 1 is what a model without the setting does anyway; so are penalties of 0.
    if sampling.temperature not in (None, 1.0):
        needed.append("temperature")
        if sampling.top_p not in (None, 1.0):
            needed.append("temperature_with_top_p")
    if sampling.top_p not in (None, 1.0):
        needed.append("top_p")
    if sampling.top_k is not None:
        needed.append("top_k")
    if sampling.frequency_penalty:
        needed.append("frequency_penalty")
    if sampling.presence_penalty:
        needed.append("presence_penalty")
    if sampling.seed is not None:
        needed.append("seed")
    if sampling.logit_bias:
        needed.append("logit_bias")
    return needed


def _first_image(messages: Sequence[Message]) -> tuple[int, int] | None:
    """Index of the message and of the part that hold the first image."""
    for i, message in enumerate(messages):
        for j, part in enumerate(message.parts):
            kind = type(part)
            if kind is Text or kind is ToolCall:
                continue
            if isinstance(part, Image):
                return i, j
            if isinstance(part, ToolResult) and any(isinstance(p, Image) for p in part.parts):
                return i, j
    return None


def _field_of(feature: Feature, request: ChatRequest) -> str:
    """The request's field, as its dialect calls it, that asks for `feature`."""
    if feature == "images":
        place = _first_image(request.messages)
        assert place is not None
        index = place[0] - _leading_system_turns(request)
        return f"messages[{index}].content[{place[1]}]"
    if feature == "prefill":
        return f"messages[{len(request.messages) - 1 - _leading_system_turns(request)}]"
    if feature == "thinking":
        return "thinking" if request.dialect == "anthropic" else "reasoning_effort"
    return _FIELD_NAMES.get(feature, feature)


def _describe(feature: Feature) -> str:
    match feature:
        case "images":
            return "images"
        case "prefill":
            return "an assistant message in the last place"
        case "json_object" | "json_schema":
            return f"the format '{feature}'"
        case "temperature_with_top_p":
            return "temperature together with top_p"
        case "tool_choice_with_thinking":
            return "a forced tool call together with thinking"
        case _:
            return "this field"


def bind(request: ChatRequest, model: Model) -> ChatRequest:
    """What `model` is to be sent for `request`: everything settled that was left open."""
    bound = msgspec.structs.replace(
        request,
        sampling=_bind_sampling(request, model),
        max_output_tokens=_bind_output_limit(request, model),
        stop=_bind_stop(request.stop, model),
    )
    if request.system_prompt is None and model.default_system_prompt is None:
        return bound
    prompt = system_prompt_of(request, model)
    if prompt is None:
        return bound
    messages = (Message("system", (Text(prompt),)), *request.messages)
    return msgspec.structs.replace(bound, messages=messages, system_prompt=None)


def system_prompt_of(request: ChatRequest, model: Model) -> str | None:
    """What is put before the client's messages: a project's prompt, or the model's where they begin without one."""
    if request.system_prompt is not None:
        return request.system_prompt
    if model.default_system_prompt is not None and request.messages[0].role != "system":
        return model.default_system_prompt
    return None


def _bind_stop(stops: tuple[str, ...], model: Model) -> tuple[str, ...]:
    """Those that `model` takes; the pipeline applies the rest."""
    if stops and "blank_stops" in model.lacks:
        stops = tuple([stop for stop in stops if stop.strip()])
    return stops if model.max_stops is None else stops[: model.max_stops]


_MESSAGE_INDEX = re.compile(r"\bmessages\[(\d+)\]")


def in_clients_words(
    error: InvalidRequest, request: ChatRequest, bound: ChatRequest
) -> InvalidRequest:
    """`error`, which a target raised of `bound`, with its messages numbered as the client did."""
    shift = len(bound.messages) - len(request.messages) + _leading_system_turns(request)
    if not shift:
        return error

    def renumber(text: str) -> str:
        return _MESSAGE_INDEX.sub(lambda m: f"messages[{max(int(m[1]) - shift, 0)}]", text)

    param = renumber(error.param) if error.param is not None else None
    return type(error)(
        renumber(error.message),
        param=param,
        retry_after_s=error.retry_after_s,
        detail=error.detail,
    )


def _leading_system_turns(request: ChatRequest) -> int:
    """How many messages of ours were no message of the client's: Anthropic's `system` is a field."""
    if request.dialect != "anthropic" or request.messages[0].role != "system":
        return 0
    return 1


def _bind_sampling(request: ChatRequest, model: Model) -> Sampling:
    """The client's wish, else its dialect's or project's default, else the model's own; less what it lacks.

    What the model lacks is only ever a default or a neutral value here: `targets` saw to the rest.
    """
    asked, usual, own, lacks = (
        request.sampling,
        request.default_sampling,
        model.default_sampling,
        model.lacks,
    )
    temperature, top_p = asked.temperature, asked.top_p
    if "temperature_with_top_p" in lacks and (temperature is not None or top_p is not None):
        # One of the two is asked for: a default for the other must not come with it.
        if temperature is not None:
            top_p = None
    else:
        if temperature is None:
            temperature = usual.temperature if usual.temperature is not None else own.temperature
        if top_p is None and not ("temperature_with_top_p" in lacks and temperature is not None):
            top_p = usual.top_p if usual.top_p is not None else own.top_p
    top_k = asked.top_k
    if top_k is None:
        top_k = own.top_k if usual.top_k is None or "top_k" in lacks else usual.top_k
    frequency = asked.frequency_penalty
    if frequency is None:
        frequency = usual.frequency_penalty
    presence = asked.presence_penalty
    if presence is None:
        presence = usual.presence_penalty
    seed = asked.seed
    if seed is None and usual.seed is not None and "seed" not in lacks:
        seed = usual.seed
    bias = asked.logit_bias
    if not bias and usual.logit_bias and "logit_bias" not in lacks:
        bias = usual.logit_bias
    return Sampling(
        temperature=None if "temperature" in lacks else temperature,
        top_p=None if "top_p" in lacks else top_p,
        top_k=top_k,
        frequency_penalty=None if "frequency_penalty" in lacks else frequency,
        presence_penalty=None if "presence_penalty" in lacks else presence,
        seed=seed,
        logit_bias=bias,
    )


def _bind_output_limit(request: ChatRequest, model: Model) -> int | None:
    """The least of: the client's maximum, the model's own, what is surely left of the context.

    An explicit maximum over the model's own is cut to it: the answer then ends with `length`.
    """
    limits = [
        limit for limit in (request.max_output_tokens, model.max_output_tokens) if limit is not None
    ]
    if (
        request.max_output_tokens is None
        and model.context_tokens is not None
        and not model.ends_at_context
    ):
        left = model.context_tokens - estimate_input_tokens(request)
        if left >= MIN_GUESSED_LIMIT:
            limits.append(left)
    return min(limits, default=None)


def estimate_input_tokens(request: ChatRequest) -> int:
    """An upper guess of the prompt's tokens: a token for every three bytes, and each turn's frame."""
    size = 0 if request.system_prompt is None else 24 + len(request.system_prompt.encode())
    for message in request.messages:
        size += 24
        for part in message.parts:
            size += len(part.text.encode()) if type(part) is Text else _size_of(part)
    size += sum(
        len(tool.name) + len((tool.description or "").encode()) + len(bytes(tool.parameters))
        for tool in request.tools
    )
    answer = request.response_format
    if answer.schema is not None:
        # Providers put it before the model like a tool's.
        size += len((answer.description or "").encode()) + len(bytes(answer.schema))
    return size // 3 + 1


def _size_of(part: Part) -> int:
    """Bytes, of which three make a token."""
    match part:
        case Text() | Refusal():
            return len(part.text.encode())
        case ToolCall():
            return len(part.name) + len(part.arguments.encode())
        case ToolResult():
            return sum(map(_size_of, part.parts))
        case Image():
            return 3 * MAX_IMAGE_TOKENS
        case Reasoning():
            return len(part.text.encode()) + len(part.redacted or "")
        case Opaque():
            return min(len(part.json), 3 * MAX_FILE_TOKENS)
    assert_never(part)
