"""A hundred streams at once: none waits for another, none is held up by a slow reader."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

from tests.conftest import Served
from tests.scripted_provider import Gate, Script, ScriptedProvider

STREAMS = 100
SLOW_STREAMS = 2
SLOW_FRAMES = 4000
BODY = json.dumps(
    {"model": "gpt", "messages": [{"role": "user", "content": "hi"}], "stream": True}
).encode()


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("the server is gone")


async def open_stream(
    gateway: Served, kernel_bytes: int | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """`kernel_bytes`: how much the kernel may receive ahead of a slow reader; else what it likes."""
    host, port = gateway.url.removeprefix("http://").split(":")
    sock = socket.socket()
    sock.setblocking(False)
    if kernel_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kernel_bytes)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=sock, limit=2**16)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
        % (gateway.key.encode(), len(BODY), BODY)
    )
    await writer.drain()
    return reader, writer


async def test_a_hundred_streams_all_get_their_first_byte_before_any_ends(
    gateway: Served, provider: ScriptedProvider
) -> None:
    gate = Gate()
    provider.default = Script(
        deltas=("first ", *(["more "] * 20)), frame_gate=gate, frames_before_gate=3
    )
    streams = [await open_stream(gateway) for _ in range(STREAMS)]
    async with asyncio.timeout(30):
        firsts = await asyncio.gather(*(r.readuntil(b"first ") for r, _ in streams))
        assert len(firsts) == STREAMS
        gate.open()
        rests = await asyncio.gather(*(r.read() for r, _ in streams))
    assert all(b"[DONE]" in rest for rest in rests)
    for _, writer in streams:
        writer.close()


async def test_a_slow_reader_holds_up_nobody_and_memory_comes_back(
    gateway: Served, provider: ScriptedProvider
) -> None:
    # More than the sockets between can hold (Linux lets one grow to 32 MiB, some machines' settings
    # to more): the provider has to wait for the reader.
    big = ("x" * 16_000,) * SLOW_FRAMES
    provider.default = Script(deltas=("quick ",) * 20)
    for _ in range(2):
        warm = [await open_stream(gateway) for _ in range(STREAMS)]
        await asyncio.gather(*(reader.read() for reader, _ in warm))
    before_kib = resident_kib(gateway.pid)

    provider.default = Script(deltas=big)
    slow = [await open_stream(gateway, kernel_bytes=2**16) for _ in range(SLOW_STREAMS)]
    await asyncio.gather(*(reader.readuntil(b"data: ") for reader, _ in slow))
    provider.default = Script(deltas=("quick ",) * 20)
    async with asyncio.timeout(30):
        quick = [await open_stream(gateway) for _ in range(STREAMS)]
        answers = await asyncio.gather(*(reader.read() for reader, _ in quick))
    assert all(b"[DONE]" in answer for answer in answers)
    held_kib = resident_kib(gateway.pid) - before_kib
    # They are held back at their sockets, not in our memory.
    assert held_kib < 20_000
    held_back = [request for request in provider.requests if request.sent_frames > STREAMS]
    assert len(held_back) == SLOW_STREAMS
    assert not any(request.is_answered for request in held_back)

    async with asyncio.timeout(60):
        wholes = await asyncio.gather(*(reader.read() for reader, _ in slow))
    assert all(whole.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for whole in wholes)
    assert all(whole.count(b"x" * 16_000) == SLOW_FRAMES for whole in wholes)
    for _, writer in (*slow, *quick):
        writer.close()
    assert resident_kib(gateway.pid) - before_kib < 20_000
