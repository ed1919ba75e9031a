"""The first site file: written by `orch init` from the names that the user's own ssh knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.atomic import write_bytes
from jobs.errors import disk_error

from .config import Settings
from .guard import check_package
from .inventory import SITE_FILE, site_file

if TYPE_CHECKING:
    from setup.ways.target import Target

_HEAD = """# Site file of orch: the hosts that jobs may run on (orch hosts lists them, orch doctor --all measures them).
# Made from your own ssh configuration; take out what is no machine to compute on.
# A lab whose hosts come with orch writes two lines instead:   extends: pilcam2   and   user: your-name
hosts:
"""
_MORE = """    # shared_home: lab       # hosts that name the same word here have one home
    # scratch: /scratch      # a folder on a disk of its own
    # quota: 200 GB          # what one user may fill of the home
    # scheduler: slurm       # default: none; jobs are handed to Slurm from there (it needs submitit in `python`)
    # slurm: {partition: gpu, account: ours, time: 240}  # minutes; also qos, constraint, exclude, gpu_type ...
    # slurm: {partition: {x86_64: gpu, aarch64: gh}}      # a partition for each architecture; `python` may be so, too
"""


def write_site(folder: Path, settings: Settings) -> list[str]:
    """Write a site file beside the project file, unless there is one or ssh knows no hosts; return their names.

    Raises
    ------
    DiskError
        The folder cannot be written.
    """
    path = folder / SITE_FILE
    if path.exists() or site_file(settings):
        return []
    check_package("setup")
    from setup.ways.aliases import aliases

    found = aliases()
    if found:
        try:
            write_bytes(path, site_text(found).encode())
        except OSError as error:
            raise disk_error(error, str(path)) from error
    return [name for name, _ in found]


def site_text(found: Sequence[tuple[str, Target]]) -> str:
    """Return the text of a site file; what else can be said of a host stands below the first one, as comments."""
    blocks = [f'  "{name}":\n    ssh: "{name}"   # {_way(target)}\n' for name, target in found]
    return _HEAD + "".join([blocks[0], _MORE, *blocks[1:]])


def _way(target: Target) -> str:
    through = f", through {', '.join(target.jumps)}" if target.jumps else ""
    return " ".join(f"{target.address}{through}".split())
