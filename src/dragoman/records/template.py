"""A prompt template: text with named gaps, in numbered versions of which one is active."""

from __future__ import annotations

from typing import NewType

import msgspec

from dragoman.records.project import ProjectId

TemplateId = NewType("TemplateId", str)
"""`tmpl_` and 20 lower-case letters and digits."""


class TemplateArgument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    """As in the text, dots and all: `customer.name`."""
    default: msgspec.Raw | None = None
    """JSON; `None`: the argument has to be given."""
    description: str | None = None


class TemplateVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Never changed once made."""

    version: int
    """Counted from 1."""
    text: str
    """`{{name}}` stands for an argument's value; nothing else in it means anything."""
    arguments: tuple[TemplateArgument, ...] = ()
    """One for each name in the text."""
    note: str | None = None
    created_s: float = 0.0


class Template(msgspec.Struct, frozen=True, kw_only=True):
    id: TemplateId
    project_id: ProjectId
    key: str
    """Unique in the project."""
    active_version: int
    versions: tuple[TemplateVersion, ...]
    """Ascending."""
    created_s: float = 0.0

    def version(self, number: int | None = None) -> TemplateVersion | None:
        """That version; the active one for `None`."""
        wanted = self.active_version if number is None else number
        for each in self.versions:
            if each.version == wanted:
                return each
        return None
