"""What commands export: to files, which are there whole or not at all, or to the standard output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import typer

from dragoman.cli.terminal import Failure, err


def write_file(path: Path, pieces: Iterator[bytes], *, noun: str, is_csv: bool = False) -> int:
    """How many records were written: lines of JSON, or of CSV below a heading. Progress goes to stderr."""
    part = path.with_name(f".{path.name}.part")
    count = -1 if is_csv else 0
    try:
        with part.open("wb") as file, err().status("Exporting …") as progress:
            for piece in pieces:
                file.write(piece)
                count += _count_csv_lines(piece) if is_csv else piece.count(b"\n")
                progress.update(f"Exporting … {max(0, count):,} {noun}")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def write_stdout(pieces: Iterator[bytes]) -> None:
    stream = typer.get_binary_stream("stdout")
    for piece in pieces:
        stream.write(piece)
    stream.flush()


def _count_csv_lines(piece: bytes) -> int:
    """A line break within quotes ends nothing; pieces are whole records."""
    return sum(part.count(b"\n") for part in piece.split(b'"')[::2])
