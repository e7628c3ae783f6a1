"""Which arm of a campaign a unit meets: a pure function of the campaign's id and the unit.

So nothing is kept to find a unit's arm again, and every process, today and after a restart, finds the same.
One keyed hash gives two independent uniform numbers. The first decides, against the traffic split, whether the
unit enters; a split that grows only lets more units in. The second picks the arm, whatever the split is. The
key is the campaign's id, so that one campaign's arms say nothing about another's.
"""

from __future__ import annotations

from hashlib import blake2b

from dragoman.records.campaign import Arm, Campaign

LONGEST_ID = 200
"""Of a user or a session in a unit's name; of a longer one its hash stands there."""
_MASK = (1 << 64) - 1
# A double holds 53 bits: so many make a number that is certainly below 1.
_DROPPED_BITS = 64 - 53
_STEP = 2.0**-53


def unit_of(session_id: str | None, user: str | None, request_id: str) -> str:
    """What is assigned to an arm as a whole: the client's session, else its user, else this one request.

    A session id that the server made up is no session of the client's: give `None`.
    """
    if session_id is not None:
        return f"session:{_bounded(session_id)}"
    if user is not None:
        return f"user:{_bounded(user)}"
    return f"request:{request_id}"


def _bounded(identity: str) -> str:
    if len(identity) <= LONGEST_ID:
        return identity
    digest = blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=20)
    return f"blake2b-{digest.hexdigest()}"


def assign(campaign: Campaign, unit: str) -> str | None:
    """The key of the arm that the unit enters by the traffic split; `None`: it does not enter."""
    entry, choice = _draw(campaign, unit)
    if (entry >> _DROPPED_BITS) * _STEP >= campaign.traffic_split:
        return None
    arms = campaign.arms
    return arms[choice * len(arms) >> 64].key


def arm_for(campaign: Campaign, unit: str, model: str | None = None) -> str | None:
    """The key of the unit's arm, whatever the traffic split is; with `model`, of one of the arms that have it.

    It is the arm of the split wherever that has the model. `None`: no arm has.
    """
    arms = campaign.arms
    scaled = _draw(campaign, unit)[1] * len(arms)
    arm = arms[scaled >> 64]
    if model is None or arm.model == model:
        return arm.key
    having: list[Arm] = [each for each in arms if each.model == model]
    if not having:
        return None
    # What is left of the number, below the arm's place, is uniform whichever arm that was.
    return having[(scaled & _MASK) * len(having) >> 64].key


def _draw(campaign: Campaign, unit: str) -> tuple[int, int]:
    """Two independent numbers of 64 bits."""
    digest = blake2b(
        unit.encode("utf-8", "surrogatepass"), digest_size=16, key=campaign.id.encode()
    ).digest()
    return int.from_bytes(digest[:8]), int.from_bytes(digest[8:])
