"""Which models may answer, and what each of them is sent."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

from dragoman.chat import (
    ChatRequest,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    ResponseFormat,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
)
from dragoman.errors import InvalidRequest, UnsupportedField
from dragoman.policy.charging import estimate_input
from dragoman.policy.routing import (
    MIN_GUESSED_LIMIT,
    ModelDirectory,
    bind,
    estimate_input_tokens,
    in_clients_words,
    missing_feature,
    targets,
)
from dragoman.records.model import Feature, Model


def model(name: str = "m", **fields: Any) -> Model:
    return Model(id=name, provider="p", upstream_name=name, **fields)


def request(text: str = "hi", **fields: Any) -> ChatRequest:
    return ChatRequest(
        dialect="openai", target="m", messages=(Message("user", (Text(text),)),), **fields
    )


def test_a_model_is_found_by_id_and_by_alias_and_the_default_by_none() -> None:
    a, b = model("a", aliases=("first",)), model("b")
    directory = ModelDirectory([a, b], default_model="b")
    assert directory.resolve("a") is a
    assert directory.resolve("first") is a
    assert directory.resolve(None) is b
    assert directory.resolve("c") is None


def test_two_models_cannot_claim_one_name() -> None:
    with pytest.raises(ValueError, match="two models are called 'a'"):
        ModelDirectory([model("a"), model("b", aliases=("a",))], default_model="a")


def test_a_fallback_has_to_exist() -> None:
    with pytest.raises(ValueError, match="falls back to 'zz'"):
        ModelDirectory([model("a", fallbacks=("zz",))], default_model="a")


def test_fallbacks_follow_in_order_by_id_or_alias_and_none_twice() -> None:
    a = model("a", fallbacks=("other", "b", "a"))
    b = model("b", aliases=("other",))
    directory = ModelDirectory([a, b], default_model="a")
    assert directory.candidates(a) == (a, b)
    assert directory.candidates(b) == (b,)


@pytest.mark.parametrize(
    ("feature", "fields"),
    [
        ("n", {"choices": 2}),
        ("logprobs", {"logprobs": True}),
        ("seed", {"sampling": Sampling(seed=1)}),
        ("temperature", {"sampling": Sampling(temperature=0.5)}),
        ("top_p", {"sampling": Sampling(top_p=0.5)}),
        ("top_k", {"sampling": Sampling(top_k=5)}),
        ("temperature_with_top_p", {"sampling": Sampling(temperature=0.5, top_p=0.5)}),
        ("frequency_penalty", {"sampling": Sampling(frequency_penalty=1.0)}),
        ("presence_penalty", {"sampling": Sampling(presence_penalty=-1.0)}),
        ("logit_bias", {"sampling": Sampling(logit_bias=((1, 1.0),))}),
        ("tools", {"tools": (Tool(name="f"),)}),
        ("tool_choice", {"tools": (Tool(name="f"),), "tool_choice": ToolChoice("required")}),
        ("json_object", {"response_format": ResponseFormat(kind="json_object")}),
        ("json_schema", {"response_format": ResponseFormat(kind="json_schema")}),
    ],
)
def test_a_target_that_lacks_a_feature_is_skipped(feature: Feature, fields: dict[str, Any]) -> None:
    poor, able = model("poor", lacks=frozenset({feature})), model("able")
    assert missing_feature(request(**fields), poor) == feature
    assert targets(request(**fields), [poor, able]) == [able]


@pytest.mark.parametrize(
    "fields",
    [
        {"choices": 1},
        {"sampling": Sampling(frequency_penalty=0.0, presence_penalty=0.0)},
        {"sampling": Sampling(temperature=1.0, top_p=1.0)},
        {"logprobs": False},
        {"parallel_tool_calls": True},
    ],
)
def test_a_neutral_value_needs_nothing(fields: dict[str, Any]) -> None:
    lacks: frozenset[Feature] = frozenset(
        {"n", "frequency_penalty", "presence_penalty", "temperature", "top_p", "logprobs"}
    )
    assert missing_feature(request(**fields), model(lacks=lacks)) is None


def test_when_no_target_is_left_the_error_names_the_field() -> None:
    with pytest.raises(UnsupportedField, match="'m' cannot honour this field") as caught:
        targets(request(sampling=Sampling(seed=1)), [model(lacks=frozenset({"seed"}))])
    assert caught.value.param == "seed"


def test_an_image_for_a_text_model_is_refused_by_its_path() -> None:
    asked = ChatRequest(
        dialect="openai",
        target="m",
        messages=(
            Message("user", (Text("see"),)),
            Message("user", (Text("this"), Image(url="data:image/png;base64,AA=="))),
        ),
    )
    with pytest.raises(UnsupportedField) as caught:
        targets(asked, [model(lacks=frozenset({"images"}))])
    assert caught.value.param == "messages[1].content[1]"


def test_a_dialects_defaults_go_to_targets_that_accept_them() -> None:
    usual = Sampling(temperature=0.7, top_p=1.0)
    bound = bind(request(default_sampling=usual), model())
    assert (bound.sampling.temperature, bound.sampling.top_p) == (0.7, 1.0)
    bound = bind(request(default_sampling=usual), model(lacks=frozenset({"temperature", "top_p"})))
    assert (bound.sampling.temperature, bound.sampling.top_p) == (None, None)


def test_a_default_top_p_does_not_come_with_a_temperature_where_both_are_refused() -> None:
    lacks: frozenset[Feature] = frozenset({"temperature_with_top_p"})
    usual = Sampling(temperature=1.0, top_p=1.0)
    bound = bind(
        request(sampling=Sampling(temperature=0.3), default_sampling=usual), model(lacks=lacks)
    )
    assert (bound.sampling.temperature, bound.sampling.top_p) == (0.3, None)
    bound = bind(request(sampling=Sampling(top_p=0.3), default_sampling=usual), model(lacks=lacks))
    assert (bound.sampling.temperature, bound.sampling.top_p) == (None, 0.3)
    bound = bind(request(default_sampling=usual), model(lacks=lacks))
    assert (bound.sampling.temperature, bound.sampling.top_p) == (1.0, None)


def test_the_models_own_sampling_is_used_only_where_the_dialect_says_nothing() -> None:
    own = Sampling(temperature=0.2, top_p=0.9)
    assert bind(request(), model(default_sampling=own)).sampling == own
    asked = request(default_sampling=Sampling(temperature=1.0))
    bound = bind(asked, model(default_sampling=own))
    assert (bound.sampling.temperature, bound.sampling.top_p) == (1.0, 0.9)


def test_the_default_system_prompt_is_put_before_a_conversation_without_one() -> None:
    prompted = model(default_system_prompt="Be brief.")
    assert bind(request(), prompted).messages[0] == Message("system", (Text("Be brief."),))
    own = request().messages
    asked = ChatRequest(
        dialect="openai", target="m", messages=(Message("system", (Text("Mine."),)), *own)
    )
    assert bind(asked, prompted).messages == asked.messages


def test_a_targets_error_numbers_the_messages_as_the_client_did() -> None:
    asked = request()
    bound = bind(asked, model(default_system_prompt="Be brief."))
    error = InvalidRequest("messages[1].content holds a sound", param="messages[1].content")
    told = in_clients_words(error, asked, bound)
    assert (told.message, told.param) == (
        "messages[0].content holds a sound",
        "messages[0].content",
    )
    assert in_clients_words(error, asked, bind(asked, model())) is error


def test_no_maximum_means_what_is_left_of_the_context_and_the_models_own() -> None:
    assert bind(request(), model()).max_output_tokens is None
    assert bind(request(), model(max_output_tokens=50)).max_output_tokens == 50
    left = 2048 - estimate_input_tokens(request())
    assert bind(request(), model(context_tokens=2048)).max_output_tokens == left
    both = model(context_tokens=2048, max_output_tokens=50)
    assert bind(request(), both).max_output_tokens == 50


@pytest.mark.parametrize("size", [4000, 9000])
def test_a_guess_never_cuts_an_answer_short(size: int) -> None:
    asked, small = request("x" * size), model(context_tokens=2048)
    assert 2048 - estimate_input_tokens(asked) < MIN_GUESSED_LIMIT
    assert bind(asked, small).max_output_tokens is None
    both = model(context_tokens=2048, max_output_tokens=50)
    assert bind(asked, both).max_output_tokens == 50


SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"answer":{"type":"string"}}}')
PICTURE = Image(data="aGk=", media_type="image/png")


@pytest.mark.parametrize(
    ("part", "least"),
    [
        (PICTURE, 1600),
        (ToolResult(call_id="c", parts=(Text("x" * 300), PICTURE, PICTURE)), 3300),
        (Opaque(wire="anthropic", kind="document", json="x" * 3000), 1000),
        (Reasoning(text="é" * 300), 200),
        (Reasoning(redacted="x" * 300), 100),
    ],
)
def test_whatever_a_prompt_holds_is_in_the_guess(part: Part, least: int) -> None:
    plain = request()
    fuller = msgspec.structs.replace(plain, messages=(*plain.messages, Message("user", (part,))))
    assert estimate_input_tokens(fuller) >= estimate_input_tokens(plain) + least


def test_the_schema_of_the_answer_is_in_the_guess() -> None:
    asked = request(
        response_format=ResponseFormat(kind="json_schema", schema=SCHEMA, description="d" * 90)
    )
    more = (len(bytes(SCHEMA)) + 90) // 3
    assert estimate_input_tokens(asked) >= estimate_input_tokens(request()) + more


def test_the_guess_of_a_file_is_bounded() -> None:
    """What a file holds as text is far less than its bytes: a hold for all of them would refuse it."""
    scan = Opaque(wire="openai", kind="file", json="x" * 20_000_000)
    asked = msgspec.structs.replace(request(), messages=(Message("user", (scan,)),))
    assert estimate_input_tokens(asked) < 40_000


def test_a_provider_that_ends_at_the_context_itself_is_sent_no_guess() -> None:
    exact = model(context_tokens=2048, ends_at_context=True)
    assert bind(request(), exact).max_output_tokens is None
    assert bind(request(max_output_tokens=10), exact).max_output_tokens == 10


def test_an_explicit_maximum_is_cut_to_the_models_own() -> None:
    assert bind(request(max_output_tokens=10), model(max_output_tokens=50)).max_output_tokens == 10
    assert bind(request(max_output_tokens=99), model(max_output_tokens=50)).max_output_tokens == 50


def test_blank_stop_strings_are_kept_from_targets_that_refuse_them() -> None:
    picky = model(lacks=frozenset({"blank_stops"}))
    assert bind(request(stop=("\n", "END")), picky).stop == ("END",)
    assert missing_feature(request(stop=("\n",)), picky) is None


def test_an_effort_is_no_wish_to_think() -> None:
    thoughtless = model(lacks=frozenset({"thinking"}))
    assert missing_feature(request(thinking=Thinking(effort="high")), thoughtless) == "thinking"
    implied = request(thinking=Thinking(effort="high", is_implied=True))
    assert missing_feature(implied, thoughtless) is None


def test_no_more_stop_strings_are_sent_than_the_target_takes() -> None:
    assert bind(request(stop=("a", "b", "c")), model(max_stops=2)).stop == ("a", "b")
    assert bind(request(stop=("a", "b", "c")), model()).stop == ("a", "b", "c")


def test_a_projects_prompt_comes_first_and_instead_of_the_models_own() -> None:
    target = model(default_system_prompt="The model's.")
    plain = request(system_prompt="The project's.")
    asked = msgspec.structs.replace(
        plain, messages=(Message("system", (Text("mine"),)), *plain.messages)
    )
    bound = bind(asked, target)
    assert [message.text for message in bound.messages] == ["The project's.", "mine", "hi"]
    assert bound.system_prompt is None
    assert bind(bound, target).messages == bound.messages


def test_a_projects_prompt_is_in_the_guess_of_the_prompt_once() -> None:
    target = model(default_system_prompt="x" * 900)
    plain, prompted = request(), request(system_prompt="y" * 3000)
    guess = estimate_input_tokens(prompted)
    assert guess == pytest.approx(estimate_input_tokens(plain) + 1008, abs=1)
    assert estimate_input(prompted, target).tokens == guess
    assert estimate_input_tokens(bind(prompted, target)) == guess


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_targets_complaint_of_a_message_has_the_clients_number_beside_a_projects_prompt(
    dialect: Literal["openai", "anthropic"],
) -> None:
    target = model()
    asked = msgspec.structs.replace(request(system_prompt="p"), dialect=dialect)
    error = InvalidRequest("messages[1] is odd", param="messages[1].content")
    told = in_clients_words(error, asked, bind(asked, target))
    assert (told.message, told.param) == ("messages[0] is odd", "messages[0].content")


def test_a_projects_defaults_go_before_the_models_and_behind_the_clients_wishes() -> None:
    target = model(
        default_sampling=Sampling(temperature=0.1, top_p=0.2, top_k=3),
    )
    usual = Sampling(
        temperature=0.5,
        top_k=5,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        seed=7,
        logit_bias=((1, 2.0),),
    )
    bound = bind(request(default_sampling=usual), target).sampling
    assert bound == msgspec.structs.replace(usual, top_p=0.2)
    asked = Sampling(
        temperature=0.0,
        top_p=0.9,
        top_k=1,
        frequency_penalty=0.0,
        presence_penalty=0.0,
        seed=0,
        logit_bias=((2, 1.0),),
    )
    assert bind(request(sampling=asked, default_sampling=usual), target).sampling == asked


def test_a_target_is_not_sent_a_projects_default_that_it_lacks() -> None:
    lacks: frozenset[Feature] = frozenset(
        {
            "temperature",
            "top_p",
            "top_k",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "logit_bias",
        }
    )
    target = model(lacks=lacks)
    usual = Sampling(
        temperature=0.5,
        top_p=0.5,
        top_k=5,
        frequency_penalty=0.5,
        presence_penalty=0.5,
        seed=7,
        logit_bias=((1, 2.0),),
    )
    asked = request(default_sampling=usual)
    assert targets(asked, [target]) == [target]
    assert bind(asked, target).sampling == Sampling()
