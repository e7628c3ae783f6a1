"""Compiles statements anew: of the areas that are named, or every one."""

from __future__ import annotations

import sys

from dragoman.stores.statements.compilation import AREAS, write_compiled

write_compiled(sys.argv[1:] or AREAS)
