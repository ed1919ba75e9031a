"""An nvidia-smi for tests, the lab's own, that tells what stands in a file; and strangers who compute on its cards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "lab" / "programs" / "nvidia-smi"
LATE = """
import os
if "--query-compute-apps" in " ".join(sys.argv[1:]) and os.path.exists({late!r}):
    os.replace({late!r}, {path!r})
sys.exit(status)
"""


class Cards:
    """The cards of this machine, as its nvidia-smi tells them.

    Parameters
    ----------
    program:
        The fixture that puts a program first in PATH.
    folder:
        Where the file lies from which it reads.
    """

    def __init__(self, program: Callable[[str, str], Path], folder: Path, count: int = 1, total: int = 23028) -> None:
        self._path = folder / "gpu.json"
        self._late = folder / "gpu.late"  # takes the file's place once somebody has asked who computes
        text = PROGRAM.read_text().replace('"/etc/gpu.json"', repr(str(self._path)))
        program("nvidia-smi", text.replace("sys.exit(status)", LATE.format(late=str(self._late), path=str(self._path))))
        about = {"name": "NVIDIA A10", "compute_cap": "8.6", "utilization.gpu": 0, "memory.total": total}
        self._cards = [{"index": number, "uuid": f"GPU-{number}", **about} for number in range(count)]
        self._apps: list[list[dict[str, object]]] = [[] for _ in self._cards]
        self.extra = [0 for _ in self._cards]  # MiB in use by nobody that is named
        self._fault: str | None = None
        self._tell()

    def come(self, pid: int, memory: int = 9318, card: int = 0, name: str = "/opt/abaqus/bin/standard") -> None:
        """A process computes on a card."""
        self._apps[card].append({"pid": pid, "process_name": name, "used_memory": memory})
        self._tell()

    def come_after_look(self, pid: int, memory: int = 9318) -> None:
        """A process comes to the first card right after somebody has been told that nobody computes there."""
        self._apps[0].append({"pid": pid, "process_name": "standard", "used_memory": memory})
        self._tell(self._late)

    def go(self, pid: int) -> None:
        """It has left."""
        self._apps = [[app for app in apps if app["pid"] != pid] for apps in self._apps]
        self._tell()

    def hide(self, memory: int, card: int = 0) -> None:
        """Memory is in use by nobody that is named."""
        self.extra[card] = memory
        self._tell()

    def fault(self, fault: str | None) -> None:
        """Let the driver be in trouble (`driver`, `lost`), or well again."""
        self._fault = fault
        self._tell()

    def _tell(self, path: Path | None = None) -> None:
        cards = [
            {**card, "memory.used": extra + sum(int(str(app["used_memory"])) for app in apps), "apps": apps}
            for card, apps, extra in zip(self._cards, self._apps, self.extra, strict=True)
        ]
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"driver": "545.23.08", "cuda": "12.3", "fault": self._fault, "cards": cards}))
        fresh.replace(path or self._path)
