"""What is asked of the tables of accounts, plans and members."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import accounts, balances, members, plans

_ACCOUNT_CHANGES = tuple(column.name for column in accounts.columns if column.name != "id")
_PLAN_CHANGES = tuple(column.name for column in plans.columns if column.name != "id")
_MEMBER_CHANGES = tuple(column.name for column in members.columns if column.name != "id")

_put_plan = sqlite.insert(plans)
_put_member = sqlite.insert(members)

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_ACCOUNTS": select(accounts).order_by(accounts.c.created_s, accounts.c.id),
    "ADD_ACCOUNT": insert(accounts),
    "ADD_BALANCE": insert(balances),
    "REPLACE_ACCOUNT": (
        update(accounts)
        .where(accounts.c.id == bindparam("account_id"))
        .values({name: bindparam(name) for name in _ACCOUNT_CHANGES})
    ),
    "LIST_PLANS": select(plans).order_by(plans.c.created_s, plans.c.id),
    "PUT_PLAN": _put_plan.on_conflict_do_update(
        index_elements=["id"], set_={name: _put_plan.excluded[name] for name in _PLAN_CHANGES}
    ),
    "DELETE_PLAN": delete(plans).where(plans.c.id == bindparam("plan_id")),
    "LIST_MEMBERS": (
        select(members)
        .where(members.c.account_id == bindparam("account_id"))
        .order_by(members.c.created_s, members.c.id)
    ),
    "PUT_MEMBER": _put_member.on_conflict_do_update(
        index_elements=["id"], set_={name: _put_member.excluded[name] for name in _MEMBER_CHANGES}
    ),
    "DELETE_MEMBER": delete(members).where(members.c.id == bindparam("member_id")),
}
