from __future__ import annotations

import pytest

from dragoman.http_client.settings import ProxySettings, choose_proxy, parse_proxy


@pytest.mark.parametrize(
    ("entry", "host", "port", "is_exempt"),
    [
        ("*", "api.example.com", 443, True),
        ("example.com", "example.com", 443, True),
        ("example.com", "api.example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        (".example.com", "api.example.com", 443, True),
        ("*.example.com", "api.example.com", 443, True),
        (" Example.COM ", "api.example.com", 443, True),
        ("example.com:8443", "api.example.com", 8443, True),
        ("example.com:8443", "api.example.com", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:80", "10.1.2.3", 443, False),
        ("fd00::/8", "fd00::1", 443, True),
        ("[fd00::1]:443", "fd00::1", 443, True),
        ("", "api.example.com", 443, False),
        ("not a network/99", "10.1.2.3", 443, False),
    ],
)
def test_exemptions(entry: str, host: str, port: int, is_exempt: bool) -> None:
    settings = ProxySettings(https="http://proxy:3128", no_proxy=(entry,))
    chosen = choose_proxy(settings, is_tls=True, host=host, port=port)
    assert (chosen is None) is is_exempt


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_never_sent_through_a_proxy(host: str) -> None:
    settings = ProxySettings(http="http://proxy:3128")
    assert choose_proxy(settings, is_tls=False, host=host, port=80) is None


def test_each_scheme_has_its_own_proxy() -> None:
    settings = ProxySettings(http="http://one:1", https="http://two:2")
    plain = choose_proxy(settings, is_tls=False, host="h", port=80)
    secured = choose_proxy(settings, is_tls=True, host="h", port=443)
    assert plain is not None
    assert secured is not None
    assert (plain.host, plain.port, secured.host, secured.port) == ("one", 1, "two", 2)
    assert choose_proxy(ProxySettings(), is_tls=True, host="h", port=443) is None


def test_proxy_without_a_scheme_is_understood() -> None:
    assert parse_proxy("proxy.local:3128").port == 3128


@pytest.mark.parametrize("url", ["socks5://u:pw@h:1", "https://u:pw@h", "http://", "http://h:x"])
def test_proxies_that_cannot_be_used_are_refused_without_their_secret(url: str) -> None:
    with pytest.raises(ValueError, match="prox") as caught:
        parse_proxy(url)
    assert "pw" not in str(caught.value)


def test_no_secret_in_what_is_printed() -> None:
    settings = ProxySettings(http="http://me:hunter2@proxy:1")
    proxy = parse_proxy("http://me:hunter2@proxy:1")
    assert "hunter2" not in repr(settings) + repr(proxy)
    assert "bWU6" not in repr(proxy)
