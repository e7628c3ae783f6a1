"""TLS with an authority of the test's own: verified, or not spoken at all."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from tests.http_client.raw_server import Line, chunked, serve, with_length

from dragoman.http_client import Endpoint, HttpClient, HttpRequest, HttpSettings, TlsFailed
from dragoman.http_client.tls import build_tls_context


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
async def trusting_client(ca_file: str) -> AsyncIterator[HttpClient]:
    client = HttpClient(HttpSettings(ca_file=ca_file))
    yield client
    await client.aclose()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def answer_all(line: Line) -> None:
    while True:
        _, body = await line.request()
        await line.send(chunked(b"got ", body))


async def test_verified_server_is_spoken_to_and_kept(
    trusting_client: HttpClient, authority: trustme.CA
) -> None:
    seen: list[str | None] = []
    context = server_context(authority, "localhost")
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    async with serve(answer_all, tls=context) as server:
        endpoint = Endpoint("POST", server.url(scheme="https", host="localhost"))
        for _ in range(3):
            response = await trusting_client.send(HttpRequest(endpoint, b"it"))
            assert await response.read() == b"got it"
        assert server.accepted == 1
    assert seen == ["localhost"]


async def test_large_bodies_pass_both_ways(
    trusting_client: HttpClient, authority: trustme.CA
) -> None:
    async with serve(answer_all, tls=server_context(authority, "127.0.0.1")) as server:
        endpoint = Endpoint("POST", server.url(scheme="https"))
        sent = bytes(range(256)) * 8000
        response = await trusting_client.send(HttpRequest(endpoint, sent))
        assert await response.read() == b"got " + sent


async def test_certificate_of_another_host_is_refused(
    trusting_client: HttpClient, authority: trustme.CA
) -> None:
    async with serve(answer_all, tls=server_context(authority, "other.example.com")) as server:
        endpoint = Endpoint("POST", server.url(scheme="https", host="localhost"))
        with pytest.raises(TlsFailed, match="certificate is refused"):
            await trusting_client.send(HttpRequest(endpoint, b"secret"))


async def test_unknown_authority_is_refused(client: HttpClient, authority: trustme.CA) -> None:
    async with serve(answer_all, tls=server_context(authority, "localhost")) as server:
        endpoint = Endpoint("POST", server.url(scheme="https", host="localhost"))
        with pytest.raises(TlsFailed, match="certificate is refused"):
            await client.send(HttpRequest(endpoint, b"secret"))


async def test_server_without_tls_is_refused(trusting_client: HttpClient) -> None:
    async def handle(line: Line) -> None:
        await line.send(with_length(b"plain"))
        await line.closed_by_client()

    async with serve(handle) as server:
        endpoint = Endpoint("POST", server.url(scheme="https"))
        with pytest.raises(TlsFailed):
            await trusting_client.send(HttpRequest(endpoint, b"secret"))
        await server.all_closed.wait()


def test_every_context_verifies(ca_file: str) -> None:
    for context in (build_tls_context(None), build_tls_context(ca_file)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
