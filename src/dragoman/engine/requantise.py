"""Rewrites a GGUF file's Q4_1 tensors as Q8_0, whose kernels are much faster on processors.

Eight bits hold what four and an offset said, but for rounding. All that precedes the tensors is copied
byte for byte, except for the note of the file's type.
Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

BLOCK = 32
Q4_1, Q8_0 = 3, 8
Q4_1_BYTES, Q8_0_BYTES = 20, 34
FILE_TYPE_Q8_0 = 7
CHUNK_BLOCKS = 1 << 15
DEFAULT_ALIGNMENT = 32
MAX_TENSORS = 100_000

_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32, _STRING, _ARRAY = 4, 8, 9


class NotGguf(ValueError):
    """The file is no GGUF file that can be rewritten."""


class _Tensor(msgspec.Struct):
    name: bytes
    shape: tuple[int, ...]
    type: int
    offset: int
    size: int = 0
    """Bytes, padding included."""

    @property
    def elements(self) -> int:
        count = 1
        for length in self.shape:
            count *= length
        return count


class _Cursor:
    """Reads a GGUF header's values one after another."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> int:
        value: int
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def take_string(self) -> bytes:
        length = self.take("Q")
        if length > len(self.data) - self.at:
            raise NotGguf("a string runs past the file's end")
        value = self.data[self.at : self.at + length]
        self.at += length
        return value

    def skip_value(self, kind: int) -> None:
        if kind == _STRING:
            self.take_string()
        elif kind == _ARRAY:
            item, count = self.take("I"), self.take("Q")
            if item in _SCALAR_BYTES:
                self.at += _SCALAR_BYTES[item] * count
            else:
                for _ in range(count):
                    self.skip_value(item)
        elif kind in _SCALAR_BYTES:
            self.at += _SCALAR_BYTES[kind]
        else:
            raise NotGguf(f"value type {kind} is unknown")


def rewrite_as_q8_0(source: Path, target: Path, on_progress: Callable[[int, int], None]) -> None:
    """Write `target` from `source`; `on_progress` is told the bytes done and to do.

    Raises `NotGguf` or `OSError`. `target` is complete, and on disk, only on return.
    """
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            _rewrite(data, target, on_progress)
        except (struct.error, IndexError) as error:
            raise NotGguf(f"{source} ends too early") from error


def _rewrite(data: mmap.mmap, target: Path, on_progress: Callable[[int, int], None]) -> None:
    cursor = _Cursor(data)
    if data[:4] != b"GGUF" or struct.unpack_from("<I", data, 4)[0] not in {2, 3}:
        raise NotGguf("the file is not GGUF version 2 or 3")
    cursor.at = 8
    tensor_count, value_count = cursor.take("Q"), cursor.take("Q")
    if tensor_count > MAX_TENSORS:
        raise NotGguf("the file claims too many tensors")
    alignment, file_type_at = _read_values(cursor, value_count)
    head = bytearray(data[: cursor.at])
    if file_type_at is not None:
        struct.pack_into("<I", head, file_type_at, FILE_TYPE_Q8_0)
    tensors = [_read_tensor(cursor) for _ in range(tensor_count)]
    start = _padded(cursor.at, alignment)
    _measure(tensors, len(data) - start)
    total = sum(tensor.size for tensor in tensors)
    done = 0
    with target.open("wb") as out, ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        out.write(head)
        out.write(_describe_tensors(tensors, alignment))
        out.write(bytes(_padded(out.tell(), alignment) - out.tell()))
        for tensor in tensors:
            at = start + tensor.offset
            if tensor.type == Q4_1:
                blocks = tensor.elements // BLOCK
                waiting: list[Future[NDArray[np.uint8]]] = []
                for first in range(0, blocks, CHUNK_BLOCKS):
                    count = min(CHUNK_BLOCKS, blocks - first)
                    raw = np.frombuffer(
                        data[at + first * Q4_1_BYTES : at + (first + count) * Q4_1_BYTES], np.uint8
                    )
                    waiting.append(pool.submit(_requantise, raw))
                for chunk in waiting:
                    out.write(chunk.result().data)
            else:
                out.write(data[at : at + tensor.size])
            out.write(bytes(_padded(out.tell(), alignment) - out.tell()))
            done += tensor.size
            on_progress(done, total)
        out.flush()
        os.fsync(out.fileno())


def _read_values(cursor: _Cursor, count: int) -> tuple[int, int | None]:
    """Pass over the metadata: the tensors' alignment, and where the file's type is noted."""
    alignment, file_type_at = DEFAULT_ALIGNMENT, None
    for _ in range(count):
        key, kind = cursor.take_string(), cursor.take("I")
        if key == b"general.alignment" and kind == _UINT32:
            alignment = struct.unpack_from("<I", cursor.data, cursor.at)[0]
        elif key == b"general.file_type" and kind == _UINT32:
            file_type_at = cursor.at
        cursor.skip_value(kind)
    if alignment < 8 or alignment % 8:
        raise NotGguf("the alignment is no multiple of 8")
    return alignment, file_type_at


def _read_tensor(cursor: _Cursor) -> _Tensor:
    name = cursor.take_string()
    shape = tuple(cursor.take("Q") for _ in range(cursor.take("I")))
    return _Tensor(name=name, shape=shape, type=cursor.take("I"), offset=cursor.take("Q"))


def _measure(tensors: list[_Tensor], available: int) -> None:
    """Fill in the sizes: each tensor reaches to the next one's start."""
    ordered = sorted(tensors, key=lambda tensor: tensor.offset)
    for tensor, end in zip(ordered, [t.offset for t in ordered[1:]] + [available], strict=True):
        tensor.size = end - tensor.offset
        needed = tensor.elements // BLOCK * Q4_1_BYTES if tensor.type == Q4_1 else 0
        if tensor.size < needed or tensor.size < 0:
            raise NotGguf("a tensor runs past its end")


def _describe_tensors(tensors: list[_Tensor], alignment: int) -> bytes:
    described = bytearray()
    offset = 0
    for tensor in tensors:
        is_rewritten = tensor.type == Q4_1
        described += struct.pack("<Q", len(tensor.name)) + tensor.name
        described += struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        described += struct.pack("<IQ", Q8_0 if is_rewritten else tensor.type, offset)
        size = tensor.elements // BLOCK * Q8_0_BYTES if is_rewritten else tensor.size
        offset += _padded(size, alignment)
    return bytes(described)


def _requantise(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Q4_1 blocks (scale, offset, 32 nibbles) as Q8_0 blocks (scale, 32 signed bytes)."""
    blocks = raw.reshape(-1, Q4_1_BYTES)
    factors = blocks[:, :4].copy().view(np.float16).astype(np.float32)
    nibbles = blocks[:, 4:]
    values = np.empty((len(blocks), BLOCK), np.float32)
    np.bitwise_and(nibbles, 15, out=values[:, :16], casting="unsafe")
    np.right_shift(nibbles, 4, out=values[:, 16:], casting="unsafe")
    values *= factors[:, :1]
    values += factors[:, 1:]
    scale = np.maximum(values.max(axis=1), -values.min(axis=1)) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    values *= inverse[:, None]
    np.rint(values, out=values)
    out = np.empty((len(blocks), Q8_0_BYTES), np.uint8)
    out[:, :2] = scale.astype(np.float16).view(np.uint8).reshape(-1, 2)
    out[:, 2:] = values.astype(np.int8).view(np.uint8)
    return out


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
