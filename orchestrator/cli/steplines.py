"""Progress of steps: one live line with rate and time left on a terminal, else a line when a step begins."""

from __future__ import annotations

import re
from types import TracebackType
from typing import TYPE_CHECKING

from .output import Output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_BYTES = re.compile(r"Progress (\d+) of (\d+)\Z")  # pip's raw progress, and ours for Miniforge


class StepLines:
    """Shows the lines that steps tell while they work."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._seen: list[str] = []
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> StepLines:
        if self._out.progress:
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            shape = (TextColumn("{task.description}"), BarColumn(20), DownloadColumn(), TransferSpeedColumn())
            times = (TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Progress(*shape, *times, console=self._out.console(), transient=True)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def tell(self, stage: str, line: str) -> None:
        """Show a line of a stage; an empty one only says that it lives."""
        if stage not in self._seen:
            self._seen.append(stage)
            if self._bar is None:
                self._out.note(f"  {stage} …")
        elif stage == "wait" and line and self._bar is None:
            self._out.note(f"  waits: {line}")
        if self._bar is not None and line:
            self._draw(self._bar, stage, line)

    def _draw(self, bar: Progress, stage: str, line: str) -> None:
        if self._task is None:
            self._task = bar.add_task("", total=None)
        found = _BYTES.match(line)
        if found:
            bar.update(self._task, completed=int(found[1]), total=int(found[2]) or None)
        else:
            bar.reset(self._task, description=f"{stage:<13} {line[:60]}", total=None)
