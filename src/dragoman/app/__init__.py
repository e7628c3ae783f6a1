"""Wiring: the only package that knows every other."""

from dragoman.app.serving import DIALECTS, serve

__all__ = ["DIALECTS", "serve"]
