"""Keys as they rotate: found again without holding up a request."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dragoman.errors import ProviderRefusedUs
from dragoman.providers.credentials import HIDDEN, Credentials
from dragoman.records.provider import ProviderRow


def row_with(api_key: str | None, **changes: object) -> ProviderRow:
    return ProviderRow(
        name="one",
        wire="openai",
        base_url="http://h/v1",
        api_key=api_key,
        **changes,  # type: ignore[arg-type]
    )


class Vault:
    """Secrets by reference; `is_held` keeps a read from ending, as a slow disk would."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = {name.replace("_", ":", 1): value for name, value in secrets.items()}
        self.reads = 0
        self.may_read = threading.Event()
        self.may_read.set()

    def resolve(self, reference: str) -> str:
        self.may_read.wait(10)
        self.reads += 1
        try:
            return self.secrets[reference]
        except KeyError:
            raise LookupError(f"{reference} is missing") from None


async def test_file_is_read_again_behind_the_request() -> None:
    vault = Vault(file_key="first-secret")
    credentials = Credentials(row_with("file:key"), vault.resolve, reread_s=0)
    await credentials.ready()
    assert credentials.headers == (("authorization", "Bearer first-secret"),)
    vault.secrets["file:key"] = "second-secret"
    vault.may_read.clear()
    await credentials.ready()
    await credentials.ready()
    assert credentials.headers == (("authorization", "Bearer first-secret"),), "nobody waits for it"
    vault.may_read.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
    assert credentials.headers == (("authorization", "Bearer second-secret"),)
    assert vault.reads == 2, "one read at a time"
    await credentials.aclose()


async def test_unchanged_file_changes_nothing() -> None:
    vault = Vault(file_key="the-secret")
    credentials = Credentials(row_with("file:key"), vault.resolve)
    await credentials.ready()
    assert not await credentials.reread()
    assert credentials.version == 1


async def test_environment_is_read_once() -> None:
    vault = Vault(env_KEY="the-secret")
    credentials = Credentials(row_with("env:KEY"), vault.resolve, reread_s=0)
    for _ in range(5):
        await credentials.ready()
    assert not await credentials.reread()
    assert vault.reads == 1


async def test_secret_that_comes_later_is_found() -> None:
    vault = Vault()
    credentials = Credentials(row_with("file:key"), vault.resolve)
    with pytest.raises(ProviderRefusedUs) as caught:
        await credentials.ready()
    assert "file:key is missing" in (caught.value.detail or "")
    vault.secrets["file:key"] = "the-secret"
    await credentials.ready()
    assert credentials.headers == (("authorization", "Bearer the-secret"),)


async def test_key_in_plain_text_is_never_sent() -> None:
    """What is no reference is for the resolver to refuse, not for us to take as the key."""
    credentials = Credentials(row_with("sk-plain-secret"), Vault().resolve)
    with pytest.raises(ProviderRefusedUs):
        await credentials.ready()
    assert credentials.headers == ()


async def test_headers_and_query_may_refer_to_secrets() -> None:
    vault = Vault(env_TOKEN="a token", env_SIG="a&b=c")
    row = row_with(
        None,
        headers=(("X-Token", "env:TOKEN"), ("X-Plain", "as it is")),
        query=(("sig", "env:SIG"), ("api-version", "1")),
    )
    credentials = Credentials(row, vault.resolve)
    await credentials.ready()
    assert credentials.headers == (("X-Token", "a token"), ("X-Plain", "as it is"))
    assert credentials.query == "sig=a%26b%3Dc&api-version=1"


async def test_longest_secret_is_struck_out_first() -> None:
    vault = Vault(env_A="secret-one", env_B="secret-one-and-more")
    row = row_with("env:A", headers=(("X", "env:B"),))
    credentials = Credentials(row, vault.resolve)
    await credentials.ready()
    assert credentials.scrub("x secret-one-and-more y secret-one") == f"x {HIDDEN} y {HIDDEN}"
    assert "secret" not in repr(credentials)
