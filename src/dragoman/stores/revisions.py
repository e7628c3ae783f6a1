"""The schema's versions, oldest first: known without importing Alembic, to be compared at a start."""

from __future__ import annotations

REVISIONS = ("0001", "0002", "0003", "0004")
"""Appended to with each file in `migrations/versions`; a test compares the two.

A new version: change `schema`, add the file by hand after the last one's pattern, append its name
here, and run `python -m dragoman.stores.statements`.
"""

HEAD = REVISIONS[-1]
