"""Callers without a key, of whom only those are served who name a public project."""

from __future__ import annotations

import msgspec

from dragoman.errors import Unauthenticated
from dragoman.policy.guests import GuestLimits
from dragoman.policy.projects import ProjectBook
from dragoman.records.principal import Principal
from dragoman.web.call import Call
from dragoman.web.door import Door

MAX_BODY_BYTES = 1024 * 1024
"""Of a request without a key, which is read before it is known who pays for it."""


class _Naming(msgspec.Struct):
    model: str | None = None


_decode = msgspec.json.Decoder(_Naming).decode


class Guests:
    """The door beside the `Door`."""

    def __init__(
        self,
        projects: ProjectBook,
        limits: GuestLimits,
        door: Door,
        *,
        max_body_bytes: int,
        body_timeout_s: float,
    ) -> None:
        self._projects = projects
        self._limits = limits
        self._door = door
        self._max_body_bytes = min(MAX_BODY_BYTES, max_body_bytes)
        self._body_timeout_s = body_timeout_s

    async def admit(self, call: Call) -> tuple[Principal, bytes]:
        """Whose request it is, and its body. Nothing is read as long as no project is public.

        Raises `Unauthenticated`, `RateLimited`, or `BodyTooLarge`.
        """
        projects = self._projects
        if projects.is_stale():
            await projects.refresh()
        if not projects.has_guests:
            raise Unauthenticated
        self._limits.admit(self._door.origin_of(call))
        body = await call.read_body(self._max_body_bytes, self._body_timeout_s)
        try:
            name = _decode(body).model
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Unauthenticated from None
        guest = None if name is None else projects.guest_of(name)
        if guest is None:
            raise Unauthenticated
        return guest, body
