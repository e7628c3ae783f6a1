"""Whether the arms got the shares of units that they should have.

If they did not, something that depends on the arm adds or drops units (an arm that fails before anything is kept
of it, a client that retries elsewhere), and then their means cannot be compared, whatever the intervals say.

Two p-values of equal shares are made. The warning goes by the always-valid one, because the counts are looked at
every second of a campaign's life: Pearson's test at 0.001, looked at so often, would warn of several fair
campaigns in a hundred. Pearson's is shown beside it, because that is what other platforms show. The always-valid
one is that of M. Lindon and A. Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022: one
over the Bayes factor of a Dirichlet mixture against the shares that were meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, exp, inf, lgamma, log, pi, sqrt

import msgspec

LEVEL = 0.001
"""How many fair campaigns may be warned of, however long they run."""
PRIOR_UNITS = 100.0
"""The weight of the mixture about equal shares: it looks most sharply for one of two arms that has 5 of a hundred
units more or less than it should, and an arm that gets nothing is noticed within fifty."""


class SampleRatio(msgspec.Struct, frozen=True, kw_only=True):
    p: float
    """Always valid."""
    p_fixed: float
    """Of Pearson's test: valid for a single look, planned beforehand."""
    is_off: bool


def sample_ratio(counts: Sequence[int]) -> SampleRatio:
    """Of the units that entered each arm by the traffic split, which gives every arm the same share."""
    p = always_valid_p(counts)
    return SampleRatio(p=p, p_fixed=fixed_p(counts), is_off=p < LEVEL)


def always_valid_p(counts: Sequence[int]) -> float:
    arms = len(counts)
    total = sum(counts)
    if arms < 2 or not total:
        return 1.0
    each = PRIOR_UNITS / arms
    logarithm = lgamma(PRIOR_UNITS) - lgamma(PRIOR_UNITS + total) + total * log(arms)
    for count in counts:
        logarithm += lgamma(each + count)
    logarithm -= arms * lgamma(each)
    return 1.0 if logarithm <= 0 else exp(-logarithm)


def fixed_p(counts: Sequence[int]) -> float:
    total = sum(counts)
    if len(counts) < 2 or not total:
        return 1.0
    expected = total / len(counts)
    return chi_square_survival(
        sum((count - expected) ** 2 for count in counts) / expected, len(counts) - 1
    )


def chi_square_survival(statistic: float, degrees: int) -> float:
    """The chance of a greater one: Q(degrees/2, statistic/2), by its recurrence over whole degrees
    (Abramowitz and Stegun, 26.4.4 and 26.4.5)."""
    half = statistic / 2
    if half <= 0:
        return 1.0
    if half == inf:
        return 0.0
    if degrees % 2:
        order, found = 0.5, erfc(sqrt(half))
        term = sqrt(half / pi) * 2 * exp(-half)
    else:
        order, found = 1.0, exp(-half)
        term = half * exp(-half)
    while order < degrees / 2:
        found += term
        order += 1
        term *= half / order
    return min(found, 1.0)
