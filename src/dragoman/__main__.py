"""The `dragoman` command, and `python -m dragoman`."""

from __future__ import annotations

from dragoman.cli.main import run


def main() -> None:
    run()


if __name__ == "__main__":
    main()
