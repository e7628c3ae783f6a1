"""Targets that somebody else names lead to the public Internet, or nowhere."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

import pytest
from tests.http_client.raw_server import Line, chunked, serve

from dragoman.http_client import (
    ConnectFailed,
    Endpoint,
    HttpClient,
    HttpRequest,
    HttpSettings,
    ProxySettings,
)
from dragoman.http_client.public_addresses import is_public, public_addresses


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:7f00:1::1",
        "2001:db8::1",
    ],
)
def test_addresses_of_this_machine_and_private_networks_are_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::101:101"])
def test_addresses_of_the_internet_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_no_spelling_of_this_machine_is_connected_to(host: str) -> None:
    async def never(line: Line) -> None:
        pytest.fail("somebody connected")

    async with serve(never) as server:
        client = HttpClient(HttpSettings(public_only=True))
        request = HttpRequest(Endpoint("POST", f"http://{host}:{server.port}/hook"), b"{}")
        with pytest.raises(ConnectFailed):
            await client.send(request)
        assert server.accepted == 0
        await client.aclose()


async def test_a_proxy_is_not_asked_for_private_addresses() -> None:
    async def never(line: Line) -> None:
        pytest.fail("somebody connected")

    async with serve(never) as server:
        proxy = ProxySettings(http=server.url(), https=server.url())
        client = HttpClient(HttpSettings(public_only=True, proxy=proxy))
        request = HttpRequest(Endpoint("POST", "http://10.0.0.1/hook"), b"{}")
        with pytest.raises(ConnectFailed, match="not on the public Internet"):
            await client.send(request)
        await client.aclose()


async def test_a_proxy_looks_up_names_itself() -> None:
    async def answer(line: Line) -> None:
        await line.request()
        await line.send(chunked(b"done"))

    async with serve(answer) as server:
        client = HttpClient(HttpSettings(public_only=True, proxy=ProxySettings(http=server.url())))
        response = await client.send(
            HttpRequest(Endpoint("POST", "http://hooks.example/it"), b"{}")
        )
        assert await response.read() == b"done"
        await client.aclose()


def test_what_is_connected_to_is_what_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: Any, **__: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (a, 443)) for a in ("10.0.0.1", "93.184.215.14", "93.184.215.14")]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert asyncio.run(public_addresses("two-faced.example", 443)) == ["93.184.215.14"]
