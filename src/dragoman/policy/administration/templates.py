"""Prompt templates: versions are added and never changed, and one of them is active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UnsetType

from dragoman.errors import Conflict, InvalidRequest, UnknownEntity
from dragoman.policy.administration.desk import Desk, checked, draw_id, named_of
from dragoman.policy.administration.project_wishes import (
    ArgumentWish,
    PreviewWish,
    TemplateVersionWish,
    TemplateWish,
)
from dragoman.policy.templates import arguments_of, missing_in, names_in, render
from dragoman.records.project import Project
from dragoman.records.template import Template, TemplateArgument, TemplateId, TemplateVersion

MAX_TEMPLATES = 256
MAX_VERSIONS = 1000
MAX_DEFAULT_BYTES = 65_536
_ID_PREFIX = "tmpl_"
_AS_TOLD_BY_RENDERING = "system_prompt_args"


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a text comes out as."""

    text: str
    """With what is missing as it stands in the template: `{{name}}`."""
    arguments: tuple[str, ...]
    """The names in the text."""
    missing: tuple[str, ...]
    """Those that have to be given and are not: a request would be refused."""


class TemplateAdministration:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list_all(self, project: str) -> list[Template]:
        """Raises `UnknownEntity`."""
        return self._desk.store.list_templates(self._desk.project(project).id)

    def find(self, project: str, template: str) -> Template:
        """By id or key. Raises `UnknownEntity`."""
        return self._found(self._desk.project(project), template)

    def find_version(self, project: str, template: str, version: int) -> TemplateVersion:
        """Raises `UnknownEntity`."""
        return _version(self.find(project, template), version)

    def create(self, project: str, wish: TemplateWish) -> tuple[Template, bool]:
        """The template with its first version, and whether it is new: the same wish again makes no second.

        Raises `UnknownEntity`, `InvalidRequest`, or `Conflict` where the key is taken.
        """
        wish = checked(wish)
        with self._desk.store.atomically():
            owner = self._desk.project(project, for_change=True)
            first = self._first_version(wish)
            templates = self._desk.store.list_templates(owner.id)
            for other in templates:
                if other.key != wish.key:
                    continue
                if len(other.versions) == 1 and _is_same(other.versions[0], first):
                    return other, False
                raise Conflict(
                    f"key: project '{owner.key}' has a template '{wish.key}' already; add a version to"
                    " it, or choose another key",
                    param="key",
                )
            return self._added(owner, wish.key, first, len(templates)), True

    def add_version(
        self, project: str, template: str, wish: TemplateVersionWish
    ) -> tuple[Template, TemplateVersion, bool]:
        """The template, its next version, and whether that is new: the newest one's text adds none.

        It is active from the next request on, unless the wish says otherwise. Raises `UnknownEntity` or
        `InvalidRequest`.
        """
        wish = checked(wish)
        with self._desk.store.atomically():
            owner = self._desk.project(project, for_change=True)
            kept = self._found(owner, template)
            newest = kept.versions[-1]
            version = self._version_of(wish, newest.version + 1)
            is_new = not _is_same(newest, version)
            if is_new:
                kept = self._with_version(owner, kept, version, is_active=wish.activate)
            else:
                version = newest
                if wish.activate:
                    kept = self._activated(owner, kept, version.version)
        return kept, version, is_new

    def activate(self, project: str, template: str, version: int) -> Template:
        """Let that version answer from the next request on. Raises `UnknownEntity`."""
        with self._desk.store.atomically():
            owner = self._desk.project(project, for_change=True)
            kept = self._found(owner, template)
            return self._activated(owner, kept, _version(kept, version).version)

    def roll_back(self, project: str, template: str) -> Template:
        """Activate the version before the active one. Raises `UnknownEntity`, or `Conflict` where that is
        the first."""
        with self._desk.store.atomically():
            owner = self._desk.project(project, for_change=True)
            kept = self._found(owner, template)
            earlier = [v.version for v in kept.versions if v.version < kept.active_version]
            if not earlier:
                raise Conflict(
                    f"template '{kept.key}' has no version before {kept.active_version}, which is active"
                )
            return self._activated(owner, kept, earlier[-1])

    def delete(self, project: str, template: str) -> None:
        """Raises `UnknownEntity`, or `Conflict` while a model of the project has it."""
        with self._desk.store.atomically():
            owner = self._desk.project(project, for_change=True)
            kept = self._found(owner, template)
            users = [repr(each.key) for each in owner.models if each.template == kept.key]
            if users:
                raise Conflict(
                    f"template '{kept.key}' makes the system prompt of {', '.join(users[:5])}; give"
                    " these models another template, or none, first"
                )
            self._desk.store.delete_template(kept.id)
            self._desk.note("template.delete", kept.id, {"project": owner.id, "key": kept.key})

    def preview(self, project: str, template: str | None, wish: PreviewWish) -> Preview:
        """What a version of the template, or the wish's own text, comes out as.

        Raises `UnknownEntity`, or `InvalidRequest` where an argument is no such thing.
        """
        wish = checked(wish)
        kept = None if template is None else self.find(project, template)
        if wish.text is not None:
            if wish.version is not None:
                raise InvalidRequest("text and version were both given; give one", param="text")
            # As the active version has them, so that an edited text is seen as it would be.
            declared = () if kept is None else _current(kept).arguments
            shown = TemplateVersion(version=0, text=wish.text, arguments=declared)
        elif kept is None:
            raise InvalidRequest("text is missing; it is what is shown", param="text")
        else:
            shown = _version(kept, wish.version) if wish.version is not None else _current(kept)
        return _preview(shown, wish.arguments)

    # --- Steps that definitions share ---

    def put(self, owner: Project, wish: TemplateWish) -> bool:
        """Make it so that the wish's text is active: the template, or its next version; whether anything
        changed. A version that has this text already is activated again."""
        kept = next(
            (t for t in self._desk.store.list_templates(owner.id) if t.key == wish.key), None
        )
        if kept is None:
            count = len(self._desk.store.list_templates(owner.id))
            self._added(owner, wish.key, self._first_version(wish), count)
            return True
        version = self._version_of(
            TemplateVersionWish(text=wish.text, arguments=wish.arguments, note=wish.note),
            kept.versions[-1].version + 1,
        )
        if _is_same(_current(kept), version):
            return False
        again = next((v for v in reversed(kept.versions) if _is_same(v, version)), None)
        if again is None:
            self._with_version(owner, kept, version, is_active=True)
        else:
            self._activated(owner, kept, again.version)
        return True

    # --- Steps ---

    def _found(self, project: Project, template: str) -> Template:
        templates = self._desk.store.list_templates(project.id)
        return named_of(project, templates, template, "template")

    def _first_version(self, wish: TemplateWish) -> TemplateVersion:
        return self._version_of(
            TemplateVersionWish(text=wish.text, arguments=wish.arguments, note=wish.note), 1
        )

    def _version_of(self, wish: TemplateVersionWish, number: int) -> TemplateVersion:
        """Raises `InvalidRequest`."""
        declared = [_argument(each, index) for index, each in enumerate(wish.arguments)]
        return TemplateVersion(
            version=number,
            text=wish.text,
            arguments=arguments_of(wish.text, declared),
            note=wish.note,
            created_s=self._desk.now_s(),
        )

    def _added(self, owner: Project, key: str, first: TemplateVersion, count: int) -> Template:
        if key.startswith(_ID_PREFIX):
            raise InvalidRequest(
                f"key: what begins with '{_ID_PREFIX}' is an id; choose another key", param="key"
            )
        if count >= MAX_TEMPLATES:
            raise Conflict(f"a project may have at most {MAX_TEMPLATES} templates")
        template = Template(
            id=TemplateId(draw_id(_ID_PREFIX)),
            project_id=owner.id,
            key=key,
            active_version=first.version,
            versions=(first,),
            created_s=first.created_s,
        )
        self._desk.store.add_template(template)
        self._note("template.create", owner, template, first)
        return template

    def _with_version(
        self, owner: Project, template: Template, version: TemplateVersion, *, is_active: bool
    ) -> Template:
        if len(template.versions) >= MAX_VERSIONS:
            raise Conflict(
                f"a template may have at most {MAX_VERSIONS} versions; make another template"
            )
        self._desk.store.add_template_version(template.id, version)
        active = template.active_version
        if is_active:
            active = version.version
            self._desk.store.activate_template(template.id, active)
        after = msgspec.structs.replace(
            template, versions=(*template.versions, version), active_version=active
        )
        self._note("template.add_version", owner, after, version)
        return after

    def _activated(self, owner: Project, template: Template, version: int) -> Template:
        if template.active_version == version:
            return template
        self._desk.store.activate_template(template.id, version)
        self._desk.note(
            "template.activate",
            template.id,
            {
                "project": owner.id,
                "key": template.key,
                "version": version,
                "before": template.active_version,
            },
        )
        return msgspec.structs.replace(template, active_version=version)

    def _note(
        self, action: str, owner: Project, template: Template, version: TemplateVersion
    ) -> None:
        """How much was written, and not what."""
        self._desk.note(
            action,
            template.id,
            {
                "project": owner.id,
                "key": template.key,
                "version": version.version,
                "is_active": version.version == template.active_version,
                "characters": len(version.text),
                "arguments": [argument.name for argument in version.arguments],
            },
        )


