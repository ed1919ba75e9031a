"""Ten lines that give any Python program curves and tables (other languages write the files of `docs/contract.md`).

from jobs.handin import Run

run = Run()                                   # outside `orch` it does nothing
for step in range(100):
    run.metrics(step, train_loss=0.3, val_dice=0.8)
    if run.stop_requested():
        break                                 # write a checkpoint, then leave
run.finish(dice=0.87)
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any, Dict, List, Optional

from . import CONTRACT
from .atomic import file_sha256, write_json
from .events import EventWriter, finite
from .folder import RunFolder


class Run:
    """The run folder of this process, as `orch` names it in `ORCH_RUN`.

    Parameters
    ----------
    path:
        The run folder; by default the environment says. Without one, every method does nothing.
    """

    def __init__(self, path: Optional[str] = None) -> None:
        found = path or os.environ.get("ORCH_RUN")
        self.folder = RunFolder(found) if found else None
        self._events = EventWriter(self.folder.events) if self.folder else None
        self._terminated = False

    def catch_sigterm(self) -> None:
        """Let SIGTERM ask for a stop (`stop_requested`) instead of ending the process at once."""
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, number: int, frame: Optional[FrameType]) -> None:
        self._terminated = True

    def event(self, kind: str, **values: Any) -> None:
        """Append one event of any kind."""
        if self._events:
            self._events.write(kind, **values)

    def metrics(self, step: int, **values: float) -> None:
        """Record the values of one step (an epoch, an iteration): they become curves."""
        self.event("metrics", step=step, values=values)

    def stop_requested(self) -> bool:
        """Tell whether somebody asked this job to stop, by `orch stop` or SIGTERM."""
        return self._terminated or bool(self.folder and os.path.exists(self.folder.stop))

    def finish(self, cases: Optional[List[Dict[str, Any]]] = None, **values: Any) -> None:
        """Write the result: its presence is the program's word that it finished.

        Parameters
        ----------
        cases:
            Per-patient scores, one object for each case and class (`docs/contract.md`).
        values:
            Numbers for the tables, for example `dice=0.87`; one that is not finite is written as null.
        """
        if not self.folder or not self._events:
            return
        self._events.sync()
        files = {}
        if cases is not None:
            write_json(self.folder.cases, {"contract": CONTRACT, "cases": finite(cases)})
            files[os.path.basename(self.folder.cases)] = file_sha256(self.folder.cases)
        write_json(self.folder.result, {"contract": CONTRACT, "values": finite(values), "files": files})
