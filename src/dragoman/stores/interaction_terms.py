"""What an interaction can be found by, as numbers of 64 bits.

A term is a hash of a field and its value. Two that collide cost a look at a row that does not match,
because every row is compared with the filter itself before it is shown.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from dragoman.records.interaction import Interaction
from dragoman.records.interaction_query import InteractionFilter
from dragoman.records.metric import MetricId
from dragoman.records.project import ProjectId


def _hashed(field: str, value: str, second: str = "") -> int:
    text = f"{field}\0{len(value)}\0{value}{second}"
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


# Of values that come again and again. Those of people and sessions are in no cache: they are as many as
# there are requests, and what is erased is to be gone.
_of_many = lru_cache(maxsize=4096)(_hashed)


def words_term(project_id: ProjectId) -> int:
    """Of interactions of the project that have their words still."""
    return _of_many("words", project_id)


def metric_term(metric_id: MetricId) -> int:
    """Of interactions that have feedback of the metric, or had some."""
    return _of_many("metric", metric_id)


def session_term(session_id: str) -> int:
    return _hashed("session", session_id)


def user_term(user: str) -> int:
    return _hashed("user", user)


def terms_of(interaction: Interaction) -> list[int]:
    """All but those of its feedback."""
    terms = [
        _of_many("account", interaction.account_id),
        _of_many("project", interaction.project_id),
        session_term(interaction.session_id),
    ]
    if interaction.content is not None:
        terms.append(words_term(interaction.project_id))
    if interaction.request_id is not None:
        terms.append(_hashed("request", interaction.request_id))
    if interaction.user is not None:
        terms.append(user_term(interaction.user))
    models = {interaction.model, interaction.attached}
    terms += [_of_many("model", model) for model in models if model is not None]
    if interaction.campaign_id is not None:
        terms.append(_of_many("campaign", interaction.campaign_id))
    # Nearly all have the other status and source: lists of those would serve nobody.
    if interaction.status != "ok":
        terms.append(_of_many("status", interaction.status))
    if interaction.source != "completion":
        terms.append(_of_many("source", interaction.source))
    for name, value in interaction.labels:
        terms += (_of_many("label name", name), _hashed("label", name, value))
    terms += [_of_many("tag", tag) for tag in interaction.tags]
    return terms


def terms_asked(asked: InteractionFilter) -> list[int]:
    """Those that every interaction of the filter has."""
    terms = [
        _hashed(field, value)
        for field, value in (
            ("account", asked.account_id),
            ("request", asked.request_id),
            ("session", asked.session_id),
            ("user", asked.user),
            ("model", asked.model),
            ("campaign", asked.campaign_id),
            ("metric", asked.metric),
        )
        if value is not None
    ]
    if asked.project_ids is not None and len(asked.project_ids) == 1:
        terms.append(_hashed("project", asked.project_ids[0]))
    if asked.status is not None and asked.status != "ok":
        terms.append(_hashed("status", asked.status))
    if asked.source is not None and asked.source != "completion":
        terms.append(_hashed("source", asked.source))
    for name, value in asked.labels:
        terms.append(
            _hashed("label name", name) if value is None else _hashed("label", name, value)
        )
    terms += [_hashed("tag", tag) for tag in asked.tags]
    return list(dict.fromkeys(terms))
