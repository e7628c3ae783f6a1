"""Intervals and p-values that hold however often one looks, and whenever one stops because of what one saw.

The method is the asymptotic confidence sequence of I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and
A. Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52(6),
2024 (arXiv 2103.06476), Theorem 2.2, with Robbins' normal mixture. After t observations with the mean m and the
standard deviation s,

    m ± s · sqrt( (tρ² + 1) / (t²ρ²) · log( (tρ² + 1) / α² ) )

misses the true mean at any t at all with a probability of at most α, as the first look comes late. The same
boundary solved for α is a p-value that may be looked at, and stopped by, at any time:

    p = sqrt(tρ² + 1) · exp( -z²/2 · tρ² / (tρ² + 1) ),   z = m / (s / sqrt(t))

ρ² decides where the boundary is tightest (near t = 9/ρ² for α = 0.05), and is fixed before the first score.

The difference of two arms' means enters by its standard error, and t is the number of scores that two arms of
the same size would have for it: 4·n₁·n₂ / (n₁ + n₂).

What "asymptotic" leaves open is the beginning, where a sample's own variance may be far too small: nothing but
equal scores so far, or the rare dear request not yet seen. So variances are never taken smaller than they would
be if nothing differed. For two arms that is the variance of all scores together, about their common mean; for
preferences the mean of their squares, about nought. Sums that are divided by that are self-normalised: as long as
nothing differs, the boundary holds at small samples, too, and for any distribution (V. H. de la Peña, "A general
class of exponential inequalities for martingales and ratios", Annals of Probability 27(1), 1999; exactly so for
preferences, nearly for arms, whose common mean is not known beforehand). Where something differs, intervals come
out a little too wide: by an eighth for a difference of a whole standard deviation. Proportions are taken as if
each outcome had been seen once more (A. Agresti and B. Caffo, The American Statistician 54(4), 2000), so that
thirty times no error is not taken for no error ever.

What is left: an arm with rare, huge scores beside one without. Its mean is too low until the first of them comes,
whatever its variance is taken for; more scores before the first look (`min_scores`) help.
"""

from __future__ import annotations

from math import exp, inf, isfinite, log, sqrt

import msgspec

from dragoman.records.campaign import Sums

LEAST_ALPHA = 1e-300


class Estimate(msgspec.Struct, frozen=True):
    """`low` and `high` are `None` where the scores tell nothing yet: of fewer than two, or all of them equal, or
    too large to reckon with."""

    value: float
    low: float | None
    high: float | None
    p: float
    """That nought is the truth."""


def mean_of(scores: Sums, alpha: float, mixture_variance: float, *, is_bool: bool) -> Estimate:
    """One arm's mean. Its p-value is about a mean of nought, which only signed scores make sense of."""
    n = scores.n
    if n < 2:
        return Estimate(scores.mean, None, None, 1.0)
    variance = _proportion_variance(scores) if is_bool else scores.variance
    found = _estimate(scores.mean, variance / n, n * mixture_variance, alpha)
    return _within(found, 0.0, 1.0) if is_bool else found


def difference(
    first: Sums, second: Sums, alpha: float, mixture_variance: float, *, is_bool: bool
) -> Estimate:
    """The mean of `first` less that of `second`: independent scores, each of another unit."""
    n1, n2 = first.n, second.n
    if n1 < 2 or n2 < 2:
        return Estimate(first.mean - second.mean, None, None, 1.0)
    apart = first.mean - second.mean
    total = n1 + n2
    if is_bool:
        successes = n1 * first.mean + n2 * second.mean
        share = (successes + 2) / (total + 4)
        common = share * (1 - share)
        own = _proportion_variance(first) / n1 + _proportion_variance(second) / n2
    else:
        common = (first.m2 + second.m2 + apart * apart * n1 * n2 / total) / (total - 1)
        own = first.m2 / (n1 - 1) / n1 + second.m2 / (n2 - 1) / n2
    undiffering = common * total / (n1 * n2)
    time = 4 * n1 * n2 / total * mixture_variance
    found = _estimate(apart, own if own > undiffering else undiffering, time, alpha)
    return _within(found, -1.0, 1.0) if is_bool else found


def preference(
    wins: int, losses: int, ties: int, alpha: float, mixture_variance: float
) -> Estimate:
    """The mean of scores of 1, -1 and 0."""
    n = wins + losses + ties
    if n < 2:
        return Estimate(float(wins - losses), None, None, 1.0)
    square = (wins + losses + 2) / (n + 2)
    found = _estimate((wins - losses) / n, square / n, n * mixture_variance, alpha)
    return _within(found, -1.0, 1.0)


def _proportion_variance(scores: Sums) -> float:
    share = (scores.n * scores.mean + 1) / (scores.n + 2)
    return share * (1 - share)


def _estimate(value: float, error_squared: float, time: float, alpha: float) -> Estimate:
    """`error_squared`: the variance of `value`. `time`: tρ²."""
    if not (0 < error_squared < inf and 0 < time < inf and isfinite(value)):
        return Estimate(value if isfinite(value) else 0.0, None, None, 1.0)
    ahead = time + 1
    half = sqrt(
        error_squared
        * ahead
        / time
        * (log(ahead) - 2 * log(alpha if alpha > LEAST_ALPHA else LEAST_ALPHA))
    )
    distance = value / sqrt(error_squared)
    p = sqrt(ahead) * exp(-0.5 * distance * distance * time / ahead)
    if half == inf:
        return Estimate(value, None, None, 1.0)
    return Estimate(value, value - half, value + half, p if p < 1.0 else 1.0)


def _within(found: Estimate, least: float, most: float) -> Estimate:
    if found.low is None or found.high is None or (found.low >= least and found.high <= most):
        return found
    low, high = (min(max(bound, least), most) for bound in (found.low, found.high))
    return Estimate(found.value, low, high, found.p)
