"""Watch a sweep until it is over: a live display on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobs.visible import visible

from . import progress
from .cli.output import Output
from .collect import refresh, watched_scores
from .fleet import Fleet
from .moving import Mover
from .progress import Progress, duration
from .store import Index, JobRow

FASTEST, SLOWEST = 0.25, 2.0  # seconds between looks: quick while jobs end, calm otherwise
LINE_EVERY = 15.0  # seconds between lines where there is no terminal
BAR = 24  # characters
GAP = "   "
MOST_ROWS = 8  # running and troubled jobs that are listed


class Monitor:
    """Looks at one sweep again and again.

    Parameters
    ----------
    metric:
        Value that is shown for running jobs, and whose best is shown.
    steps:
        Steps that one job has at most, for the time left.
    mover:
        Moves waiting jobs to idle hosts; None leaves them where they are.
    shown:
        What the sweep is called here, where that is not its name in the homes.
    """

    def __init__(
        self,
        fleet: Fleet,
        index: Index,
        sweep: str,
        metric: str | None,
        steps: int | None = None,
        mover: Mover | None = None,
        shown: str = "",
    ) -> None:
        self._mover, self._shown = mover, shown or sweep
        self._fleet, self._index, self._sweep = fleet, index, sweep
        self._metric, self._steps = metric, steps
        self._spans: dict[str, float] = {}
        self._back: list[str] = []
        self._began = time.monotonic()

    def look(self) -> Progress:
        """Bring the index up to date and measure.

        Raises
        ------
        Unreachable
            No host answers.
        """
        for host in self._fleet.revive():
            self._back.append(f"{host} answers again")
        self._spans.update(refresh(self._fleet, self._index, [self._sweep]).spans)
        rows, scores = self._index.jobs(self._sweep), watched_scores(self._index, {self._sweep: self._metric})
        return progress.measure(rows, self._metric, self._spans, self._steps, scores.get(self._sweep))

    def follow(self, out: Output) -> Progress:
        """Show the progress until the sweep is over; return the last one."""
        pause, ended = FASTEST, -1
        with self._display(out) as show:
            while True:
                now = self.look()
                show(now)
                if not now.over:
                    self._moved(out)
                if now.over and not self._moved(out):
                    return now
                pause = FASTEST if now.ended != ended else min(SLOWEST, pause * 1.3)
                ended = now.ended
                time.sleep(pause)

    def _moved(self, out: Output) -> bool:
        """Move what waits on a slow or silent host; tell of it."""
        lines = self._mover.consider() if self._mover else []
        for line in [*self._back, *lines]:
            out.note(line)
        self._back.clear()
        return bool(lines)

    @contextmanager
    def _display(self, out: Output) -> Iterator[Callable[[Progress], None]]:
        if not out.progress:
            yield self._plain(out)
            return
        from rich.live import Live
        from rich.text import Text

        console = out.console()

        def show(now: Progress) -> None:
            text = "\n".join(self.lines(now, console.width))
            live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield show

    def _plain(self, out: Output) -> Callable[[Progress], None]:
        last = [0.0, -1.0]

        def show(now: Progress) -> None:
            due = time.monotonic() - last[0] >= LINE_EVERY and now.ended != last[1]
            if due or now.over:
                out.note(self.headline(now))
                last[:] = time.monotonic(), now.ended

        return show

    def headline(self, now: Progress) -> str:
        """Return one line: counts, time, rate, best."""
        return GAP.join(self._parts(now))

    def _parts(self, now: Progress) -> list[str]:
        parts = [f"{self._shown}  {progress.counts_text(now.counts)}", duration(time.monotonic() - self._began)]
        if now.left is not None and not now.over:
            parts[-1] += f", about {duration(now.left)} left"
        if now.per_minute is not None:
            parts.append(f"{now.per_minute:.3g} jobs/min")
        if now.best:
            parts.append(f"best {progress.shown_name(self._metric)} {now.best[0]:.3f} ({now.best[1]})")
        return parts

    def lines(self, now: Progress, width: int = 200) -> list[str]:
        """Return the whole display: bar and counts, running jobs, jobs in trouble; the head is broken at `width`."""
        filled = BAR * now.ended // max(1, now.total)
        bar = f"{'▇' * filled}{'░' * (BAR - filled)}  "
        first, *others = self._parts(now)
        head = [bar + first]
        for part in others:
            if len(head[-1] + GAP + part) <= width:
                head[-1] += GAP + part
            else:
                head.append(" " * len(bar) + part)
        listed = [*(self._running(row) for row in now.running), *(_trouble(row) for row in now.troubled)]
        listed += [f"  {line}" for line in progress.reasons(now.waits)]
        more = len(listed) - MOST_ROWS
        shown = [*head, *listed[:MOST_ROWS], *([f"  … {more} more"] if more > 0 else [])]
        return [visible(line).replace("\n", " ") for line in shown]  # labels and reasons come from elsewhere

    def _running(self, row: JobRow) -> str:
        parts = [f"  running      {row.label}"]
        if len(self._fleet.contacts) + len(self._fleet.silent) > 1:
            parts[0] += f"  on {row.host}"
        if row.step is not None:
            parts.append(f"step {row.step}" + (f" of at most {self._steps}" if self._steps else ""))
        value = progress.shown_value(row.values, self._metric)
        if value is not None:
            parts.append(f"{progress.shown_name(self._metric)} {value:.3f}")
        seconds = row.values.get("seconds")
        if isinstance(seconds, int | float):
            parts.append(f"{seconds:.2g} s/step")
        return "  ".join(parts)


def _trouble(row: JobRow) -> str:
    return f"  {row.state:<12} {row.label}  {row.reason}"