def argument_wishes(arguments: Sequence[TemplateArgument]) -> tuple[ArgumentWish, ...]:
    """The wishes that declare exactly these: of what has neither default nor description, none is needed."""
    wishes = []
    for each in arguments:
        if each.default is None and each.description is None:
            continue
        wish = ArgumentWish(name=each.name, description=each.description)
        if each.default is not None:
            wish = msgspec.structs.replace(wish, default=msgspec.json.decode(each.default))
        wishes.append(wish)
    return tuple(wishes)


def _argument(wish: ArgumentWish, index: int) -> TemplateArgument:
    default = None
    if not isinstance(wish.default, UnsetType):
        encoded = msgspec.json.encode(wish.default)
        if len(encoded) > MAX_DEFAULT_BYTES:
            param = f"arguments[{index}].default"
            raise InvalidRequest(
                f"{param} may have at most {MAX_DEFAULT_BYTES} bytes as JSON", param=param
            )
        default = msgspec.Raw(encoded)
    return TemplateArgument(name=wish.name, default=default, description=wish.description)


def _version(template: Template, number: int) -> TemplateVersion:
    version = template.version(number)
    if version is None:
        raise UnknownEntity(
            f"template '{template.key}' has no version {number}; its newest is"
            f" {template.versions[-1].version}",
            entity="template_version",
            param="version",
        )
    return version


def _current(template: Template) -> TemplateVersion:
    return _version(template, template.active_version)


def _is_same(one: TemplateVersion, other: TemplateVersion) -> bool:
    """Whether they say the same, whoever noted what when."""
    return one.text == other.text and one.arguments == other.arguments


def _preview(version: TemplateVersion, arguments: Mapping[str, Any]) -> Preview:
    given = msgspec.Raw(msgspec.json.encode(arguments))
    try:
        missing = missing_in(version, given)
        # Values are never looked at again, so a gap can stand for itself.
        gaps = {name: "{{" + name + "}}" for name in missing}
        text = render(version, msgspec.Raw(msgspec.json.encode({**arguments, **gaps})))
    except InvalidRequest as error:
        raise _in_words_of_preview(error) from None
    return Preview(text=text, arguments=names_in(version.text), missing=missing)


def _in_words_of_preview(error: InvalidRequest) -> InvalidRequest:
    """Rendering names the field that requests have."""
    param = (error.param or "arguments").replace(_AS_TOLD_BY_RENDERING, "arguments", 1)
    return InvalidRequest(error.message.replace(_AS_TOLD_BY_RENDERING, "arguments"), param=param)
