"""Progress of hosts at work: a live line for each, with rate and time left; without a terminal a line for each step."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from jobs.visible import visible

from .output import Output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_BYTES = re.compile(r"Progress (\d+) of (\d+)\Z")  # pip's raw progress, and ours for Miniforge
WAIT = "wait"  # the stage of one that waits for another
_WIDTH = 60  # characters of a program's line that are shown


class StepLines:
    """Shows what hosts (by name, in this order) tell while they work. Nobody may ask at the terminal meanwhile."""

    def __init__(self, out: Output, hosts: Sequence[str]) -> None:
        self._out, self._hosts = out, list(hosts)
        self._seen: set[tuple[str, str]] = set()
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._widest = max(map(len, self._hosts), default=0)

    def __enter__(self) -> StepLines:
        if self._out.progress and self._hosts:
            self._bar = _display(self._out)
            self._tasks = {name: self._bar.add_task(self._line(name, ""), total=None) for name in self._hosts}
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def of(self, host: str) -> Callable[[str, str], None]:
        """Return the function to which the steps of a host tell their stage and its lines."""
        return functools.partial(self._tell, host)

    def end(self, host: str, text: str) -> None:
        """Show on a terminal how a host has ended; its clock stops."""
        if self._bar is not None:
            self._bar.update(self._tasks[host], description=self._line(host, text), sized=False)
            self._bar.stop_task(self._tasks[host])

    def _tell(self, host: str, stage: str, line: str) -> None:
        """Show a line of a stage; an empty one only says that it lives."""
        text = f"waits: {line}" if stage == WAIT else f"{stage} …"
        if self._bar is not None:
            if line or (host, stage) not in self._seen:
                self._draw(self._bar, host, stage, line)
        elif (host, text) not in self._seen and (line or stage != WAIT):
            self._out.note(f"  {self._named(host)}{text}")
        self._seen |= {(host, stage), (host, text)}

    def _draw(self, bar: Progress, host: str, stage: str, line: str) -> None:
        found = _BYTES.match(line)
        if found:
            done, total = int(found[1]), int(found[2])
            bar.update(self._tasks[host], completed=done, total=total, sized=total > 0)
        else:
            text = self._line(host, f"{stage:<13} {line[:_WIDTH]}")
            bar.update(self._tasks[host], description=text, sized=False)

    def _named(self, host: str) -> str:
        return f"{host}: " if len(self._hosts) > 1 else ""

    def _line(self, host: str, text: str) -> str:
        return f"{host:<{self._widest}}  {visible(text)}"  # rich passes escape sequences on


def _display(out: Output) -> Progress:
    from rich import progress
    from rich.table import Column
    from rich.text import Text

    class Clock(progress.ProgressColumn):
        """Time since the host began; unlike rich's own it goes on when a download has ended."""

        def render(self, task: progress.Task) -> Text:
            return Text(_clock(task.elapsed or 0).rjust(5))

    class Amount(progress.ProgressColumn):
        """How much of a download is here, how fast it comes and when it will be done."""

        def render(self, task: progress.Task) -> Text:
            if not task.fields.get("sized"):
                return Text()
            rate = f"  {task.speed / 1e6:.0f} MB/s" if task.speed else ""
            left = f"  {_clock(task.time_remaining)} left" if task.time_remaining else ""
            return Text(f"{task.completed / 1e6:.0f} of {(task.total or 0) / 1e6:.0f} MB{rate}{left}")

    console = out.console()
    whole = Column(no_wrap=True, max_width=max(24, console.width - 42))
    text = progress.TextColumn("{task.description}", markup=False, table_column=whole)
    columns = (Clock(Column(min_width=5)), text, Amount(Column(no_wrap=True)))
    return progress.Progress(*columns, console=console, transient=True, refresh_per_second=4)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
