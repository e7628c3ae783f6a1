"""A provider's key and secret headers: resolved from references, and found again when they rotate.

The hot path does no I/O. References to files are looked at again in a thread, at most once a second
and only while requests come; the request that notices it is due goes out with what is known. A secret
that cannot be read any more (a file between two steps of a rotation) leaves the last one in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import quote, quote_plus

from dragoman.errors import ProviderRefusedUs
from dragoman.records.provider import ProviderRow, UpstreamWire

ResolveSecret = Callable[[str], str]
"""Returns what a reference (`env:NAME`, `file:PATH`) refers to; raises `LookupError`, whose message
names the reference and never its content."""

REREAD_S = 1.0
HIDDEN = "[secret]"
# Shorter values are no secrets that a text could be searched for.
MIN_HIDDEN_CHARS = 6

_OWN_AUTH_HEADER: Mapping[UpstreamWire, str] = {"openai": "authorization", "anthropic": "x-api-key"}


class Credentials:
    """`headers` and `query` are what is sent; `version` changes whenever they do."""

    def __init__(
        self, row: ProviderRow, resolve: ResolveSecret, *, reread_s: float = REREAD_S
    ) -> None:
        self.headers: tuple[tuple[str, str], ...] = ()
        self.query = ""
        self.version = 0
        self._row = row
        self._resolve = resolve
        self._reread_s = reread_s
        self._secrets: tuple[str, ...] = ()
        self._checked_s = 0.0
        self._rereading: asyncio.Task[bool] | None = None
        references = [row.api_key or "", *(v for _, v in row.headers), *(v for _, v in row.query)]
        self._has_files = any(reference.startswith("file:") for reference in references)

    def __repr__(self) -> str:
        return f"Credentials({self._row.name!r})"

    async def ready(self) -> None:
        """Make sure that there is something to send. Raises `ProviderRefusedUs`."""
        if self.version == 0:
            await self._read_first()
        elif self._has_files:
            now = asyncio.get_running_loop().time()
            if now - self._checked_s >= self._reread_s and self._rereading is None:
                self._checked_s = now
                self._rereading = asyncio.create_task(self._reread_in_background())

    async def reread(self) -> bool:
        """Whether reading the references again gave anything else: after the provider's 401."""
        if not self._has_files:
            return False  # the environment of a process does not change
        try:
            return self._take(await asyncio.to_thread(self._read))
        except LookupError:
            return False

    def scrub(self, text: str) -> str:
        """`text` without our secrets: providers repeat them in what they answer."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    async def aclose(self) -> None:
        if self._rereading is not None:
            self._rereading.cancel()
            await asyncio.gather(self._rereading, return_exceptions=True)

    async def _read_first(self) -> None:
        try:
            found = await asyncio.to_thread(self._read) if self._has_files else self._read()
        except LookupError as error:
            raise ProviderRefusedUs(detail=f"provider {self._row.name}: {error}") from error
        self._take(found)
        self._checked_s = asyncio.get_running_loop().time()

    async def _reread_in_background(self) -> bool:
        try:
            return await self.reread()
        finally:
            self._rereading = None

    def _read(self) -> dict[str, str]:
        """Every reference of the row, with what it refers to now."""
        row = self._row
        references = {value for _, value in (*row.headers, *row.query) if is_reference(value)}
        if row.api_key is not None:
            references.add(row.api_key)
        return {reference: self._resolve(reference) for reference in references}

    def _take(self, found: Mapping[str, str]) -> bool:
        """Use what was found; whether it differs from what was in use."""
        row = self._row
        headers = [(name, found.get(value, value)) for name, value in row.headers]
        if row.api_key is not None:
            key = found[row.api_key]
            name = row.auth_header or _OWN_AUTH_HEADER[row.wire]
            headers.append((name, f"Bearer {key}" if name == "authorization" else key))
        query = "&".join(
            f"{quote(name, safe='')}={quote_plus(found.get(value, value))}"
            for name, value in row.query
        )
        taken = (tuple(headers), query)
        if self.version and taken == (self.headers, self.query):
            return False
        self.headers, self.query = taken
        self._secrets = tuple(
            sorted((s for s in found.values() if len(s) >= MIN_HIDDEN_CHARS), key=len, reverse=True)
        )
        self.version += 1
        return True


def is_reference(value: str) -> bool:
    """Whether `value` refers to a secret rather than being a plain value."""
    return value.startswith(("env:", "file:"))
