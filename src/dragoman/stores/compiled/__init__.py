"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""
