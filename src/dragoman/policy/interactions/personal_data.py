"""Where in a text there are telephone numbers, payment cards and addresses of machines.

Each finder yields spans from left to right. Their expressions look around a match, which RE2 cannot; every
repetition in them is bounded, or runs to where its characters end, so that their time is linear all the same.
When it is late, whatever looks like one at first sight is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import islice

Span = tuple[int, int]
IsLate = Callable[[], bool]

_STRETCH = 32 * 1024
"""Characters searched between two looks at the time."""
_OVERLAP = 64
"""More than a telephone number has."""
_GROUPS_AT_ONCE = 256
_LOOKED_AT = 32
"""Candidates between two looks at the time."""
_ALIKE = {
    **dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f\u3000"), " "),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212\uff0d"), "-"),
    **{0xFF10 + digit: str(digit) for digit in range(10)},
    **dict(zip(map(ord, "\uff0b\uff08\uff09\uff0e\uff0f\uff1a"), "+()./:", strict=True)),
}
"""What people and their word processors write in place of ASCII: one character for one, so that places stay."""
_OTHER = re.compile(f"[{''.join(map(chr, _ALIKE))}]")

# Searches begin with a character that few texts are full of, and never look back for an end: that makes them
# fast on any text. A second look at what they find is exact.
_PHONE_LIKE = re.compile(r"[+(0-9][0-9 ./()\-]{6,}")
# What is left alone on purpose: days, moments, amounts.
_PHONE = re.compile(
    r"""
    (?<![\w.])(?:
        (?:\+|00)[1-9](?:[ ./()\-]{0,2}[0-9]){6,13}                # with a country's code (E.164)
      | \([0-9]{1,5}\)(?:[ ./\-]{0,2}[0-9]){5,10}                  # (555) 123-4567
      | (?![0-9]{1,2}[./\-][0-9]{1,2}[./\-][0-9]{4})               # 01.02.2026 is a day
        0[1-9](?:[ ./\-]?[0-9]){7,10}                              # with the prefix of a call within a country
      | (?:1[ .\-]?)?[2-9][0-9]{2}[ .\-]?[2-9][0-9]{2}[ .\-]?[0-9]{4}  # North America, without a prefix
    )(?![0-9])
    """,
    re.VERBOSE | re.ASCII,
)
_CARD_LIKE = re.compile(r"[0-9][0-9 \-]{12,}")
_DIGIT_GROUPS = re.compile(r"[0-9]+(?:[ \-][0-9]+)*")
_DIGIT_GROUP = re.compile(r"[0-9]+")
_IP_V4_LIKE = re.compile(r"[0-9][0-9.]{6,}")
_IP_V6_LIKE = re.compile(r":[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z]{1,16})?")
_HEX_AT_END = re.compile(r"[0-9A-Fa-f]{1,4}\Z")
_WORD = re.compile(r"\w", re.ASCII)
_DIGIT = re.compile("[0-9\uff10-\uff19]")

_MAX_ADDRESS_CHARS = 63
_CARD_DIGITS = range(13, 20)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
"""Twice a digit, and the sum of that number's digits."""


def has_digit(text: str) -> bool:
    """Whether the finders below can find anything."""
    return _DIGIT.search(text) is not None


def _in_ascii(text: str) -> str:
    """`text` with what only looks different from ASCII in ASCII, every character in its place."""
    return text if text.isascii() or _OTHER.search(text) is None else text.translate(_ALIKE)


def find_phones(text: str, is_late: IsLate) -> Iterator[Span]:
    text = _in_ascii(text)
    late = False
    for run in _PHONE_LIKE.finditer(text):
        at, end = run.span()
        while at < end:
            late = late or is_late()
            if late:
                yield at, end
                break
            stop = min(end, at + _STRETCH)
            following = end if stop == end else stop - _OVERLAP
            for match in _PHONE.finditer(text, at, stop):
                if match.end() > following:
                    # Perhaps cut short: searched again, with what follows.
                    following = match.start()
                    break
                yield match.span()
            at = following


def find_ip_v4(text: str, is_late: IsLate) -> Iterator[Span]:
    """`1.2.3.4.5` is no address, and `v1.2.3.4` is a version."""
    text = _in_ascii(text)
    late = False
    for count, run in enumerate(_IP_V4_LIKE.finditer(text)):
        late = late or (count % _LOOKED_AT == 0 and is_late())
        address = run[0].rstrip(".")
        start, end = run.start(), run.start() + len(address)
        if late or (not _is_amid_word(text, start, end) and _is_address(address, IPv4Address)):
            yield start, end


def find_ip_v6(text: str, is_late: IsLate) -> Iterator[Span]:
    text = _in_ascii(text)
    late = False
    for count, run in enumerate(_IP_V6_LIKE.finditer(text)):
        late = late or (count % _LOOKED_AT == 0 and is_late())
        ahead = _HEX_AT_END.search(text, max(0, run.start() - 4), run.start())
        start = run.start() if ahead is None else ahead.start()
        address = text[start : run.end()].rstrip(".")
        if address.endswith(":") and not address.endswith("::"):
            address = address[:-1]
        # `a::b` is a name in several programming languages; addresses without any digit are rare.
        if late or (
            not _is_amid_word(text, start, start + len(address))
            and has_digit(address)
            and _is_address(address, IPv6Address)
        ):
            yield start, start + len(address)


def _is_amid_word(text: str, start: int, end: int) -> bool:
    return _WORD.match(text, end) is not None or (
        start > 0 and (text[start - 1] == "." or _WORD.match(text, start - 1) is not None)
    )


def _is_address(text: str, kind: type[IPv4Address | IPv6Address]) -> bool:
    if len(text) > _MAX_ADDRESS_CHARS:
        return False
    try:
        kind(text)
    except ValueError:
        return False
    return True


def find_cards(text: str, is_late: IsLate) -> Iterator[Span]:
    """Numbers of payment cards: by length, first digits and check digit (ISO/IEC 7812-1), grouped by single
    blanks or hyphens, or not."""
    text = _in_ascii(text)
    for around in _CARD_LIKE.finditer(text):
        for run in _DIGIT_GROUPS.finditer(text, *around.span()):
            coming = _DIGIT_GROUP.finditer(text, *run.span())
            groups: list[Span] = []
            first = 0
            while True:
                if len(groups) - first < _CARD_DIGITS.stop:
                    groups = groups[first:]
                    first = 0
                    groups += [group.span() for group in islice(coming, _GROUPS_AT_ONCE)]
                    if not groups:
                        break
                    if is_late():
                        yield groups[0][0], run.end()
                        break
                last = _card_from(text, groups, first)
                if last is None:
                    first += 1
                else:
                    yield groups[first][0], groups[last][1]
                    first = last + 1


def _card_from(text: str, groups: list[Span], first: int) -> int | None:
    """The last group of the longest card number that begins with group `first`."""
    if text[groups[first][0]] not in "23456":
        return None
    found, length, digits = None, 0, ""
    for index in range(first, len(groups)):
        start, end = groups[index]
        length += end - start
        if length >= _CARD_DIGITS.stop:
            break
        digits += text[start:end]
        if length in _CARD_DIGITS and _is_card(digits):
            found = index
    return found


def _is_card(digits: str) -> bool:
    if digits[0] not in "3456" and not "2221" <= digits[:4] <= "2720":
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        total += _DOUBLED[int(digit)] if place % 2 else int(digit)
    return total % 10 == 0
