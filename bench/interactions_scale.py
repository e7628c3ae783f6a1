"""`python -m bench.interactions_scale`: how long questions take over a million interactions.

Fills a store in a temporary directory: projects of which few have most, sessions of four turns, labels that
many share and labels that few do, words as often as words come in a language. Then each question is asked
several times, of the store as the server opens it; those that find nothing are asked, too, and what a
conversation adds to the settlement of its request is measured.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from dragoman.chat import NanoUSD, Usage
from dragoman.records.account import AccountId
from dragoman.records.campaign import CampaignId
from dragoman.records.feedback import Feedback
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.interaction_query import InteractionFilter
from dragoman.records.key import KeyId
from dragoman.records.metric import MetricId
from dragoman.records.project import ProjectId
from dragoman.stores import Store, open_store
from dragoman.stores.connection import DATABASE_NAME
from dragoman.stores.interaction_writing import add_interactions

PROJECTS, ACCOUNTS, MODELS, USERS = 12, 5, 6, 20_000
WORDS, WORDS_OF_EACH = 50_000, 110
FIRST_S, SECONDS = 1.7e9, 90 * 86_400.0
RUNS = 3
ROWS_AT_ONCE = 2000
FEEDBACK_EVERY = 20


class Timing(NamedTuple):
    question: str
    found: int
    is_last: bool
    best_ms: float
    worst_ms: float


class Conversations:
    """Of `total` interactions, those that are asked for; the same every time."""

    def __init__(self, total: int) -> None:
        self._random = random.Random(total)
        self._total = total
        weights = itertools.accumulate(1 / (rank + 1) for rank in range(WORDS))
        words = [_word(rank) for rank in range(WORDS)]
        self._pool = self._random.choices(words, cum_weights=list(weights), k=500_000)

    def interactions(self, first: int, end: int) -> list[Interaction]:
        return [self._interaction(number) for number in range(first, end)]

    def _interaction(self, number: int) -> Interaction:
        luck = self._random.random
        project = int(PROJECTS * luck() * luck())
        model = int(MODELS * luck() * luck())
        is_compared = project == 0 and number % 3 == 0
        labels = [("team", f"t{number % 7}"), ("release", f"v{number // 5000}")]
        tags = [
            *(["beta"] if luck() < 0.1 else []),
            *(["even" if number % 2 else "odd"]),
            *(["rare"] if number % 20_000 == 7 else []),
        ]
        user = f"user-{int(USERS * luck())}" if number % 5 else None
        return Interaction(
            completion_id=str(uuid.UUID(int=number)),
            request_id=f"req_{number}",
            project_id=ProjectId(f"proj_{project}"),
            account_id=AccountId(f"acct_{project % ACCOUNTS}"),
            key_id=KeyId("key_a"),
            created_s=FIRST_S + SECONDS * number / self._total,
            session_id=str(uuid.UUID(int=number // 4)),
            user=user,
            attached="fast" if model == 0 else f"m{model}",
            model=f"model-{model}",
            labels=tuple(labels),
            tags=tuple(tags),
            campaign_id=CampaignId("campaign-1") if is_compared else None,
            unit=f"user:{user}" if is_compared else None,
            arm="AB"[number % 2] if is_compared else None,
            status="failed" if luck() < 0.02 else "ok",
            finish_reason="stop",
            usage=Usage(input_tokens=200, output_tokens=100),
            cost_nano_usd=NanoUSD(1000),
            first_token_ms=200.0,
            total_ms=1500.0,
            content=self._content(number),
        )

    def _content(self, number: int) -> InteractionContent:
        at = self._random.randrange(len(self._pool) - WORDS_OF_EACH)
        words = self._pool[at : at + WORDS_OF_EACH]
        words.append("left" if number % 2 else "right")
        if number % 50_000 == 11:
            words.append("needle")
        middle = len(words) // 2
        messages = [{"role": "user", "content": " ".join(words[:middle])}]
        completion = {"role": "assistant", "content": " ".join(words[middle:])}
        return InteractionContent(
            messages=msgspec.Raw(msgspec.json.encode(messages)),
            completion=msgspec.Raw(msgspec.json.encode(completion)),
        )


def _word(rank: int) -> str:
    letters = ""
    rank += 26
    while rank:
        rank, letter = divmod(rank, 26)
        letters += chr(97 + letter)
    return letters + "ing"


def fill(data_dir: Path, count: int) -> None:
    """Make a store with so many interactions, all of them findable by their words."""
    store = open_store(data_dir)
    connection = sqlite3.connect(data_dir / DATABASE_NAME, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-1000000")
    try:
        conversations = Conversations(count)
        for first in range(0, count, ROWS_AT_ONCE):
            connection.execute("BEGIN IMMEDIATE")
            end = min(count, first + ROWS_AT_ONCE)
            add_interactions(connection, conversations.interactions(first, end))
            connection.execute("COMMIT")
            while store.index_texts(ROWS_AT_ONCE):
                pass
        with store.atomically():
            for number in range(0, count, FEEDBACK_EVERY):
                store.add_feedback(_feedback(number))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
        store.close()


def _feedback(number: int) -> Feedback:
    return Feedback(
        id=f"feedback-{number}",
        project_id=ProjectId("proj_0"),
        completion_id=str(uuid.UUID(int=number)),
        metric_id=MetricId("rating" if number % 1000 else "seldom"),
        value=1.0,
        created_s=FIRST_S,
    )


def questions(count: int) -> dict[str, InteractionFilter]:
    project, account = (ProjectId("proj_0"),), AccountId("acct_3")
    small = (ProjectId(f"proj_{PROJECTS - 1}"),)
    middle_s = FIRST_S + SECONDS / 2
    session = str(uuid.UUID(int=count // 8))
    frequent, second = _word(0), _word(1)
    return {
        "newest": InteractionFilter(),
        "of a project": InteractionFilter(project_ids=project),
        "of a small project": InteractionFilter(project_ids=small),
        "of an account": InteractionFilter(account_id=account),
        "of three projects of an account": InteractionFilter(
            account_id=AccountId("acct_0"),
            project_ids=(*project, ProjectId("proj_5"), ProjectId("proj_10")),
        ),
        "until the middle": InteractionFilter(project_ids=project, to_s=middle_s),
        "of an hour": InteractionFilter(from_s=middle_s, to_s=middle_s + 3600),
        "of a model": InteractionFilter(project_ids=project, model="model-3"),
        "of a model that is seldom, in a small project": InteractionFilter(
            project_ids=small, model=f"model-{MODELS - 1}"
        ),
        "of a session": InteractionFilter(session_id=session),
        "of a session that is none": InteractionFilter(session_id="none"),
        "of a user": InteractionFilter(project_ids=project, user="user-77"),
        "of a user that is none": InteractionFilter(project_ids=project, user="nobody"),
        "of a label": InteractionFilter(project_ids=project, labels=(("team", "t3"),)),
        "of a label of few": InteractionFilter(labels=(("release", "v1"),)),
        "of any value of a label": InteractionFilter(project_ids=small, labels=(("team", None),)),
        "of two labels and a tag": InteractionFilter(
            labels=(("team", "t3"), ("release", "v1")), tags=("beta",)
        ),
        "of two tags that exclude each other": InteractionFilter(tags=("even", "odd")),
        "of a tag that is rare": InteractionFilter(tags=("rare",)),
        "of a campaign's arm": InteractionFilter(campaign_id=CampaignId("campaign-1"), arm="A"),
        "with feedback": InteractionFilter(project_ids=project, metric="rating"),
        "with feedback that is seldom": InteractionFilter(metric="seldom"),
        "that failed": InteractionFilter(project_ids=project, status="failed"),
        "a word of many": InteractionFilter(text=frequent),
        "a word of few": InteractionFilter(text="needle"),
        "a word of none": InteractionFilter(text="nonesuch"),
        "words of many that never meet": InteractionFilter(text="left right"),
        "five words of many": InteractionFilter(text=" ".join(_word(rank) for rank in range(5))),
        "a phrase": InteractionFilter(text=f'"{frequent} {second}"'),
        "a phrase of many words that is none": InteractionFilter(
            text='"' + " ".join([frequent] * 6) + '"'
        ),
        "a word of many in a small project": InteractionFilter(project_ids=small, text=frequent),
        "a word of few in a project": InteractionFilter(project_ids=project, text="needle"),
        "a word of many, of a user": InteractionFilter(text=frequent, user="user-77"),
        "a word of many, of a tag that is rare": InteractionFilter(text=frequent, tags=("rare",)),
        "words that never meet, of a label and a project": InteractionFilter(
            project_ids=project, text="left right", labels=(("team", "t3"),)
        ),
        "everything at once": InteractionFilter(
            account_id=AccountId("acct_0"),
            project_ids=project,
            model="model-1",
            user="user-77",
            labels=(("team", "t3"),),
            tags=("beta",),
            campaign_id=CampaignId("campaign-1"),
            metric="rating",
            status="ok",
            text=frequent,
            from_s=FIRST_S,
            to_s=FIRST_S + SECONDS,
        ),
    }


def measure(store: Store, count: int, runs: int = RUNS) -> Iterator[Timing]:
    for name, asked in questions(count).items():
        taken: list[float] = []
        page = store.list_interactions(asked)
        for _ in range(runs):
            started = time.perf_counter()
            page = store.list_interactions(asked)
            taken.append((time.perf_counter() - started) * 1000)
        yield Timing(name, len(page.interactions), page.before is None, min(taken), max(taken))


def added_us(data_dir: Path, count: int = 5000) -> list[float]:
    """What conversations of a kilobyte cost a transaction of 1, 8 and 64, in microseconds of
    processor time for each."""
    connection = sqlite3.connect(data_dir / DATABASE_NAME, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    found = []
    for batch in (1, 8, 64):
        fresh = [
            msgspec.structs.replace(each, completion_id=str(uuid.uuid4()))
            for each in Conversations(count).interactions(0, count)
        ]
        taken = []
        for at in range(0, count, batch):
            connection.execute("BEGIN IMMEDIATE")
            started = time.thread_time()
            add_interactions(connection, fresh[at : at + batch])
            taken.append((time.thread_time() - started) * 1e6 / batch)
            connection.execute("COMMIT")
        found.append(statistics.median(taken))
    connection.close()
    return found


def timed(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.interactions_scale", description=__doc__)
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--data-dir", type=Path, help="keep the store there, or use the one there")
    parser.add_argument("--erase", action="store_true", help="erase a user at the end, too")
    options = parser.parse_args()
    console = Console()
    count = options.interactions
    with tempfile.TemporaryDirectory(prefix="dragoman-interactions-") as name:
        data_dir = options.data_dir or Path(name)
        if not (data_dir / DATABASE_NAME).exists():
            filled_s = timed(lambda: fill(data_dir, count))
            console.print(f"filled in {filled_s:.0f} s")
        size = (data_dir / DATABASE_NAME).stat().st_size / 1e9
        console.print(f"{count:,} interactions, {size:.2f} GB")
        store = open_store(data_dir)
        table = Table("interactions …", "found", "last page", "best, ms", "worst, ms")
        for timing in measure(store, count):
            is_last = "yes" if timing.is_last else "no"
            best, worst = f"{timing.best_ms:.1f}", f"{timing.worst_ms:.1f}"
            table.add_row(timing.question, str(timing.found), is_last, best, worst)
        console.print(table)
        exported = store.export_interactions(InteractionFilter(account_id=AccountId("acct_4")))
        chunk_ms = timed(lambda: [next(exported, None) for _ in range(10)]) * 100
        console.print(f"a chunk of an export: {chunk_ms:.1f} ms")
        if options.erase:
            erased_s = timed(lambda: store.erase_user(AccountId("acct_0"), "user-77"))
            console.print(f"a user erased in {erased_s:.1f} s")
        store.close()
        by_batch = ", ".join(f"{us:.0f}" for us in added_us(data_dir))
        console.print(f"a conversation adds {by_batch} µs to a transaction of 1, 8, 64")


if __name__ == "__main__":
    main()
