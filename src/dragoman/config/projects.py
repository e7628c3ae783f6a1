"""Projects and tool servers as the file has them: texts read, and names checked against each other.

What only the store can tell (whether an account exists, who is its member) is found out when they are
applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from dragoman.config.check import suggest
from dragoman.config.models import place_reference
from dragoman.config.paths import absolute_path
from dragoman.config.settings import (
    MAX_TEMPLATE_CHARS,
    ConfigError,
    ProjectSection,
    TemplateSection,
)
from dragoman.errors import InvalidRequest
from dragoman.policy.administration.project_wishes import (
    ArgumentWish,
    AttachedModelWish,
    HttpToolWish,
    ProjectDefinition,
    TemplateWish,
    ToolServerWish,
)
from dragoman.policy.administration.projects import public_limits
from dragoman.policy.administration.tool_servers import check_tool_server
from dragoman.policy.interactions.redaction import check_rule
from dragoman.policy.templates import arguments_of
from dragoman.records.metric import BUILT_IN_METRICS
from dragoman.records.project import RedactionRule
from dragoman.records.template import TemplateArgument

_BUILT_IN = frozenset(metric.key for metric in BUILT_IN_METRICS)


def read_projects(
    sections: tuple[ProjectSection, ...],
    servers: tuple[ToolServerWish, ...],
    model_names: Mapping[str, str],
    base: Path,
) -> tuple[ProjectDefinition, ...]:
    """The definitions that `sections` are; raises `ConfigError`.

    `model_names`: every id and alias, and which setting it is. Relative paths are taken from `base`.
    """
    keys: dict[str, str] = {}
    projects = []
    for index, section in enumerate(sections):
        path = f"projects[{index}]"
        taken = model_names.get(section.key)
        if taken is not None:
            raise ConfigError(
                f"{path}.key is {section.key!r}, which {taken} is already: a request could mean"
                " either; give the project another key"
            )
        _note_name(keys, section.key, f"{path}.key")
        _check_project(section, path, servers, model_names)
        projects.append(_definition(section, path, base))
    return tuple(projects)


def read_tool_servers(wishes: tuple[ToolServerWish, ...], base: Path) -> tuple[ToolServerWish, ...]:
    """`wishes`, with paths of secrets absolute; raises `ConfigError`."""
    keys: dict[str, str] = {}
    servers = []
    for index, wish in enumerate(wishes):
        path = f"tool_servers[{index}]"
        _note_name(keys, wish.key, f"{path}.key")
        placed = msgspec.structs.replace(
            wish,
            environment=_placed(wish.environment, base),
            headers=_placed(wish.headers, base),
            tools=tuple(
                _plain_tool(tool, f"{path}.tools[{t}]") for t, tool in enumerate(wish.tools)
            ),
        )
        try:
            check_tool_server(placed)
        except InvalidRequest as error:
            raise ConfigError(f"{path}.{error.message}") from None
        servers.append(placed)
    return tuple(servers)


def _note_name(names: dict[str, str], name: str, where: str) -> None:
    """Raise `ConfigError` where `name` is in `names`; else put it there."""
    if name in names:
        raise ConfigError(
            f"{where} is {name[:60]!r}, which {names[name]} is already; give it another"
        )
    names[name] = where


# --- Projects -----------------------------------------------------------------------------------


def _check_project(
    section: ProjectSection,
    path: str,
    servers: tuple[ToolServerWish, ...],
    model_names: Mapping[str, str],
) -> None:
    templates: dict[str, str] = {}
    for i, template in enumerate(section.templates):
        _note_name(templates, template.key, f"{path}.templates[{i}].key")
    attached: dict[str, str] = {}
    for i, model in enumerate(section.models):
        where = f"{path}.models[{i}]"
        _require(model.model, model_names, f"{where}.model", "model")
        _note_name(attached, model.key or model.model, f"{where}.{'key' if model.key else 'model'}")
        reached = f"{section.key}/{model.key or model.model}"
        if reached in model_names:
            raise ConfigError(
                f"{where}: requests that name {reached[:80]!r} would mean"
                f" {model_names[reached]}; give it another key"
            )
        if model.template is not None:
            _require(model.template, templates, f"{where}.template", "template of the project")
        _check_tools(model, where, servers)
    if section.default_model is not None:
        _require(section.default_model, attached, f"{path}.default_model", "model of the project")
    metrics: dict[str, str] = {}
    for i, metric in enumerate(section.metrics):
        where = f"{path}.metrics[{i}].key"
        if metric.key in _BUILT_IN:
            raise ConfigError(
                f"{where} is {metric.key!r}, which is measured of every completion; "
                "give it another key, or remove it"
            )
        _note_name(metrics, metric.key, where)
    _check_rules(section, path)
    members: dict[str, str] = {}
    for i, right in enumerate(section.rights):
        _note_name(members, right.member.casefold(), f"{path}.rights[{i}].member")


def _check_rules(section: ProjectSection, path: str) -> None:
    try:
        public_limits(section.public)
        for i, rule in enumerate(section.content.redact):
            # Expressions themselves are checked when they are applied: what reads them is slow to load.
            if rule.kind != "pattern" or not rule.pattern:
                check_rule(
                    RedactionRule(kind=rule.kind, pattern=rule.pattern), f"content.redact[{i}]"
                )
    except InvalidRequest as error:
        raise ConfigError(f"{path}.{error.message}") from None


def _require(name: str, known: Iterable[str], where: str, kind: str) -> None:
    if name not in known:
        raise ConfigError(f"{where} is {name[:60]!r}, which is no {kind}; {suggest(name, known)}")


def _check_tools(model: AttachedModelWish, path: str, servers: tuple[ToolServerWish, ...]) -> None:
    by_key = {server.key: server for server in servers}
    ids: dict[str, str] = {}
    for i, tool in enumerate(model.tools):
        where = f"{path}.tools[{i}].id"
        _note_name(ids, tool.id, where)
        key, slash, _ = tool.id.partition("/")
        server = by_key.get(key)
        if server is None:
            raise ConfigError(
                f"{where} is {tool.id[:60]!r}, and there is no tool server {key[:60]!r} in the file; "
                f"{suggest(key, by_key)}"
            )
        if slash and server.kind == "http":
            known = [f"{key}/{each.name}" for each in server.tools]
            _require(tool.id, known, where, f"tool of {key}")


def _definition(section: ProjectSection, path: str, base: Path) -> ProjectDefinition:
    return ProjectDefinition(
        key=section.key,
        name=section.name,
        account_id=section.account_id,
        models=section.models,
        default_model=section.default_model,
        public=section.public,
        content=section.content,
        rights=section.rights,
        templates=tuple(
            _template(template, f"{path}.templates[{i}]", base)
            for i, template in enumerate(section.templates)
        ),
        metrics=section.metrics,
    )


def _template(section: TemplateSection, path: str, base: Path) -> TemplateWish:
    text = section.text
    if section.text_file is not None:
        if text is not None:
            raise ConfigError(f"{path} has text and text_file; remove one of both")
        text = _read_text(section.text_file, f"{path}.text_file", base)
    if text is None:
        raise ConfigError(f"{path}.text is missing; add it, or text_file")
    arguments = tuple(
        _plain_argument(argument, f"{path}.arguments[{i}]")
        for i, argument in enumerate(section.arguments)
    )
    try:
        # With some default where there is one: null, which is refused, cannot be written in TOML.
        arguments_of(text, [TemplateArgument(name=argument.name) for argument in arguments])
    except InvalidRequest as error:
        raise ConfigError(f"{path}.{error.message}") from None
    return TemplateWish(key=section.key, text=text, arguments=arguments, note=section.note)


def _read_text(name: str, where: str, base: Path) -> str:
    if "\0" in name:
        raise ConfigError(f"{where} is {name[:60]!r}; use the path of a file")
    path = absolute_path(name, base)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEMPLATE_CHARS * 4 + 1)
        text = content.decode()
    except OSError as error:
        raise ConfigError(f"{where}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: {path} is not text in UTF-8, or is too long") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not 1 <= len(text) <= MAX_TEMPLATE_CHARS:
        raise ConfigError(f"{where}: {path} must have 1 to {MAX_TEMPLATE_CHARS} characters")
    return text


# --- Tool servers -------------------------------------------------------------------------------


def _placed(pairs: dict[str, str], base: Path) -> dict[str, str]:
    return {name: place_reference(value, base) for name, value in pairs.items()}


# --- Values of any type -------------------------------------------------------------------------


def _plain_argument(argument: ArgumentWish, path: str) -> ArgumentWish:
    if argument.default is msgspec.UNSET:
        return argument
    return msgspec.structs.replace(
        argument, default=_plain_json(argument.default, f"{path}.default")
    )


def _plain_tool(tool: HttpToolWish, path: str) -> HttpToolWish:
    return msgspec.structs.replace(
        tool, parameters=_plain_json(tool.parameters, f"{path}.parameters")
    )


def _plain_json(value: Any, where: str) -> Any:
    """`value` as JSON has it: TOML also has days and times, and we read its numbers as decimals."""
    match value:
        case Decimal():
            if not value.is_finite():
                raise ConfigError(f"{where} is {value}, which JSON cannot say; use a number")
            return float(value)
        case datetime() | date() | time():
            raise ConfigError(f'{where} is a day or time; write it as text: "{value}"')
        case list():
            return [_plain_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
        case dict():
            return {key: _plain_json(item, f"{where}.{key}") for key, item in value.items()}
        case _:
            return value
