"""Requests through a forward proxy, for which the test runs a small real one."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import suppress

import pytest
import trustme
from tests.http_client.raw_server import Line, RawServer, serve, with_length

from dragoman.http_client import (
    Endpoint,
    HttpClient,
    HttpRequest,
    HttpSettings,
    ProxyFailed,
    ProxySettings,
    TimedOut,
    TlsFailed,
)
from dragoman.records.provider import Timeouts

OK = with_length(b"fine")


class Proxy:
    """Sends every tunnel to one server, whatever name it is asked for; answers plain requests itself."""

    def __init__(self, target: RawServer | None = None, *, status: str = "200 OK") -> None:
        self.heads: list[str] = []
        self._target = target
        self._status = status

    async def handle(self, line: Line) -> None:
        while True:
            head = (await line.reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if head.startswith("CONNECT "):
                await line.send(f"HTTP/1.1 {self._status}\r\nVia: test\r\n\r\n".encode())
                if self._target is not None and self._status.startswith("200"):
                    await self._tunnel(line, self._target.port)
                return
            await line.send(OK)

    async def _tunnel(self, line: Line, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_pipe(line.reader, writer), _pipe(reader, line.writer))
        finally:
            writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def through(proxy: RawServer, *, ca_file: str | None = None, user: str = "") -> HttpClient:
    url = f"http://{user}127.0.0.1:{proxy.port}"
    return HttpClient(HttpSettings(ca_file=ca_file, proxy=ProxySettings(http=url, https=url)))


async def test_plain_request_is_forwarded_in_absolute_form() -> None:
    proxy = Proxy()
    async with serve(proxy.handle) as listener:
        client = through(listener, user="me:p%40ss@")
        endpoint = Endpoint("GET", "http://api.example.com:8080/v1/models?a=b")
        for _ in range(2):
            assert await (await client.send(HttpRequest(endpoint))).read() == b"fine"
        await client.aclose()
        assert listener.accepted == 1
    credentials = base64.b64encode(b"me:p@ss").decode()
    assert proxy.heads[0].startswith("GET http://api.example.com:8080/v1/models?a=b HTTP/1.1\r\n")
    assert "\r\nHost: api.example.com:8080\r\n" in proxy.heads[0]
    assert f"\r\nProxy-Authorization: Basic {credentials}\r\n" in proxy.heads[0]


async def test_tls_goes_through_a_tunnel_and_is_verified_end_to_end() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.example.com").configure_cert(context)
    heads: list[str] = []

    async def handle(line: Line) -> None:
        while True:
            heads.append((await line.request())[0])
            await line.send(OK)

    with authority.cert_pem.tempfile() as ca_file:
        async with serve(handle, tls=context) as target:
            proxy = Proxy(target)
            async with serve(proxy.handle) as listener:
                client = through(listener, ca_file=ca_file, user="me:secret@")
                endpoint = Endpoint("POST", "https://api.example.com/x", [("X-Api-Key", "k")])
                for _ in range(2):
                    assert await (await client.send(HttpRequest(endpoint))).read() == b"fine"
                wrong = Endpoint("POST", "https://other.example.com/x")
                with pytest.raises(TlsFailed):
                    await client.send(HttpRequest(wrong))
                await client.aclose()
                await listener.all_closed.wait()
    assert len([head for head in proxy.heads if "api.example.com" in head]) == 1
    assert proxy.heads[0].startswith("CONNECT api.example.com:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic " in proxy.heads[0]
    assert "X-Api-Key" not in proxy.heads[0], "the proxy sees no header of the request"
    assert heads[0].startswith("POST /x HTTP/1.1\r\nHost: api.example.com\r\n")
    assert "Proxy-Authorization" not in heads[0]


@pytest.mark.parametrize(
    ("status", "words"),
    [("403 Forbidden", "status 403"), ("407 Auth", "wants a user"), ("what", "as a proxy does")],
)
async def test_refusal_of_the_proxy_is_named(status: str, words: str) -> None:
    async with serve(Proxy(status=status).handle) as listener:
        client = through(listener, user="me:hunter2@")
        with pytest.raises(ProxyFailed, match=words) as caught:
            await client.send(HttpRequest(Endpoint("POST", "https://api.example.com/")))
        assert "hunter2" not in str(caught.value)
        await listener.all_closed.wait()
        await client.aclose()


async def test_silent_proxy_is_bounded_by_the_time_to_connect() -> None:
    async with serve(Line.closed_by_client) as listener:
        client = through(listener)
        request = HttpRequest(
            Endpoint("POST", "https://api.example.com/"), timeouts=Timeouts(connect_s=0.05)
        )
        with pytest.raises(TimedOut):
            await client.send(request)
        await listener.all_closed.wait()
        await client.aclose()


async def test_missing_proxy_is_named() -> None:
    client = HttpClient(HttpSettings(proxy=ProxySettings(http="http://127.0.0.1:9")))
    with pytest.raises(ProxyFailed, match=r"127\.0\.0\.1:9"):
        await client.send(HttpRequest(Endpoint("POST", "http://api.example.com/")))
    await client.aclose()
