"""How much is kept of what nobody waits for: refusals of one key, and when a key was used."""

from __future__ import annotations

from dragoman.records.key import KeyId

BURST = 100.0
PER_SECOND = 20.0
MOST_WAITING = 10_000
TOUCH_EVERY_S = 60.0
_MOST_KEYS = 50_000


class NoteBounds:
    """A bucket for each key: a client in a loop cannot fill the disk with refusals."""

    def __init__(self) -> None:
        self.dropped = 0
        self._buckets: dict[KeyId, tuple[float, float]] = {}
        self._touched_s: dict[KeyId, float] = {}

    def admits(self, key_id: KeyId, now_s: float, waiting: int) -> bool:
        level, at_s = self._buckets.get(key_id, (BURST, now_s))
        level = min(BURST, level + (now_s - at_s) * PER_SECOND)
        if level < 1 or waiting >= MOST_WAITING:
            self.dropped += 1
            return False
        if len(self._buckets) >= _MOST_KEYS:
            self._buckets.clear()
        self._buckets[key_id] = (level - 1, now_s)
        return True

    def is_touch_due(self, key_id: KeyId, at_s: float) -> bool:
        if at_s - self._touched_s.get(key_id, float("-inf")) < TOUCH_EVERY_S:
            return False
        if len(self._touched_s) >= _MOST_KEYS:
            self._touched_s.clear()
        self._touched_s[key_id] = at_s
        return True
