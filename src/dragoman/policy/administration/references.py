"""Secrets in settings of tool servers are referred to, never written down: `env:NAME` or `file:PATH`."""

from __future__ import annotations

import re

REMOTE_VARIABLE_PREFIX = "TOOL_"
"""Of the variables that the admin API may refer to: whoever administers may not read all that this machine
keeps secret, by having it sent to an address of their own."""

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\0\r\n]+", re.ASCII)
_SECRET_NAME = re.compile(
    r"(auth|authorization|cookie|credentials?|key|pass|passwd|password|pat|pwd|secret|session|signature|token)$",
    re.ASCII | re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"""(?: (bearer|basic|token|negotiate)\s+\S{8,}
        | (sk|pk|rk|ghp|gho|ghs|xox[abp]|glpat|hf|AKIA|AIza|eyJ|drg)[-_A-Za-z0-9]{16,}
        | [^:/@\s]+://[^/@\s]*:[^/@\s]+@.* )\s*""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def is_reference(value: str) -> bool:
    return _REFERENCE.fullmatch(value) is not None


def looks_secret(name: str, value: str) -> bool:
    """Whether a header or variable so named, or of this value, is likely to be a secret."""
    return _SECRET_NAME.search(name) is not None or _SECRET_VALUE.fullmatch(value) is not None


def is_open_to_remote(reference: str) -> bool:
    """Whether those who do not have this machine's shell may refer to it."""
    return reference.startswith(f"env:{REMOTE_VARIABLE_PREFIX}")
