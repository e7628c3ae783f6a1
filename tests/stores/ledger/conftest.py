"""A data directory for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores.ledger.desk import Desk, differences


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Whatever a test does, the money has to add up when it is over."""
    desk = Desk(tmp_path / "data")
    yield desk
    assert differences(desk.data_dir) == []
    assert desk.store.verify() == []
    desk.store.close()
