"""What is under way, in a file that outlives its process."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from tests.stores.ledger.desk import KEY, START_S

from dragoman.chat import Usage
from dragoman.errors import StoreUnavailable
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.ledger import journal as journals
from dragoman.stores.ledger.journal import (
    SEGMENT_SLOTS,
    Journal,
    JournalDamaged,
    read_intents,
    read_seat,
)


def intent_of(request_id: str, **fields: object) -> UsageRecord:
    intent = UsageRecord(
        request_id=request_id,
        account_id=DEFAULT_ACCOUNT,
        key_id=KEY,
        dialect="openai",
        started_s=START_S,
        status="interrupted",
        usage=Usage(is_estimated=True),
    )
    return msgspec.structs.replace(intent, **fields)


def read(path: Path) -> list[UsageRecord]:
    file = os.open(path, os.O_RDONLY)
    try:
        return list(read_intents(file))
    finally:
        os.close(file)


def test_intents_are_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", seat=7)
    intents = [intent_of(f"r{number}", tags=("a", "b"), user="u") for number in range(3)]
    slots = [journal.write(intent) for intent in intents]
    assert read(journal.path) == intents
    journal.clear(slots[1])
    assert read(journal.path) == [intents[0], intents[2]]
    assert journal.taken() == 2
    journal.close(remove=False)


def test_slot_that_is_used_again_forgets_the_last_checkpoint(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", seat=0)
    slot = journal.write(intent_of("first"))
    journal.checkpoint(slot, Usage(input_tokens=5, output_tokens=6), START_S + 2)
    (record,) = read(journal.path)
    assert (record.usage.output_tokens, record.total_ms) == (6, 2_000)
    journal.clear(slot)
    assert journal.write(intent_of("second")) == slot
    assert read(journal.path) == [intent_of("second")]
    journal.close(remove=True)
    assert not journal.path.exists()


def test_nothing_of_a_request_stays_in_the_file_after_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", seat=0)
    slots = [journal.write(intent_of(f"r{n}", user="ada-of-the-notes")) for n in range(3)]
    journal.clear(slots[0])
    journal.clear(slots[2])
    assert journal.path.read_bytes().count(b"ada-of-the-notes") == 1
    journal.clear(slots[1])
    assert b"ada-of-the-notes" not in journal.path.read_bytes()
    journal.close(remove=True)


def test_more_requests_than_a_segment_holds(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", seat=0)
    names = [f"r{number}" for number in range(SEGMENT_SLOTS + 5)]
    slots = [journal.write(intent_of(name)) for name in names]
    assert [record.request_id for record in read(journal.path)] == names
    for slot in slots:
        journal.clear(slot)
    assert read(journal.path) == []
    journal.close(remove=True)


def test_bounded_number_of_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MOST_SEGMENTS", 1)
    journal = Journal(tmp_path / "j", seat=0)
    for _ in range(SEGMENT_SLOTS):
        journal.write(intent_of("r"))
    with pytest.raises(StoreUnavailable):
        journal.write(intent_of("one more"))
    journal.close(remove=True)


def test_long_intent_keeps_what_identifies_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", seat=0)
    wide = "\N{GRINNING FACE}" * 500
    journal.write(
        intent_of(
            "r" * 64,
            user=wide,
            session_id=wide[:200],
            model_asked=wide[:200],
            model=wide[:200],
            provider=wide[:200],
            project=wide[:200],
            labels=tuple((f"l{number}", wide) for number in range(64)),
            tags=(wide,) * 10,
        )
    )
    (record,) = read(journal.path)
    assert (record.request_id, record.key_id, record.labels) == ("r" * 64, KEY, ())
    assert record.user == wide[:32]
    journal.close(remove=True)


@pytest.mark.parametrize("content", [b"", b"something else" * 400])
def test_other_files_are_not_taken_for_journals(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(content)
    file = os.open(path, os.O_RDONLY)
    with pytest.raises(JournalDamaged):
        read_seat(file)
    assert list(read_intents(file)) == []
    os.close(file)


def test_full_disk_refuses_and_does_not_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "j", seat=0)
    for _ in range(SEGMENT_SLOTS):
        journal.write(intent_of("r"))

    def full(file: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreUnavailable):
        journal.write(intent_of("one more"))
    journal.close(remove=True)
