"""Archives of usage records: one JSON object a line, in gzip members, each whole by itself.

Whoever writes one has it locked for as long. One is changed by writing it anew beside itself, and putting
it in its place at once.
"""

from __future__ import annotations

import fcntl
import gzip
import logging
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from dragoman.errors import StoreUnavailable
from dragoman.records.usage_record import UsageRecord
from dragoman.stores.store_failed import StoreFailed

ARCHIVE_DIR = "usage-archive"
"""In the data directory."""
LINES_OF_A_MEMBER = 500
WAIT_S = 10.0
_PAUSE_S = 0.05
_NEW_SUFFIX = ".new"

_log = logging.getLogger("dragoman.retention")
_encoder = msgspec.json.Encoder()


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a record is about."""

    account_id: str
    user: str | None = None
    session_id: str | None = None


_whom = msgspec.json.Decoder(Named)
_record = msgspec.json.Decoder(UsageRecord)


class Person(msgspec.Struct, frozen=True):
    """A user of an account, with the sessions that are nobody else's."""

    account_id: str
    user: str
    sessions: frozenset[str]

    def is_meant(self, user: str | None, session_id: str | None) -> bool:
        return user == self.user or (user is None and session_id in self.sessions)


def erase_from_archives(directory: Path, person: Person) -> int:
    """Make records of `person` nobody's, in every archive; returns how many files were written anew.

    Raises `StoreUnavailable` where one of them is being written for too long, `StoreFailed` where one
    cannot be.
    """
    try:
        return sum([_erase(path, person) for path in sorted(directory.glob("*.jsonl.gz"))])
    except OSError as error:
        raise StoreFailed(
            f"{error.filename or directory} cannot be written: {error.strerror}; the user is in it still"
        ) from error


def write_lines(file: IO[bytes], lines: list[bytes]) -> None:
    """As a member of its own: one that a crash cuts off leaves the others whole."""
    file.write(gzip.compress(b"".join(lines)))


def _erase(path: Path, person: Person) -> bool:
    with _locked(path):
        if not any(_is_meant(line, person) for line in _lines(path)):
            return False
        fresh = path.with_name(path.name + _NEW_SUFFIX)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            lines: list[bytes] = []
            for line in _lines(path):
                lines.append(_nobodys(line) if _is_meant(line, person) else line)
                if len(lines) == LINES_OF_A_MEMBER:
                    write_lines(file, lines)
                    lines = []
            write_lines(file, lines)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _synchronize(path.parent)
    return True


def _is_meant(line: bytes, person: Person) -> bool:
    try:
        whom = _whom.decode(line)
    except msgspec.DecodeError:
        return False
    return whom.account_id == person.account_id and person.is_meant(whom.user, whom.session_id)


def _nobodys(line: bytes) -> bytes:
    record = msgspec.structs.replace(
        _record.decode(line), user=None, session_id=None, labels=(), tags=()
    )
    return _encoder.encode(record) + b"\n"


def _lines(path: Path) -> Iterator[bytes]:
    """Whole ones. What follows a member that a crash cut off was not deleted from the database."""
    with gzip.open(path) as file:
        try:
            for line in file:
                if line.endswith(b"\n"):
                    yield line
        except EOFError:
            return
        except (zlib.error, gzip.BadGzipFile) as error:
            raise StoreFailed(
                f"{path} is damaged, and may name the user: delete it, or put a sound copy in its place"
            ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    end_s = time.monotonic() + WAIT_S
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end_s:
                    raise StoreUnavailable(
                        "Old usage records are being moved into an archive; erase the user again when"
                        " that is done.",
                        retry_after_s=60.0,
                    ) from None
                time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(file)


def _synchronize(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
