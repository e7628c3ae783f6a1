"""Stop strings that a target does not take are applied here, on the way out.

The text of each choice is held back only as far as it may still become a stop string. A choice that
is stopped finishes at once; what the provider goes on to produce for it is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.chat import (
    Failed,
    Finished,
    PartDelta,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
    Text,
    Usage,
)


class _Scan:
    """One choice: the text held back, which stop string ended it, and whether it has finished."""

    __slots__ = ("held", "in_text", "is_finished", "stopped_by")

    def __init__(self) -> None:
        self.held = ""
        self.in_text = False
        self.is_finished = False
        self.stopped_by: str | None = None


class StopScanner:
    """Feeds events through, ending each choice's text before the first of `stops`.

    A stopped choice's `Finished` waits for the provider's own, which may carry the usage. When every
    choice was stopped or has finished, `is_done` turns true: the generation may be ended, and
    `close` gives the last events.
    """

    __slots__ = ("_choices", "_longest", "_scans", "_stops", "is_done")

    def __init__(self, stops: Sequence[str], choices: int) -> None:
        self._stops = tuple(stops)
        self._longest = max(len(stop) for stop in stops)
        self._choices = choices
        self._scans: dict[int, _Scan] = {}
        self.is_done = False

    def feed(self, events: Sequence[StreamEvent]) -> list[StreamEvent]:
        out: list[StreamEvent] = []
        for event in events:
            if isinstance(event, Failed):
                out.append(event)
            else:
                self._feed_choice(event, out)
        return out

    def close(self, usage: Usage) -> list[StreamEvent]:
        """What finishes the choices that were stopped here; `usage` goes on the last."""
        waiting = [i for i, scan in self._scans.items() if not scan.is_finished]
        return [
            Finished("stop", i, self._scans[i].stopped_by, usage if i == waiting[-1] else None)
            for i in waiting
        ]

    def _feed_choice(
        self,
        event: Started | PartStarted | PartDelta | PartEnded | Finished,
        out: list[StreamEvent],
    ) -> None:
        scan = self._scans.setdefault(event.choice, _Scan())
        if isinstance(event, Finished):
            scan.is_finished = True
            if scan.stopped_by is not None:
                event = Finished("stop", event.choice, scan.stopped_by, event.usage)
            out.append(event)
            self._check_done()
            return
        if scan.stopped_by is not None:
            return
        match event:
            case PartStarted(part=Text(text=text)):
                scan.in_text = True
                out.append(PartStarted(Text(""), event.choice))
                if text:
                    self._scan_text(scan, PartDelta(text, event.choice), out)
            case PartDelta() if scan.in_text:
                self._scan_text(scan, event, out)
            case PartEnded() if scan.in_text:
                if scan.held:
                    out.append(PartDelta(scan.held, event.choice))
                scan.held, scan.in_text = "", False
                out.append(event)
            case _:
                out.append(event)

    def _scan_text(self, scan: _Scan, delta: PartDelta, out: list[StreamEvent]) -> None:
        text = scan.held + delta.text
        # The first to be whole ends the text, as it would where every token is looked at as it comes;
        # of several that end in one place, the longest.
        found = min(
            ((at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0),
            default=None,
        )
        if found is None:
            keep = self._may_begin_stop(text)
            ready, scan.held = text[: len(text) - keep], text[len(text) - keep :]
            if ready or delta.logprobs:
                out.append(PartDelta(ready, delta.choice, delta.logprobs))
            return
        _, at, scan.stopped_by = found
        scan.held, scan.in_text = "", False
        if at:
            out.append(PartDelta(text[:at], delta.choice, delta.logprobs))
        out.append(PartEnded(delta.choice))
        self._check_done()

    def _may_begin_stop(self, text: str) -> int:
        """How many of the last characters are the beginning of a stop string."""
        for keep in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[len(text) - keep :]
            if any(stop.startswith(tail) for stop in self._stops):
                return keep
        return 0

    def _check_done(self) -> None:
        ended = [s for s in self._scans.values() if s.is_finished or s.stopped_by is not None]
        self.is_done = len(ended) == self._choices and not all(s.is_finished for s in ended)
