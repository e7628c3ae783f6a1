"""Administration over a real store, and a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dragoman.errors import DragomanError
from dragoman.policy.administration import (
    Administration,
)
from dragoman.policy.routing import ModelDirectory
from dragoman.records.model import Model
from dragoman.stores import Store, open_store


class SetClock:
    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def administration(store: Store, clock: SetClock) -> Administration:
    directory = ModelDirectory(
        [
            Model(id="small", provider="p", upstream_name="s", aliases=("s",)),
            Model(id="large", provider="p", upstream_name="l"),
        ],
        "small",
    )
    return Administration(store, clock, "cli:tester", directory=directory)


def actions(administration: Administration) -> list[str]:
    """Oldest first."""
    return [event.action for _, event in reversed(administration.audit())]


def refused(error: pytest.ExceptionInfo[DragomanError]) -> str | None:
    return error.value.param
