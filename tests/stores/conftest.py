"""The stores that the contract suite is run against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dragoman.stores import Store, open_store

OpenAgain = Callable[[], Store]


@pytest.fixture(params=["sqlite"])
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenAgain]:
    """Opens one and the same database each time it is called, as another process would."""
    assert request.param == "sqlite"
    with ExitStack() as closing:

        def open_again() -> Store:
            store = open_store(tmp_path / "data")
            closing.callback(store.close)
            return store

        yield open_again


@pytest.fixture
def store(open_again: OpenAgain) -> Store:
    return open_again()
