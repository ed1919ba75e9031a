"""What the commands that read volumes share: the trainer as a child program, and its progress on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.folder import Home

from ..config import Settings
from ..program import Program, Progress, trainer_program
from ..snapshot import take_trainer
from .output import Output


def trainer(settings: Settings, home: Home) -> Program:
    """Return the trainer as it is installed here, started from its snapshot in the home.

    Raises
    ------
    OrchError
        The interpreter does not start, or lacks a library of the trainer.
    """
    return trainer_program(settings, take_trainer(home))[0]


@contextmanager
def reader(out: Output, title: str) -> Iterator[Progress | None]:
    """Show lines such as `read 3/40` as a bar on a terminal; without one there is no progress to ask for."""
    if not out.progress:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shape = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shape, console=out.console(), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def show(line: str) -> None:
            done, _, total = line.rpartition(" ")[2].partition("/")
            if done.isdecimal() and total.isdecimal():
                bar.update(task, completed=int(done), total=int(total))

        yield show
