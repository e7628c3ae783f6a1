"""Interactions and what is said of them: kept, found by any filter, paged, exported, forgotten."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.stores.conftest import OpenAgain
from tests.stores.kept_interactions import PROJECT, completion_id, content, numbers, sample

from dragoman.chat import NanoUSD, Usage
from dragoman.errors import Conflict, InvalidRequest
from dragoman.records.account import DEFAULT_ACCOUNT, AccountId
from dragoman.records.campaign import Arm, Campaign, CampaignId, PairScore, Score
from dragoman.records.feedback import Comparison, Feedback, Outcome
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.interaction_query import InteractionFilter, InteractionPage
from dragoman.records.metric import MetricId
from dragoman.records.project import Project, ProjectId
from dragoman.records.tool_server import ToolCallRecord
from dragoman.stores import Store, open_store

OTHER = ProjectId("proj_b")
RATING = MetricId("metric-rating")


def feedback(number: int, about: int, metric_id: MetricId = RATING, **changed: object) -> Feedback:
    plain = Feedback(
        id=f"feedback-{number}",
        project_id=PROJECT,
        completion_id=completion_id(about),
        metric_id=metric_id,
        value=0.5,
        created_s=float(number),
    )
    return msgspec.structs.replace(plain, **changed)


def shown(page: InteractionPage) -> list[int]:
    return numbers([each.interaction for each in page.interactions])


def found(store: Store, **asked: object) -> list[int]:
    return shown(store.list_interactions(msgspec.convert(asked, InteractionFilter)))


def walked(store: Store, asked: InteractionFilter, limit: int) -> list[int]:
    """All pages, to the last."""
    page = store.list_interactions(asked, limit=limit)
    ids = shown(page)
    while page.before is not None:
        page = store.list_interactions(asked, before=page.before, limit=limit)
        ids += shown(page)
    return ids


# --- Keeping ------------------------------------------------------------------------------------


def test_everything_of_an_interaction_comes_back(open_again: OpenAgain) -> None:
    call = ToolCallRecord(round=1, tool="time/now", arguments="{}", result="noon", total_ms=2.0)
    whole = Interaction(
        completion_id=completion_id(1),
        request_id="req_1",
        choice=3,
        source="import",
        project_id=PROJECT,
        account_id=AccountId("acct_a"),
        key_id=None,
        created_s=1.7e9 + 0.123456,
        session_id="s",
        user="ü\0\U0001f600",
        attached="fast",
        model="m",
        template_id=None,
        template_version=2,
        labels=(("b", "2"), ("a", "")),
        tags=("x", "y"),
        campaign_id=CampaignId("c"),
        unit="user:u",
        arm="A",
        served_arm="B",
        entered_by="split",
        status="failed",
        error="provider_timeout",
        finish_reason="length",
        usage=Usage(
            input_tokens=5,
            output_tokens=4,
            cached_input_tokens=3,
            cache_write_tokens=2,
            reasoning_tokens=1,
            is_estimated=True,
        ),
        cost_nano_usd=NanoUSD(7),
        first_token_ms=None,
        total_ms=0.5,
        content=InteractionContent(
            messages=msgspec.Raw(b'[{"role":"user","content":"\\ud83d\\ude00"}]'),
            completion=msgspec.Raw(b"null"),
            system_prompt="be kind",
            arguments=msgspec.Raw(b'{"name":  "x"}'),
            tools=msgspec.Raw(b"[]"),
            tool_calls=(call,),
        ),
    )
    open_again().add_interaction(whole)
    kept = open_again().find_interaction(completion_id(1))
    assert kept is not None
    assert (kept.sequence, kept.interaction, kept.feedback) == (1, whole, ())
    plain = sample(2, content=None, labels=(), tags=(), user=None, first_token_ms=None)
    open_again().add_interaction(plain)
    again = open_again().find_interaction(completion_id(2))
    assert again is not None
    assert again.interaction == plain
    assert open_again().find_interaction(completion_id(3)) is None


@pytest.mark.parametrize(
    ("messages", "read"),
    [
        (b'[{"content":"lone \\ud83d"}]', b'[{"content": "lone ?"}]'),
        (b'["\\udfff",{"a":1}]', b'["?", {"a": 1}]'),
        (b"[" * 100_000, None),
        (b"[}", None),
    ],
)
def test_json_that_stands_for_no_text_keeps_nobody_from_reading_the_others(
    store: Store, messages: bytes, read: bytes | None
) -> None:
    store.add_interaction(sample(1, content=InteractionContent(messages=msgspec.Raw(messages))))
    store.add_interaction(sample(2, content=content("fine")))
    fine, strange = store.list_interactions(InteractionFilter()).interactions
    assert fine.interaction.content == content("fine")
    kept = strange.interaction.content
    assert (None if kept is None else bytes(kept.messages)) == read


def test_a_completion_id_is_taken_once(store: Store) -> None:
    store.add_interaction(sample(1, content=content("first")))
    with pytest.raises(Conflict, match=completion_id(1)):
        store.add_interaction(sample(1, content=content("second")))
    assert found(store) == [1]
    store.add_interaction(sample(2))
    assert found(store) == [2, 1]


@pytest.mark.parametrize(
    "changed",
    [
        {"user": "\ud800"},
        {"session_id": "\udfff"},
        {"labels": (("\ud800", "x"),)},
        {"tags": ("\ud800",)},
        {"choice": 1 << 64},
        {"created_s": float("nan")},
        {"created_s": float("inf")},
        {"content": InteractionContent(messages=msgspec.Raw(b"[]"), system_prompt="\ud800")},
        {"content": InteractionContent(messages=msgspec.Raw(b'["\xff"]'))},
    ],
)
def test_what_no_database_can_hold_is_refused_whole(
    store: Store, changed: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequest):
        store.add_interaction(sample(1, **changed))
    store.add_interaction(sample(1, content=content("fine")))
    assert found(store) == [1]


def test_tokens_beyond_all_bounds_are_kept_as_far_as_can_be_counted(store: Store) -> None:
    store.add_interaction(sample(1, usage=Usage(input_tokens=1 << 80, output_tokens=-5)))
    kept = store.find_interaction(completion_id(1))
    assert kept is not None
    assert (kept.interaction.usage.input_tokens, kept.interaction.usage.output_tokens) == (
        1 << 53,
        0,
    )


def test_a_megabyte_is_kept_and_pages_stay_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = content("x" * (1 << 20))
    for number in range(6):
        store.add_interaction(sample(number, content=long))
    monkeypatch.setattr("dragoman.stores.interactions.PAGE_BYTES", 2 << 20)
    page = store.list_interactions(InteractionFilter())
    assert shown(page) == [5, 4]
    assert page.interactions[0].interaction.content == long
    assert walked(store, InteractionFilter(), 100) == [5, 4, 3, 2, 1, 0]
    assert shown(store.list_interactions(InteractionFilter(), with_content=False)) == [
        5,
        4,
        3,
        2,
        1,
        0,
    ]
    chunks = list(store.export_interactions(InteractionFilter()))
    assert [len(chunk) for chunk in chunks] == [2, 2, 2]


# --- Order --------------------------------------------------------------------------------------


def test_the_newest_come_first_by_when_they_were_made(store: Store) -> None:
    for number in (5, 1, 9, 3):
        store.add_interaction(sample(number))
    assert found(store) == [9, 5, 3, 1]


def test_those_of_one_moment_come_in_the_order_of_their_coming(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.stores.interaction_positions._WINDOWS", (2, 4, 10))
    for number in range(40):
        store.add_interaction(sample(number, created_s=7.0))
    store.add_interaction(sample(100, created_s=6.0))
    store.add_interaction(sample(101, created_s=8.0))
    expected = [101, *range(39, -1, -1), 100]
    assert walked(store, InteractionFilter(), 7) == expected
    assert found(store, from_s=7.0, to_s=8.0) == expected[1:-1]


@pytest.mark.parametrize("created_s", [-5.0, 0.0, 1e300])
def test_any_time_is_kept(store: Store, created_s: float) -> None:
    for number in range(3):
        store.add_interaction(sample(number, created_s=created_s))
    assert found(store) == [2, 1, 0]
    kept = store.find_interaction(completion_id(1))
    assert kept is not None
    assert kept.interaction.created_s == created_s


def test_a_cursor_stays_good_whatever_is_added_or_deleted(store: Store) -> None:
    for number in range(10, 30):
        store.add_interaction(sample(number))
    page = store.list_interactions(InteractionFilter(), limit=5)
    assert shown(page) == [29, 28, 27, 26, 25]
    for number in (5, 31, 32):
        store.add_interaction(sample(number))
    store.add_interaction(sample(50, created_s=12.5))
    store.delete_interaction(completion_id(25))
    store.delete_interaction(completion_id(24))
    rest = store.list_interactions(InteractionFilter(), before=page.before, limit=100)
    assert shown(rest) == [*range(23, 12, -1), 50, 12, 11, 10, 5]
    assert rest.before is None


@pytest.mark.parametrize("before", ["", "-1", "zz", "1" * 99, "ffffffffffffffff", "' OR 1", "０x1"])
def test_a_cursor_that_is_none_is_refused(store: Store, before: str) -> None:
    with pytest.raises(InvalidRequest, match="before"):
        store.list_interactions(InteractionFilter(), before=before)


# --- Filters ------------------------------------------------------------------------------------


@pytest.fixture
def varied(store: Store) -> Store:
    store.add_interaction(sample(1, session_id="s", labels=(("team", "a"), ("x", "1"))))
    store.add_interaction(sample(2, session_id="s", user="u%", tags=("t", "beta")))
    store.add_interaction(sample(3, project_id=OTHER, model="other", attached=None))
    store.add_interaction(sample(4, account_id=AccountId("acct_b"), status="failed"))
    store.add_interaction(
        sample(5, source="import", campaign_id=CampaignId("c"), arm="A", labels=(("team", "b"),))
    )
    store.add_interaction(sample(6, attached="other", campaign_id=CampaignId("c"), arm="B"))
    for number, about in enumerate((1, 1, 6)):
        store.add_feedback(feedback(number, about))
    store.add_feedback(feedback(9, 2, MetricId("metric-2")))
    return store


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"account_id": "acct_b"}, [4]),
        ({"project_ids": ["proj_b"]}, [3]),
        ({"project_ids": ["proj_a", "proj_b"]}, [6, 5, 4, 3, 2, 1]),
        ({"project_ids": []}, []),
        ({"completion_id": completion_id(2)}, [2]),
        ({"completion_id": completion_id(2), "session_id": "none"}, []),
        ({"completion_id": completion_id(2), "from_s": 3.0}, []),
        ({"completion_id": "none"}, []),
        ({"request_id": "req_5"}, [5]),
        ({"model": "other"}, [6, 3]),
        ({"model": "m"}, [6, 5, 4, 2, 1]),
        ({"session_id": "s"}, [2, 1]),
        ({"user": "u%"}, [2]),
        ({"user": "u_"}, []),
        ({"user": "%"}, []),
        ({"labels": [("team", "a")]}, [1]),
        ({"labels": [("team", None)]}, [5, 1]),
        ({"labels": [("team", "a"), ("x", "1")]}, [1]),
        ({"labels": [("team", "a"), ("x", "2")]}, []),
        ({"labels": [("team", "%")]}, []),
        ({"labels": [("te", "ama")]}, []),
        ({"tags": ["beta"]}, [2]),
        ({"tags": ["beta", "t"]}, [2]),
        ({"tags": ["bet"]}, []),
        ({"campaign_id": "c"}, [6, 5]),
        ({"campaign_id": "c", "arm": "A"}, [5]),
        ({"status": "failed"}, [4]),
        ({"status": "ok"}, [6, 5, 3, 2, 1]),
        ({"source": "import"}, [5]),
        ({"source": "completion", "campaign_id": "c"}, [6]),
        ({"metric": "metric-rating"}, [6, 1]),
        ({"metric": "metric-2"}, [2]),
        ({"metric": "metric-2", "user": "u%", "tags": ["t"]}, [2]),
        ({"from_s": 3.0, "to_s": 5.0}, [4, 3]),
        ({"from_s": 5.0, "to_s": 3.0}, []),
        ({"from_s": float("-inf"), "to_s": float("inf")}, [6, 5, 4, 3, 2, 1]),
        ({"to_s": -1.0}, []),
        ({"user": "\ud800"}, []),
        ({"from_s": float("nan")}, None),
        ({"tags": [str(number) for number in range(33)]}, None),
    ],
)
def test_each_filter_finds_what_it_names(
    varied: Store, asked: dict[str, object], expected: list[int] | None
) -> None:
    asked = {
        name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()
    }
    question = InteractionFilter(**asked)  # type: ignore[arg-type]
    if expected is None:
        with pytest.raises(InvalidRequest):
            varied.list_interactions(question)
        return
    assert shown(varied.list_interactions(question)) == expected
    exported = itertools.chain.from_iterable(varied.export_interactions(question))
    assert numbers([each.interaction for each in exported]) == expected[::-1]


def test_feedback_comes_with_its_interaction_the_oldest_first(varied: Store) -> None:
    by_id = {
        each.interaction.completion_id: each.feedback
        for each in varied.list_interactions(InteractionFilter()).interactions
    }
    assert by_id[completion_id(1)] == (feedback(0, 1), feedback(1, 1))
    assert by_id[completion_id(3)] == ()
    kept = varied.find_interaction(completion_id(2))
    assert kept is not None
    assert kept.feedback == (feedback(9, 2, MetricId("metric-2")),)


CHOICES: dict[str, st.SearchStrategy[object]] = {
    "account_id": st.sampled_from(["acct_0", "acct_1"]),
    "project_ids": st.lists(st.sampled_from(["proj_0", "proj_1", "proj_2"]), max_size=2).map(tuple),
    "model": st.sampled_from(["m0", "m1"]),
    "session_id": st.sampled_from(["s0", "s1", "s9"]),
    "user": st.sampled_from(["u0", "u1"]),
    "labels": st.lists(
        st.tuples(st.just("team"), st.sampled_from([None, "a", "b"])), max_size=2
    ).map(tuple),
    "tags": st.lists(st.sampled_from(["x", "y"]), max_size=2).map(tuple),
    "status": st.sampled_from(["ok", "failed"]),
    "metric": st.sampled_from(["metric-0", "metric-1"]),
    "text": st.sampled_from(["apple", "pear", "apple pear", '"apple pear"', '"pear apple"', "fig"]),
    "from_s": st.integers(0, 60).map(float),
    "to_s": st.integers(0, 60).map(float),
}
FRUITS = ("apple", "pear", "plum")


def random_interaction(number: int, draw: random.Random) -> Interaction:
    words = [draw.choice(FRUITS) for _ in range(draw.randrange(4))]
    return sample(
        number,
        created_s=float(draw.randrange(60)),
        account_id=AccountId(f"acct_{number % 2}"),
        project_id=ProjectId(f"proj_{draw.randrange(3)}"),
        model=f"m{draw.randrange(3)}",
        session_id=f"s{draw.randrange(4)}",
        user=draw.choice([None, "u0", "u1"]),
        labels=draw.choice([(), (("team", "a"),), (("team", "b"), ("x", "y"))]),
        tags=draw.choice([(), ("x",), ("x", "y")]),
        status=draw.choice(["ok", "failed"]),
        content=content(" ".join(words), answer=None) if words else None,
    )


def matches(each: Interaction, asked: InteractionFilter, metrics: set[str]) -> bool:
    """The filter, as a reader of its definition would apply it by hand."""
    labels = dict(each.labels)
    text = "" if each.content is None else msgspec.json.decode(each.content.messages)[0]["content"]
    wanted = [] if asked.text is None else [asked.text]
    if asked.text is not None and '"' not in asked.text:
        wanted = asked.text.split()
    return all(
        (
            asked.account_id in (None, each.account_id),
            asked.project_ids is None or each.project_id in asked.project_ids,
            asked.model in (None, each.model),
            asked.session_id in (None, each.session_id),
            asked.user in (None, each.user),
            all(name in labels and value in (None, labels[name]) for name, value in asked.labels),
            set(asked.tags) <= set(each.tags),
            asked.status in (None, each.status),
            asked.metric is None or asked.metric in metrics,
            asked.from_s is None or each.created_s >= asked.from_s,
            asked.to_s is None or each.created_s < asked.to_s,
            all(f" {phrase.strip(chr(34))} " in f" {text} " for phrase in wanted),
        )
    )


@pytest.mark.parametrize("bounds", [(20_000, 4_000), (7, 3)])
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(asked=st.fixed_dictionaries({}, optional=CHOICES), limit=st.integers(1, 9))
def test_any_combination_finds_what_reading_everything_finds(
    many: Callable[[], tuple[Store, list[Interaction], dict[str, set[str]]]],
    monkeypatch: pytest.MonkeyPatch,
    bounds: tuple[int, int],
    asked: dict[str, object],
    limit: int,
) -> None:
    """Also where a page may look at very few candidates."""
    monkeypatch.setattr("dragoman.stores.interactions.SCANNED_FOR_A_PAGE", bounds[0])
    monkeypatch.setattr("dragoman.stores.interactions.READ_FOR_A_PAGE", bounds[1])
    store, interactions, metrics = many()
    question = InteractionFilter(**asked)  # type: ignore[arg-type]
    in_order = sorted(
        enumerate(interactions), key=lambda each: (each[1].created_s, each[0]), reverse=True
    )
    expected = numbers(
        [
            each
            for _, each in in_order
            if matches(each, question, metrics.get(each.completion_id, set()))
        ]
    )
    assert walked(store, question, limit) == expected
    exported = itertools.chain.from_iterable(store.export_interactions(question))
    assert numbers([each.interaction for each in exported]) == expected[::-1]


@pytest.fixture(scope="module")
def many(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], tuple[Store, list[Interaction], dict[str, set[str]]]]:
    store = open_store(tmp_path_factory.mktemp("many"))
    draw = random.Random(4)
    interactions = [random_interaction(number, draw) for number in range(150)]
    metrics: dict[str, set[str]] = {}
    with store.atomically():
        for number, each in enumerate(interactions):
            store.add_interaction(each)
            if number % 3 == 0:
                metric_id = MetricId(f"metric-{draw.randrange(2)}")
                store.add_feedback(feedback(number, uuid.UUID(each.completion_id).int, metric_id))
                metrics[each.completion_id] = {metric_id}
    while store.index_texts():
        pass
    return lambda: (store, interactions, metrics)


# --- Words --------------------------------------------------------------------------------------


def test_words_are_found_in_any_order_and_case_once_they_are_indexed(store: Store) -> None:
    store.add_interaction(sample(1, content=content("The QUICK brown Fox", answer="jümps over")))
    store.add_interaction(sample(2, content=content("the lazy dog", answer=None)))
    assert found(store, text="fox") == []
    assert store.index_texts() == 2
    assert store.index_texts() == 0
    for text in ("fox quick", "FOX", "jumps", "JÜMPS brown", '"quick brown fox"', "quick-brown"):
        assert found(store, text=text) == [1], text
    assert found(store, text="the") == [2, 1]
    for text in ('"brown quick"', "fo", "foxes", "fox lazy", "role", "user", "content"):
        assert found(store, text=text) == [], text


@pytest.mark.parametrize(
    "text",
    [
        '"',
        '""',
        '"fox',
        'fox"',
        "fox*",
        "-fox",
        "^fox",
        "words:fox",
        "fox AND",
        "NOT fox",
        "(fox",
        "NEAR(fox, 2)",
        "fox + dog",
        "{words}: fox",
        "fox\0",
        "%",
        "_",
        "';--",
        "",
        " \t",
        "fox OR nothing",
        "\ud800",
        "fox \udfff",
    ],
)
def test_nothing_that_is_looked_for_is_syntax(store: Store, text: str) -> None:
    store.add_interaction(sample(1, content=content("fox and or not near nothing words 2 dog")))
    store.index_texts()
    words = "".join(letter if letter.isalnum() else " " for letter in text).split()
    known = ["fox", "and", "or", "not", "near", "nothing", "words", "2", "dog"]
    is_found = bool(words) and all(word.lower() in known for word in words)
    if words and not is_found:
        raise AssertionError(words)
    phrases_hold = text not in ("words:fox", "NEAR(fox, 2)")
    assert found(store, text=text) == ([1] if is_found and phrases_hold else [])


def test_too_long_a_search_is_refused(store: Store) -> None:
    for text in ("x" * 5000, " ".join(str(number) for number in range(40))):
        with pytest.raises(InvalidRequest, match="to look for"):
            found(store, text=text)


def test_scripts_without_blanks_are_found_by_their_characters(store: Store) -> None:
    store.add_interaction(sample(1, content=content("我喜欢机器学习。", answer="ありがとう")))
    store.index_texts()
    for text in ("机器学习", "机器", "ありがとう", "学习 我"):
        assert found(store, text=text) == [1], text
    assert found(store, text="器机") == []


@pytest.mark.parametrize(
    "messages",
    [
        b"null",
        b'"text"',
        b"[null, 1, [], {}]",
        b'[{"content": {"text": "needle"}}]',
        b'[{"content": [{"text": 5}, "needle", null]}]',
        b'[{"content": "\\ud800 \\udfff"}]',
        b"[" * 5000 + b"]" * 5000,
        b'[{"content": "' + b"a" * 300_000 + b' needle"}]',
    ],
)
def test_conversations_of_any_shape_are_indexed(store: Store, messages: bytes) -> None:
    odd = InteractionContent(messages=msgspec.Raw(messages))
    store.add_interaction(sample(1, content=odd))
    store.add_interaction(sample(2, content=content("needle")))
    assert store.index_texts() == 2
    assert found(store, text="needle") == [2]


def test_parts_of_messages_are_found_and_images_are_not(store: Store) -> None:
    parts = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,needle"}},
    ]
    raw = msgspec.json.encode([{"role": "user", "content": parts}])
    store.add_interaction(sample(1, content=InteractionContent(messages=msgspec.Raw(raw))))
    store.index_texts()
    assert found(store, text="what is this") == [1]
    assert found(store, text="needle") == []


def test_indexing_goes_on_where_it_was_and_skips_what_is_deleted(open_again: OpenAgain) -> None:
    store, other = open_again(), open_again()
    for number in range(10):
        store.add_interaction(sample(number, content=content("word")))
    assert store.index_texts(4) == 4
    store.delete_interaction(completion_id(5))
    assert other.index_texts(4) == 4
    other.add_interaction(sample(20, content=None))
    other.add_interaction(sample(21, content=content("word")))
    assert store.index_texts(100) == 2
    assert store.index_texts() == other.index_texts() == 0
    assert found(store, text="word") == [21, 9, 8, 7, 6, 4, 3, 2, 1, 0]


def test_a_batch_of_long_texts_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragoman.stores.interactions.INDEXED_BYTES", 1000)
    for number in range(5):
        store.add_interaction(sample(number, content=content("word " * 150)))
    assert [store.index_texts() for _ in range(4)] == [2, 2, 1, 0]


# --- Forgetting ---------------------------------------------------------------------------------


def test_deleting_takes_what_was_said_of_it(store: Store) -> None:
    store.add_interaction(sample(1, content=content("fox")))
    store.add_interaction(sample(2, content=content("fox")))
    store.index_texts()
    for number, about in enumerate((1, 2)):
        store.add_feedback(feedback(number, about))
    for number, (preferred, other) in enumerate([(1, 2), (2, 1), (2, 3)]):
        store.add_comparison(comparison(number, preferred, other))
    assert store.delete_interaction(completion_id(1))
    assert not store.delete_interaction(completion_id(1))
    assert found(store) == found(store, text="fox") == found(store, metric=RATING) == [2]
    assert [each.id for each in store.list_comparisons(PROJECT)] == ["comparison-2"]
    store.add_interaction(sample(1))
    kept = store.find_interaction(completion_id(1))
    assert kept is not None
    assert (kept.sequence, kept.feedback) == (3, ())


def test_old_words_are_deleted_and_the_rest_stays(store: Store) -> None:
    for number in range(10):
        project = OTHER if number == 3 else PROJECT
        store.add_interaction(sample(number, project_id=project, content=content("fox")))
    store.index_texts()
    assert store.delete_old_content(PROJECT, 6.0, limit=3) == 3
    assert store.delete_old_content(PROJECT, 6.0, limit=3) == 2
    assert store.delete_old_content(PROJECT, 6.0) == 0
    # One that is told of later, of an earlier time.
    store.add_interaction(sample(11, created_s=2.5, content=content("fox")))
    assert store.delete_old_content(PROJECT, 6.0) == 1
    assert found(store, text="fox") == [9, 8, 7, 6, 3]
    with_words = [
        each.interaction.content is not None
        for each in store.list_interactions(InteractionFilter()).interactions
    ]
    assert with_words == [True] * 4 + [False] * 2 + [True] + [False] * 4


def test_an_export_is_of_its_beginning(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragoman.stores.interactions.EXPORT_CHUNK", 4)
    for number in range(10):
        store.add_interaction(sample(number))
    exported = store.export_interactions(InteractionFilter())
    ids = numbers([each.interaction for each in next(exported)])
    store.add_interaction(sample(50, created_s=5.5))
    store.add_interaction(sample(51))
    store.delete_interaction(completion_id(6))
    for chunk in exported:
        ids += numbers([each.interaction for each in chunk])
    assert ids == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert list(store.export_interactions(InteractionFilter(user="nobody"))) == []


# --- Feedback, comparisons, outcomes, and their scores ------------------------------------------


def comparison(number: int, preferred: int, other: int, **changed: object) -> Comparison:
    plain = Comparison(
        id=f"comparison-{number}",
        project_id=PROJECT,
        metric_id=RATING,
        preferred_id=completion_id(preferred),
        other_id=completion_id(other),
        created_s=float(number),
    )
    return msgspec.structs.replace(plain, **changed)


def outcome(number: int, session_id: str = "s", **changed: object) -> Outcome:
    plain = Outcome(
        id=f"outcome-{number}",
        project_id=PROJECT,
        session_id=session_id,
        metric_id=RATING,
        value=1.0,
        user="u",
        created_s=float(number),
    )
    return msgspec.structs.replace(plain, **changed)


def test_comparisons_are_listed_the_newest_first(store: Store) -> None:
    kept = [
        comparison(0, 1, 2, tied="good", user="u"),
        comparison(1, 3, 1),
        comparison(2, 3, 4, created_s=0.5),
        comparison(3, 1, 2, project_id=OTHER),
    ]
    for each in kept:
        store.add_comparison(each)
    assert store.list_comparisons(PROJECT) == [kept[1], kept[2], kept[0]]
    assert store.list_comparisons(PROJECT, limit=2) == [kept[1], kept[2]]
    assert store.list_comparisons(PROJECT, completion_id=completion_id(1)) == [kept[1], kept[0]]
    with pytest.raises(Conflict, match="comparison-0"):
        store.add_comparison(kept[0])


def test_outcomes_are_listed_the_newest_first(store: Store) -> None:
    kept = [outcome(0), outcome(1, "other"), outcome(2), outcome(3, project_id=OTHER)]
    for each in kept:
        store.add_outcome(each)
    assert store.list_outcomes(PROJECT) == [kept[2], kept[1], kept[0]]
    assert store.list_outcomes(PROJECT, session_id="s", limit=1) == [kept[2]]
    with pytest.raises(Conflict, match="outcome-0"):
        store.add_outcome(kept[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_are_finite(store: Store, value: float) -> None:
    with pytest.raises(InvalidRequest, match="value"):
        store.add_feedback(feedback(0, 1, value=value))
    with pytest.raises(InvalidRequest, match="value"):
        store.add_outcome(outcome(0, value=value))


def campaign(kind: str) -> Campaign:
    return Campaign(
        id=CampaignId("c"),
        project_id=PROJECT,
        key="c",
        name="c",
        metric_id=RATING,
        kind="direct" if kind == "direct" else "comparison",
        arms=(Arm(key="A", model="fast"), Arm(key="B", model="slow")),
    )


@pytest.mark.parametrize("kind", ["direct", "comparison"])
def test_a_score_is_counted_with_what_it_comes_of_or_not_at_all(store: Store, kind: str) -> None:
    store.add_project(Project(id=PROJECT, key="p", name="p", account_id=DEFAULT_ACCOUNT))
    store.add_campaign(campaign(kind))

    def say(number: int) -> None:
        if kind == "direct":
            score = Score(campaign_id=CampaignId("c"), unit="user:u", arm="A", value=0.5)
            store.add_feedback(feedback(number, 1), score)
        else:
            pair = PairScore(
                campaign_id=CampaignId("c"), unit="user:u", first="A", second="B", result=1
            )
            store.add_comparison(comparison(number, 1, 2), pair)

    say(0)
    counted = store.tally(CampaignId("c"))
    with pytest.raises(Conflict):
        say(0)
    assert store.tally(CampaignId("c")) == counted
    say(1)
    tally = store.tally(CampaignId("c"))
    if kind == "direct":
        assert [(arm.scores.n, arm.later_scores.n) for arm in tally.arms] == [(1, 1)]
    else:
        assert [(pair.wins, pair.later) for pair in tally.pairs] == [(1, 1)]


def test_feedback_with_a_score_that_cannot_be_counted_is_not_kept(store: Store) -> None:
    store.add_project(Project(id=PROJECT, key="p", name="p", account_id=DEFAULT_ACCOUNT))
    store.add_campaign(campaign("direct"))
    store.add_interaction(sample(1))
    score = Score(campaign_id=CampaignId("c"), unit="u", arm="A", value=1e200)
    with pytest.raises(InvalidRequest):
        store.add_feedback(feedback(0, 1), score)
    assert found(store, metric=RATING) == []
