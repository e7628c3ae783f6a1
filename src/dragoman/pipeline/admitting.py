"""Admission: who answers a request, and whether it may be asked at all. Costs nothing, and asks nobody.

A name is a model's id or alias first, and only then a project's (`{project}` or `{project}/{model}`). A key that
is bound to a project goes there where the request names nothing. Requests that name a model pay nothing for
projects: not even whether one has changed is looked at.
"""

from __future__ import annotations

import msgspec

from dragoman.chat import NO_CONTEXT, ChatRequest
from dragoman.errors import Forbidden, InvalidRequest, UnknownEntity
from dragoman.pipeline.plan import Plan
from dragoman.pipeline.tab import Tab
from dragoman.pipeline.tool_rounds import equip, fit_results, refuse_tools, with_functions
from dragoman.policy.interactions.keeping import Conversation
from dragoman.policy.projects import ProjectBook, Route
from dragoman.policy.routing import ModelDirectory, targets
from dragoman.policy.templates import render
from dragoman.ports import ToolBox
from dragoman.records.model import Model
from dragoman.records.principal import Principal

MAX_NAMED_MODELS = 20
ARGUMENTS_FIELD = "system_prompt_args"


class Admitter:
    """Holds no state of any request."""

    def __init__(
        self,
        directory: ModelDirectory,
        projects: ProjectBook | None,
        tools: ToolBox | None = None,
        *,
        max_choices: int,
    ) -> None:
        """`projects` and `tools` are `None` where there are none."""
        self._directory = directory
        self._projects = projects
        self._tools = tools
        self._max_choices = max_choices

    async def admit(self, request: ChatRequest, tab: Tab) -> Plan:
        """Find the targets and apply the rules that depend on them.

        Raises `InvalidRequest`, `UnsupportedField`, `UnknownEntity` or `Forbidden`.
        """
        tab.request = request
        if request.choices > self._max_choices:
            raise InvalidRequest(f"n must be at most {self._max_choices} on this server", param="n")
        name, principal = request.target, tab.principal
        model = None
        if name is not None or principal.project is None:
            model = self._directory.resolve(name)
        if model is None:
            plan = await self._admit_to_project(request, tab)
            if plan is not None:
                return plan
            model = self._directory.resolve(name)
            if model is None:
                raise self._unknown_model(name, principal)
        if request.context.campaign is not None:
            raise UnknownEntity(
                f"campaign '{request.context.campaign[:100]}' does not exist: '{model.id}' is a model,"
                " and only projects have campaigns",
                entity="ab_campaign",
                param="ab_campaign",
            )
        if request.context.use_tools or request.context.tool_switches:
            refuse_tools(request.context, model)
        candidates = self._candidates(model, principal)
        request = tab.request = tab.dialect.bind_target(request, "model")
        able = targets(request, candidates)
        return Plan(
            request=request,
            targets=tuple(able),
            max_ttft_ms=_shorter(request.context.max_ttft_ms, able[0].max_ttft_ms),
        )

    async def _admit_to_project(self, request: ChatRequest, tab: Tab) -> Plan | None:
        """`None`: the request names no project that there is."""
        book = self._projects
        if book is None:
            return None
        if book.is_stale():
            await book.refresh()
        route = book.route(request, tab.principal, tab.arrival.request_id)
        if route is None:
            return None
        tab.project = route.project.key
        if request.extensions:
            request = _with_arguments(request)
        candidates = self._candidates(route.model, tab.principal)
        # The dialect comes last: what it would fill in, the project has filled in already.
        request = tab.dialect.bind_target(_with_defaults(request, route), "project")
        tab.request = request
        tab.conversation = Conversation(route, request)
        most_ms = _shorter(request.context.max_ttft_ms, route.attached.max_ttft_ms)
        kit = None
        asked = request
        if request.context is not NO_CONTEXT:
            left_s = None if most_ms is None else (most_ms - tab.since_arrival_ms()) / 1000
            kit = await equip(self._tools, request, route.attached, left_s)
        if kit is not None:
            asked = with_functions(request, kit)
            tab.conversation.hidden_calls = frozenset(tool.function.name for tool in kit.tools)
        able = targets(asked, candidates)
        return Plan(
            kit=None if kit is None else fit_results(kit, asked, able),
            request=request,
            targets=tuple(able),
            max_ttft_ms=_shorter(most_ms, able[0].max_ttft_ms),
        )

    def _candidates(self, model: Model, principal: Principal) -> tuple[Model, ...]:
        candidates = self._directory.candidates(model)
        allowed = principal.models
        if allowed is None:
            return candidates
        if model.id not in allowed:
            raise Forbidden(f"This key may not use the model '{model.id}'.", param="model")
        return tuple([each for each in candidates if each.id in allowed])

    def _unknown_model(self, name: str | None, principal: Principal) -> UnknownEntity:
        known = self._directory.names()
        allowed = principal.models
        if allowed is not None:
            ids = {each: self._directory.resolve(each) for each in known}
            known = [each for each, model in ids.items() if model and model.id in allowed]
        if self._projects is not None:
            known += [project.key for project, _ in self._projects.usable(principal)]
        listed = ", ".join(f"'{name}'" for name in known[:MAX_NAMED_MODELS])
        more = ", …" if len(known) > MAX_NAMED_MODELS else ""
        if name is None:
            message = f"the default model is not set up; models are {listed}{more}"
        else:
            shown = name if len(name) <= 100 else name[:100] + "…"
            message = f"model '{shown}' does not exist; there are {listed}{more}"
        return UnknownEntity(message, entity="model", param="model")


def _shorter(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


def _with_arguments(request: ChatRequest) -> ChatRequest:
    """With the prompt's arguments, which a client of a dialect that has no field for them may send all the same."""
    for extension in request.extensions:
        name, value = extension
        if name == ARGUMENTS_FIELD and request.context.system_prompt_args is None:
            others = tuple([each for each in request.extensions if each is not extension])
            context = msgspec.structs.replace(
                request.context, system_prompt_args=None if bytes(value) == b"null" else value
            )
            return msgspec.structs.replace(request, context=context, extensions=others)
    return request


def _with_defaults(request: ChatRequest, route: Route) -> ChatRequest:
    """With the project's prompt, and its defaults for what the client left open, in place of the dialect's."""
    prompt = None
    if route.version is not None:
        prompt = render(route.version, request.context.system_prompt_args) or None
    most = request.max_output_tokens
    if route.attached.max_output_tokens is not None and (
        most is None or request.is_default_maximum
    ):
        most = route.attached.max_output_tokens
    return msgspec.structs.replace(
        request,
        system_prompt=prompt,
        default_sampling=route.sampling,
        max_output_tokens=most,
    )
