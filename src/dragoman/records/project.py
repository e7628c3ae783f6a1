"""A project: what an application asks for by one name, and its owners change behind that name."""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

from dragoman.chat import NO_SAMPLING, Sampling
from dragoman.records.account import AccountId, MemberId
from dragoman.records.limits import Limits

ProjectId = NewType("ProjectId", str)
"""`proj_` and 20 lower-case letters and digits."""

Right = Literal["view", "edit", "admin"]
"""`view`: read interactions and reports. `edit`: also models, templates, metrics and campaigns.
`admin`: also rights, content rules and the public switch."""


class AttachedTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool server's tools, or one of them, as a model of a project may use them."""

    id: str
    """A server's key (all of its tools), or `{server}/{tool}`."""
    enabled: bool = True
    """Unless the request switches it."""


class ToolBounds(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a request may go with server-side tools."""

    rounds: int = 5
    """Calls of the model, the last of which may call no tools."""
    total_s: float = 60.0
    """For all rounds together."""
    call_s: float = 20.0
    """For one call of one tool."""
    result_bytes: int = 32 * 1024
    """Of one result; a longer one is cut, and the model is told."""
    calls_per_round: int = 8


class AttachedModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model of a project, with what it is asked with there."""

    key: str
    """What follows the slash in `{project}/{model}`; unique in the project."""
    model: str
    """Id of the model that is asked; its own fallbacks hold."""
    sampling: Sampling = NO_SAMPLING
    """Where the client says nothing. Goes before the model's own defaults."""
    max_output_tokens: int | None = None
    """Where the client says nothing."""
    max_ttft_ms: int | None = None
    """The longest wait for a first token; a request may only shorten it."""
    template: str | None = None
    """Key of the project's template that makes the system prompt."""
    tools: tuple[AttachedTool, ...] = ()
    tool_bounds: ToolBounds = ToolBounds()


class RedactionRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is replaced in everything that is stored of a conversation."""

    kind: Literal["email", "phone", "card", "ip_address", "pattern"]
    pattern: str | None = None
    """Of the kind `pattern`: a regular expression in RE2's syntax."""
    replacement: str | None = None
    """Default: `[email]`, `[phone]`, …"""


class ContentRules(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of the words of conversations. Counts and times are kept always."""

    is_stored: bool = True
    """Off: as if every request said `store: false`."""
    redact: tuple[RedactionRule, ...] = ()
    keep_days: int | None = None
    """Words that are older are deleted. `None`: kept."""


class MemberRight(msgspec.Struct, frozen=True):
    """What a member of the project's account may do with the project, in place of what the role in the
    account gives."""

    member_id: MemberId
    right: Right


class Project(msgspec.Struct, frozen=True, kw_only=True):
    id: ProjectId
    key: str
    """How requests name it: lower-case letters, digits, `-` and `_`; no model's id or alias."""
    name: str
    account_id: AccountId
    """Only its keys may use the project; it pays for what is asked without a key."""
    models: tuple[AttachedModel, ...] = ()
    default_model: str | None = None
    """Key of the attached model that answers where none is named."""
    public: Limits | None = None
    """Served without a key, within these limits for everybody together. `None`: a key is needed."""
    content: ContentRules = ContentRules()
    rights: tuple[MemberRight, ...] = ()
    applied: msgspec.Raw | None = None
    """The definition of it in the settings file that was applied last, as JSON; `None`: it is not from
    the file. What differs from it was changed since, through the API."""
    created_s: float = 0.0
    archived_s: float | None = None
    """Since then it answers nothing; its interactions are kept, and its key stays taken."""

    def attached(self, key: str | None) -> AttachedModel | None:
        """The attached model of that key; the default one for `None`."""
        wanted = self.default_model if key is None else key
        for each in self.models:
            if each.key == wanted:
                return each
        return None
