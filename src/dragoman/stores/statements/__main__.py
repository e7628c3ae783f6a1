"""Compiles every statement anew."""

from __future__ import annotations

from dragoman.stores.statements.compilation import write_compiled

write_compiled()
