"""Every statement, in SQLAlchemy Core: one module an area, each with its `STATEMENTS`.

`python -m dragoman.stores.statements` compiles them into `stores/compiled`, one module an area too.
After a change, run it; a test compares the two. A new area begins with an empty file in `compiled`.
"""
