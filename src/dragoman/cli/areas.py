"""Groups of commands that are imported when one of them is meant: help, and every other command, need
not wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer.main
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click.core import Command, Context

AREAS = {
    "models": "List the configured models, and install the packaged one.",
    "keys": "Make, change, replace and revoke the keys that clients and administrators call with.",
    "accounts": "Make and change accounts: who pays for requests, and how much they may.",
    "plans": "List, set and delete plans: how much, and which models, an account may use.",
    "credits": "Show balances, and top up, refund or adjust them.",
    "prices": "List and set what models cost, in US dollars for a million tokens.",
    "usage": "List, sum and export what was asked and what it cost.",
    "projects": "Make and change projects: what applications ask for by one name.",
    "templates": "Write, activate and roll back the prompt templates of projects.",
    "metrics": "List and make what a project's completions are judged by.",
    "campaigns": "Compare models and prompts of a project on its users, and read what came of it.",
    "interactions": "List, search, export, import and delete what was asked of projects.",
    "tools": "Set up and test the servers whose tools models of projects may use.",
    "ledger": "List the entries of the ledger, and verify every balance against them.",
    "audit": "List who changed accounts, keys, plans, prices and money.",
    "config": "Show the settings that hold, and apply the file's projects and tool servers.",
}
"""By the name of their group: what is said of them. Each is the `NAME_app` of its module."""

_MODULES = {"config": "configuration"}


class _Area(TyperGroup):
    """Stands for a group in lists of commands."""

    def loaded(self) -> TyperGroup:
        assert self.name is not None
        module = import_module(f"dragoman.cli.{_MODULES.get(self.name, self.name)}")
        group = typer.main.get_group(getattr(module, f"{self.name}_app"))
        group.name = self.name
        return group


class Areas(TyperGroup):
    """The top of the tree: its own commands, and every area."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, text in AREAS.items():
            self.commands[name] = _Area(name=name, help=text)

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.loaded() if isinstance(command, _Area) else command, rest
