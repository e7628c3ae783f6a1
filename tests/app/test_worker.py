"""What a worker is told, and how it writes to a log that it shares."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dragoman.app.worker import PIPE_BUF_BYTES, Orders, WholeLines, decode_orders, encode_orders
from dragoman.config import load_config

CONFIG = """
shutdown_grace_s = 3.5
workers = 4

[[local_models]]
id = "small"
path = "small.gguf"
aliases = ["local"]

[[providers]]
name = "scripted"
wire = "openai"
base_url = "http://127.0.0.1:1/v1"
api_key = "env:SECRET"
lacks = ["images"]

[[providers.models]]
id = "gpt"
lacks = ["seed"]
"""


def test_a_worker_is_told_the_whole_configuration(tmp_path: Path) -> None:
    path = tmp_path / "dragoman.toml"
    path.write_text(CONFIG)
    environ = {"DRAGOMAN_DATA_DIR": str(tmp_path), "HTTPS_PROXY": "http://user:secret@proxy:3128"}
    config = load_config(path, environ=environ)
    orders = Orders(index=3, connections_fd=5, engine_fd=None, config=config)
    line = encode_orders(orders)
    assert line.count(b"\n") == 1
    assert decode_orders(line) == orders
    assert decode_orders(line).config.data_dir == tmp_path
    assert "secret" not in repr(orders)


def test_a_worker_without_orders_ends_at_once() -> None:
    command = [sys.executable, "-P", "-m", "dragoman.app.worker"]
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("length", [10, PIPE_BUF_BYTES - 1, PIPE_BUF_BYTES, 3 * PIPE_BUF_BYTES])
def test_every_write_to_the_log_is_of_whole_lines_where_they_fit(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []

    def write(_fd: int, data: bytes) -> int:
        written.append(bytes(data))
        return len(data)

    monkeypatch.setattr(os, "write", write)
    text = ("x" * (length - 1) + "\n") * 20
    assert WholeLines(2).write(text) == len(text)
    assert b"".join(written) == text.encode()
    assert all(len(piece) <= PIPE_BUF_BYTES for piece in written)
    if length <= PIPE_BUF_BYTES:
        assert all(piece.endswith(b"\n") for piece in written)


def test_a_log_that_takes_little_at_a_time_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(os, "write", lambda _fd, data: out.write(data[:7]))
    WholeLines(2).write("a line\nand another one \udcff\n")
    assert out.getvalue() == b"a line\nand another one \\udcff\n"
