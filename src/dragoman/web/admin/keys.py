"""`/admin/v1/keys`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.params import JSONBody, QueryParameter

from dragoman.errors import InvalidRequest
from dragoman.policy.administration import KeyChange, KeyWish, RotationWish
from dragoman.web.admin.parameters import Cursor, ForActor, Id, IdempotencyKey, Limit, before, made
from dragoman.web.admin.views import KeyMadeView, KeyView, Page, key_made_view, key_view, slice_of


class Keys(Controller):
    path = "/keys"
    tags = ("keys",)

    @get(sync_to_thread=True, summary="Keys, oldest first")
    def list_keys(
        self,
        administration: ForActor,
        account_id: Annotated[str | None, QueryParameter(description="Of this account.")] = None,
        kind: Annotated[
            Literal["client", "admin"] | None, QueryParameter(description="Of this kind.")
        ] = None,
        revoked: Annotated[bool, QueryParameter(description="Revoked ones too.")] = False,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Page[KeyView]:
        return slice_of(
            administration.keys.list_all(account_id, kind=kind, with_revoked=True),
            key_view,
            start=before(cursor),
            limit=limit,
            is_wanted=lambda key: revoked or key.revoked_s is None,
        )

    @post(sync_to_thread=True, summary="Make a key, and be shown its secret")
    def create_key(
        self,
        administration: ForActor,
        data: JSONBody[KeyWish],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[KeyMadeView]:
        token = _token(data.creation_token, idempotency_key)
        key = administration.keys.create(msgspec.structs.replace(data, creation_token=token))
        return made(key_made_view(key), is_new=key.is_new)

    @get("/{key_id:str}", sync_to_thread=True, summary="A key")
    def show_key(self, administration: ForActor, key_id: Id) -> KeyView:
        return key_view(administration.keys.find(key_id))

    @patch("/{key_id:str}", sync_to_thread=True, summary="Change a key")
    def change_key(
        self, administration: ForActor, key_id: Id, data: JSONBody[KeyChange]
    ) -> KeyView:
        return key_view(administration.keys.change(key_id, data))

    @post(
        "/{key_id:str}/rotate",
        sync_to_thread=True,
        summary="Replace a key; the old one works until the grace is over",
    )
    def rotate_key(
        self,
        administration: ForActor,
        key_id: Id,
        data: JSONBody[RotationWish],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[KeyMadeView]:
        token = _token(data.creation_token, idempotency_key)
        key = administration.keys.rotate(
            key_id, msgspec.structs.replace(data, creation_token=token)
        )
        return made(key_made_view(key), is_new=key.is_new)

    @delete(
        "/{key_id:str}",
        sync_to_thread=True,
        status_code=200,
        summary="Revoke a key, from its next request on and for good",
    )
    def revoke_key(self, administration: ForActor, key_id: Id) -> KeyView:
        return key_view(administration.keys.revoke(key_id))


def _token(in_body: str | None, in_header: str | None) -> str | None:
    """Either place will do. Raises `InvalidRequest` where they differ."""
    if in_body is not None and in_header is not None and in_body != in_header:
        raise InvalidRequest(
            "creation_token and the header Idempotency-Key differ; send one of them",
            param="creation_token",
        )
    return in_body if in_header is None else in_header
