"""The TLS context of outgoing connections: always verified, against the system's authorities."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi


def build_tls_context(ca_file: str | None) -> ssl.SSLContext:
    """A verifying context; `ca_file` adds authorities. Slow (tens of milliseconds): build it once."""
    context = ssl.create_default_context()
    if not _has_system_store():
        context.load_verify_locations(certifi.where())
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _has_system_store() -> bool:
    paths = ssl.get_default_verify_paths()
    # Both are None where the file or folder is missing, though the stubs say otherwise.
    if paths.cafile:
        return True
    return bool(paths.capath) and any(Path(paths.capath).iterdir())
