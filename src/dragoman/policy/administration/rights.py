"""What a member of an account may do with one of its projects."""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.errors import InvalidRequest
from dragoman.policy.administration.project_wishes import RightWish
from dragoman.records.account import Member, Role
from dragoman.records.project import MemberRight, Project, Right

_BY_ROLE: dict[Role, Right] = {"owner": "admin", "developer": "edit", "viewer": "view"}
_ASCENDING: tuple[Right, ...] = ("view", "edit", "admin")


def right_of(project: Project, member: Member) -> Right | None:
    """What the role in the account gives, unless the project says otherwise; `None`: nothing at all."""
    if member.account_id != project.account_id:
        return None
    for each in project.rights:
        if each.member_id == member.id:
            return each.right
    return _BY_ROLE[member.role]


def may(project: Project, member: Member, wanted: Right) -> bool:
    """Whether the member's right is that one, or one that includes it."""
    right = right_of(project, member)
    return right is not None and _ASCENDING.index(right) >= _ASCENDING.index(wanted)


def find_member(name: str, members: Sequence[Member], param: str) -> Member:
    """The member of that id or e-mail address. Raises `InvalidRequest`."""
    wanted = name.strip().casefold()
    for member in members:
        if member.id == wanted or member.email.casefold() == wanted:
            return member
    raise InvalidRequest(
        f"{param}: {name[:80]!r} is no member of the project's account, neither by id nor by e-mail"
        " address; add the member to the account first",
        param=param,
    )


def rights_of(wishes: Sequence[RightWish], members: Sequence[Member]) -> tuple[MemberRight, ...]:
    """Raises `InvalidRequest` where one is no member, or named twice."""
    rights: list[MemberRight] = []
    for index, wish in enumerate(wishes):
        param = f"rights[{index}].member"
        member = find_member(wish.member, members, param)
        if any(right.member_id == member.id for right in rights):
            raise InvalidRequest(f"{param}: {member.email} is named twice", param=param)
        rights.append(MemberRight(member.id, wish.right))
    return tuple(rights)
