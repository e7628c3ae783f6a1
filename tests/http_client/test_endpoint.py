from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.http_client import Endpoint, HttpRequest
from dragoman.http_client.endpoint import encode_headers


@pytest.mark.parametrize(
    ("url", "key", "start"),
    [
        ("http://h", "http://h:80", "POST / HTTP/1.1\r\nHost: h\r\n"),
        ("http://h:80/a", "http://h:80", "POST /a HTTP/1.1\r\nHost: h\r\n"),
        ("https://h:443/a", "https://h:443", "POST /a HTTP/1.1\r\nHost: h\r\n"),
        ("https://H.Example/a", "https://h.example:443", "POST /a HTTP/1.1\r\nHost: h.example\r\n"),
        ("http://h:443/", "http://h:443", "POST / HTTP/1.1\r\nHost: h:443\r\n"),
        ("http://h?a=1", "http://h:80", "POST /?a=1 HTTP/1.1\r\nHost: h\r\n"),
        ("http://[::1]:8/a", "http://[::1]:8", "POST /a HTTP/1.1\r\nHost: [::1]:8\r\n"),
        ("http://h/a#part", "http://h:80", "POST /a HTTP/1.1\r\nHost: h\r\n"),
    ],
)
def test_urls(url: str, key: str, start: str) -> None:
    endpoint = Endpoint("POST", url)
    assert endpoint.key == key
    assert endpoint.head.startswith(start.encode())


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/",
        "h/a",
        "http://",
        "http:///a",
        "http://h:99999/",
        "http://h:x/",
        "http://user:pw@h/",
        "http://h/a b",
        "http://h/\r\nX: y",
        "http://h\\@evil/",
        "http://exämple/",
        "http://h/ä",
    ],
)
def test_urls_that_cannot_be_sent_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|Port|netloc") as caught:
        Endpoint("POST", url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nY: b"),
        ("X", "a\nY: b"),
        ("X", "a\0b"),
        ("X\r\nY", "a"),
        ("X Y", "a"),
        ("X:", "a"),
        ("", "a"),
        ("X", "secret-\N{SNOWMAN}"),
        ("Content-Length", "5"),
        ("transfer-encoding", "chunked"),
        ("Host", "evil"),
    ],
)
def test_headers_that_could_break_out_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header") as caught:
        Endpoint("POST", "http://h/", [(name, value)])
    assert "secret" not in str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=40))
def test_no_header_is_ever_more_than_one_line(name: str, value: str) -> None:
    try:
        encoded = encode_headers([(name, value)])
    except ValueError:
        return
    assert encoded.endswith(b"\r\n")
    assert b"\r" not in encoded[:-2]
    assert b"\n" not in encoded[:-2]


@pytest.mark.parametrize("method", ["", "GET /x HTTP/1.1\r\nX", "GE T"])
def test_methods_are_tokens(method: str) -> None:
    with pytest.raises(ValueError, match="token"):
        Endpoint(method, "http://h/")


def test_no_secret_in_what_is_printed() -> None:
    endpoint = Endpoint("POST", "http://h/?key=hunter2", [("Authorization", "Bearer hunter2")])
    request = HttpRequest(endpoint, b"hunter2", headers=(("X", "hunter2"),))
    assert "hunter2" not in repr(endpoint) + repr(request) + str(request)
