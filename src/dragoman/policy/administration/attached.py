"""The models of a project: wishes for them checked against everything that they name, and told as wishes again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import msgspec

from dragoman.chat import Sampling
from dragoman.errors import Conflict, InvalidRequest
from dragoman.policy.administration.desk import Desk, text_checked
from dragoman.policy.administration.project_wishes import (
    AttachedModelWish,
    AttachedToolWish,
    SamplingWish,
    ToolBoundsWish,
)
from dragoman.records.project import AttachedModel, AttachedTool, ToolBounds
from dragoman.records.tool_server import ToolServer

Wanted = TypeVar("Wanted", bound=msgspec.Struct)

_TOOL_NAME_CHARS = 128


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What models of a project may name."""

    project: str
    """The project's key."""
    templates: Collection[str]
    """Keys."""
    tool_servers: Mapping[str, ToolServer]


def attached_models(
    desk: Desk, wishes: Sequence[AttachedModelWish], around: Surroundings
) -> tuple[AttachedModel, ...]:
    """Raises `InvalidRequest` or `Conflict`, naming the field of the wish at fault."""
    models: list[AttachedModel] = []
    for index, wish in enumerate(wishes):
        model = attached_model(desk, wish, around, f"models[{index}].")
        if any(other.key == model.key for other in models):
            raise InvalidRequest(
                f"models[{index}].key: {model.key!r} is attached twice; give one of them another key",
                param=f"models[{index}].key",
            )
        models.append(model)
    return tuple(models)


def attached_model(
    desk: Desk, wish: AttachedModelWish, around: Surroundings, path: str = ""
) -> AttachedModel:
    """`path` goes before the names of the wish's fields where they are told."""
    name = text_checked(wish.model, f"{path}model")
    key = name if wish.key is None else text_checked(wish.key, f"{path}key")
    _refuse_unreachable(desk, around.project, key, f"{path}key")
    return AttachedModel(
        key=key,
        model=desk.model(name, f"{path}model"),
        sampling=sampling_of(wish.sampling),
        max_output_tokens=wish.max_output_tokens,
        max_ttft_ms=wish.max_ttft_ms,
        template=_template(wish.template, around, f"{path}template"),
        tools=_tools(wish.tools, around.tool_servers, f"{path}tools"),
        tool_bounds=_same_fields(wish.tool_bounds, ToolBounds),
    )


def wish_for(model: AttachedModel) -> AttachedModelWish:
    """The wish that makes exactly this."""
    return AttachedModelWish(
        model=model.model,
        key=model.key,
        sampling=_same_fields(model.sampling, SamplingWish),
        max_output_tokens=model.max_output_tokens,
        max_ttft_ms=model.max_ttft_ms,
        template=model.template,
        tools=tuple(_same_fields(tool, AttachedToolWish) for tool in model.tools),
        tool_bounds=_same_fields(model.tool_bounds, ToolBoundsWish),
    )


def sampling_of(wish: SamplingWish) -> Sampling:
    return _same_fields(wish, Sampling)


def sampling_wish(sampling: Sampling) -> SamplingWish:
    return _same_fields(sampling, SamplingWish)


def _same_fields(value: msgspec.Struct, wanted: type[Wanted]) -> Wanted:
    """A record of a wish, or a wish of a record: what the one has and the other has not stays behind."""
    return msgspec.convert(value, wanted, from_attributes=True)


def _refuse_unreachable(desk: Desk, project: str, key: str, param: str) -> None:
    """A model's own name goes before `{project}/{model}`."""
    path = f"{project}/{key}"
    model = desk.model_named(path)
    if model is not None:
        raise Conflict(
            f"{param}: requests that name '{path}' mean the model '{model}', whose id or alias that is;"
            " choose another key",
            param=param,
        )


def _template(key: str | None, around: Surroundings, param: str) -> str | None:
    if key is None or key in around.templates:
        return key
    known = ", ".join(sorted(around.templates)[:20]) or "none yet"
    raise InvalidRequest(
        f"{param}: project '{around.project}' has no template '{key}'; it has {known}. Make the"
        " template first.",
        param=param,
    )


def _tools(
    wishes: Sequence[AttachedToolWish], servers: Mapping[str, ToolServer], param: str
) -> tuple[AttachedTool, ...]:
    tools: list[AttachedTool] = []
    for index, wish in enumerate(wishes):
        where = f"{param}[{index}].id"
        if any(other.id == wish.id for other in tools):
            raise InvalidRequest(f"{where}: {wish.id!r} is named twice", param=where)
        _check_tool(wish.id, servers, where)
        tools.append(AttachedTool(wish.id, wish.enabled))
    return tuple(tools)


def _check_tool(tool_id: str, servers: Mapping[str, ToolServer], param: str) -> None:
    key, slash, name = tool_id.partition("/")
    server = servers.get(key)
    if server is None:
        known = ", ".join(sorted(servers)[:20]) or "none yet"
        raise InvalidRequest(
            f"{param}: there is no tool server {key[:64]!r}; there are {known}."
            " Write SERVER for all of its tools, or SERVER/TOOL.",
            param=param,
        )
    if not slash:
        return
    if not name or len(name) > _TOOL_NAME_CHARS or not name.isprintable() or " " in name:
        raise InvalidRequest(
            f"{param}: {tool_id[:100]!r} names no tool; write SERVER/TOOL, or SERVER for all of them",
            param=param,
        )
    # What an MCP server has, only the server can tell, and it may change.
    if server.kind == "http" and all(tool.name != name for tool in server.tools):
        known = ", ".join(tool.name for tool in server.tools[:20])
        raise InvalidRequest(
            f"{param}: tool server '{key}' has no tool {name[:64]!r}; it has {known}", param=param
        )
