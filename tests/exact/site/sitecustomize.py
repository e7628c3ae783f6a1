"""Python imports this by itself where this folder is on its path: its server has the clocks of a file.

Every process of a server gets them, because each is a Python of its own. See `tests/exact/clocks.py`.
"""

from __future__ import annotations

import os

if path := os.environ.get("TEST_CLOCKS"):
    from tests.exact.clocks import Clocks

    Clocks.read(path).install()
