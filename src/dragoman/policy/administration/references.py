"""Secrets in settings of tool servers are referred to, never written down: `env:NAME` or `file:PATH`."""

from __future__ import annotations

import re

REMOTE_VARIABLE_PREFIX = "TOOL_"
"""Of the variables that the admin API may refer to: whoever administers may not read all that this machine
keeps secret, by having it sent to an address of their own."""

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\0\r\n]+", re.ASCII)
_SECRET_NAME = re.compile(
    r"""(?: (?: ^ | [-_.] ) (?: auth | key | pass | pat | session | signature )
        | (?: access | api | private ) key
        | authorization | cookie | credentials? | passwd | password | pwd | secret | token )$""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
# What follows a scheme of authorization, what issuers let their secrets begin with, an address with a password.
_SECRET_VALUE = re.compile(
    r"""(?: (?i: bearer | basic | token | negotiate ) \s+ \S{8,}
        | (?: sk- | sk_ | pk_ | rk_ | gh[opsu]_ | github_pat_ | glpat- | xox[abp]- | hf_ | drg_
            | AKIA | AIza | eyJ ) [-_.A-Za-z0-9]{16,}
        | [^:/@\s]+ :// [^/@\s]* : [^/@\s]+ @ .* ) \s*""",
    re.ASCII | re.VERBOSE,
)


def is_reference(value: str) -> bool:
    return _REFERENCE.fullmatch(value) is not None


def looks_secret(name: str, value: str) -> bool:
    """Whether a header or variable so named, or of this value, is likely to be a secret."""
    return _SECRET_NAME.search(name) is not None or _SECRET_VALUE.fullmatch(value) is not None


def is_open_to_remote(reference: str) -> bool:
    """Whether those who do not have this machine's shell may refer to it."""
    return reference.startswith(f"env:{REMOTE_VARIABLE_PREFIX}")
