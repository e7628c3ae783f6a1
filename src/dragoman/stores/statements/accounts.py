"""What is asked of the tables of accounts, plans and members."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.sql import ClauseElement

from dragoman.stores.schema import accounts, balances, members, plans
from dragoman.stores.statements.upserts import names_beside_key, put_row

STATEMENTS: Mapping[str, ClauseElement] = {
    "LIST_ACCOUNTS": select(accounts).order_by(accounts.c.created_s, accounts.c.id),
    "ADD_ACCOUNT": insert(accounts),
    "ADD_BALANCE": insert(balances),
    "REPLACE_ACCOUNT": (
        update(accounts)
        .where(accounts.c.id == bindparam("account_id"))
        .values({name: bindparam(name) for name in names_beside_key(accounts)})
    ),
    "LIST_PLANS": select(plans).order_by(plans.c.created_s, plans.c.id),
    "PUT_PLAN": put_row(plans),
    "DELETE_PLAN": delete(plans).where(plans.c.id == bindparam("plan_id")),
    "LIST_MEMBERS": (
        select(members)
        .where(members.c.account_id == bindparam("account_id"))
        .order_by(members.c.created_s, members.c.id)
    ),
    "PUT_MEMBER": put_row(members),
    "DELETE_MEMBER": delete(members).where(members.c.id == bindparam("member_id")),
}
