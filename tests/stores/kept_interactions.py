"""Interactions as they may be kept, for tests of what is asked about them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from dragoman.chat import NanoUSD, Usage
from dragoman.records.account import DEFAULT_ACCOUNT
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.key import KeyId
from dragoman.records.project import ProjectId

PROJECT = ProjectId("proj_a")


def completion_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def content(*texts: str, answer: str | None = "well") -> InteractionContent:
    """A conversation of users' messages."""
    messages = [{"role": "user", "content": text} for text in texts]
    completion = {"role": "assistant", "content": answer}
    return InteractionContent(
        messages=msgspec.Raw(msgspec.json.encode(messages)),
        completion=None if answer is None else msgspec.Raw(msgspec.json.encode(completion)),
    )


def sample(number: int, **changed: Any) -> Interaction:
    """The interaction of that number, made so many seconds after the epoch."""
    plain = Interaction(
        completion_id=completion_id(number),
        request_id=f"req_{number}",
        project_id=PROJECT,
        account_id=DEFAULT_ACCOUNT,
        key_id=KeyId("key_a"),
        created_s=float(number),
        session_id=f"session-{number}",
        attached="fast",
        model="m",
        usage=Usage(input_tokens=10 + number, output_tokens=number),
        cost_nano_usd=NanoUSD(5),
        first_token_ms=1.5,
        total_ms=20.0,
        finish_reason="stop",
    )
    return msgspec.structs.replace(plain, **changed)


def numbers(interactions: Sequence[Interaction]) -> list[int]:
    return [uuid.UUID(each.completion_id).int for each in interactions]
