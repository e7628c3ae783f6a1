"""What makes an arm of a campaign the default of its project."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dragoman.records.campaign import Arm
from dragoman.records.project import Project
from dragoman.records.template import Template


def obstacle_to(project: Project | None, arm: Arm, templates: Sequence[Template]) -> str | None:
    """Why it cannot be; `None`: it can."""
    if project is None or project.archived_s is not None:
        return "the project is archived"
    attached = project.attached(arm.model)
    if attached is None:
        return f"the project has no model '{arm.model}' any more"
    if arm.template_version is None:
        return None
    template = next((each for each in templates if each.key == attached.template), None)
    if template is None or template.version(arm.template_version) is None:
        return (
            f"the model '{arm.model}' has no version {arm.template_version} of a template any more"
        )
    return None


def with_arm(project: Project, arm: Arm) -> Project:
    """The project with the arm's model as its default, asked with the arm's sampling.

    The model is changed for those, too, who name it.
    """
    return msgspec.structs.replace(
        project,
        default_model=arm.model,
        models=tuple(
            msgspec.structs.replace(each, sampling=arm.sampling.over(each.sampling))
            if each.key == arm.model
            else each
            for each in project.models
        ),
    )
