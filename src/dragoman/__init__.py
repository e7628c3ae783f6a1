"""Dragoman: a self-hosted LLM completion server.

Nothing is imported here, so that `import dragoman` costs nothing; open `chat.py` first.
"""

__version__ = "0.1.0"
