"""Interactions as rows, and back."""

from __future__ import annotations

import json

import msgspec

from dragoman.chat import NanoUSD
from dragoman.records.feedback import Feedback
from dragoman.records.interaction import Interaction, InteractionContent
from dragoman.records.tool_server import ToolCallRecord
from dragoman.stores.appending import Value
from dragoman.stores.database import Row
from dragoman.stores.json_column import labels_of, tags_of
from dragoman.stores.token_counts import token_counts, usage_of

_encode = msgspec.json.Encoder().encode
_ABSENT = msgspec.Raw()


class _KeptContent(msgspec.Struct, frozen=True):
    """`InteractionContent` as it can be read: JSON as it stands goes together with no other type."""

    messages: msgspec.Raw
    completion: msgspec.Raw = _ABSENT
    system_prompt: str | None = None
    arguments: msgspec.Raw = _ABSENT
    tools: msgspec.Raw = _ABSENT
    tool_calls: tuple[ToolCallRecord, ...] = ()


_content = msgspec.json.Decoder(_KeptContent)


def interaction_row(interaction: Interaction, sequence: int, position: int) -> tuple[Value, ...]:
    """In the order of the table's columns. Labels are a JSON object, tags a JSON array."""
    usage = interaction.usage
    return (
        sequence,
        position,
        interaction.completion_id,
        interaction.request_id,
        interaction.choice,
        interaction.source,
        interaction.project_id,
        interaction.account_id,
        interaction.key_id,
        interaction.created_s,
        interaction.session_id,
        interaction.user,
        interaction.attached,
        interaction.model,
        interaction.template_id,
        interaction.template_version,
        _encode(dict(interaction.labels)).decode() if interaction.labels else None,
        _encode(interaction.tags).decode() if interaction.tags else None,
        interaction.campaign_id,
        interaction.unit,
        interaction.arm,
        interaction.served_arm,
        interaction.entered_by,
        interaction.status,
        interaction.error,
        interaction.finish_reason,
        *token_counts(usage),
        usage.is_estimated,
        interaction.cost_nano_usd,
        interaction.first_token_ms,
        interaction.total_ms,
    )


def content_text(content: InteractionContent) -> str:
    """Raises `UnicodeError` for what no database can hold."""
    return _encode(content).decode()


def content_of(text: str) -> InteractionContent | None:
    """`None`: it cannot be read any more, and must not stand in the way of what can."""
    try:
        kept = _content.decode(text)
    except (msgspec.DecodeError, RecursionError):
        try:
            kept = _content.decode(_mended(text))
        except (ValueError, RecursionError, msgspec.DecodeError):
            return None
    return InteractionContent(
        messages=kept.messages,
        completion=kept.completion or None,
        system_prompt=kept.system_prompt,
        arguments=kept.arguments or None,
        tools=kept.tools or None,
        tool_calls=kept.tool_calls,
    )


def _mended(text: str) -> bytes:
    """Escaped lone surrogates, which stand for no character, are replaced."""
    return json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace")


def interaction_of(row: Row) -> Interaction:
    """From a whole row, in the order of the table's columns; without its words."""
    (completion_id, request_id, choice, source, project_id, account_id, key_id) = row[2:9]
    (created_s, session_id, user, attached, model, template_id, template_version) = row[9:16]
    (labels, tags, campaign_id, unit, arm, served_arm, entered_by) = row[16:23]
    (status, error, finish_reason) = row[23:26]
    (cost, first_token_ms, total_ms) = row[32:]
    return Interaction(
        completion_id=completion_id,
        request_id=request_id,
        choice=choice,
        source=source,
        project_id=project_id,
        account_id=account_id,
        key_id=key_id,
        created_s=created_s,
        session_id=session_id,
        user=user,
        attached=attached,
        model=model,
        template_id=template_id,
        template_version=template_version,
        labels=labels_of(labels),
        tags=tags_of(tags),
        campaign_id=campaign_id,
        unit=unit,
        arm=arm,
        served_arm=served_arm,
        entered_by=entered_by,
        status=status,
        error=error,
        finish_reason=finish_reason,
        usage=usage_of(row[26:32]),
        cost_nano_usd=NanoUSD(cost),
        first_token_ms=first_token_ms,
        total_ms=total_ms,
    )


def feedback_of(row: Row) -> Feedback:
    """From a whole row, in the order of the table's columns."""
    _, id_, project_id, completion_id, metric_id, value, reason, details, user, created_s = row
    return Feedback(
        id=id_,
        project_id=project_id,
        completion_id=completion_id,
        metric_id=metric_id,
        value=value,
        reason=reason,
        details=details,
        user=user,
        created_s=created_s,
    )
