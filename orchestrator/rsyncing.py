"""Files of a data set by rsync, over a second connection of the user's own ssh: for those who ask for it.

rsync sees links with the names that the files have on the host, so that no name of a patient travels; it writes where
the wire would have written, so that either goes on where the other was cut.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from jobs.errors import AccessError, DiskError, OrchError, Unreachable, UsageError

from .config import Settings
from .copying import Offer, Progress
from .guard import check_package
from .inventory import load_site

_DONE = re.compile(r"^\s*([0-9][0-9,.]*)\s+[0-9]+%")  # `--info=progress2`: bytes of all files so far
_CUT = (10, 12, 30, 35, 255)  # exit statuses of rsync(1): the connection, or ssh's own
_FULL = re.compile(r"No space left|quota exceeded", re.IGNORECASE)


def unfit(settings: Settings, host: str, offered: Offer) -> str:
    """Return why rsync cannot be used for a host; empty: it can."""
    way = load_site(settings).host(host).way
    if way != "ssh":
        return f"{host} is reached by the way {way}, not by the ssh program"
    if not shutil.which("rsync"):
        return "this machine has no rsync"
    if any(volume.path is None for volume, _ in offered.due):
        return "rsync does not reach from one host to the other"
    return "" if offered.rsync else f"{host} has no rsync"


def refuse_unfit(settings: Settings, host: str, offered: Offer) -> None:
    """Refuse what was asked for and cannot be done.

    Raises
    ------
    UsageError
        rsync cannot be used.
    """
    why = unfit(settings, host, offered)
    if why:
        raise UsageError(why, "leave out --via rsync: the open connection will do")


def send(settings: Settings, host: str, offered: Offer, progress: Progress) -> None:
    """Bring the bytes of all files that are due; the host has still to verify them.

    Raises
    ------
    Unreachable, AccessError
        The second connection broke, or was refused; what has come stays.
    DiskError
        The host's disk takes no more.
    OrchError
        rsync failed otherwise.
    """
    check_package("setup")
    from setup.ways.program import carrier

    ssh, name = carrier(load_site(settings).host(host))
    part = PurePosixPath(offered.part)
    to = f"[{name}]" if ":" in name else name
    with tempfile.TemporaryDirectory(prefix="orch-rsync-") as folder:
        for volume, _ in offered.due:
            assert volume.path  # `unfit` has seen to it
            (Path(folder) / part.name.format(volume.file)).symlink_to(volume.path)
        how = ["--copy-links", "--inplace", "--append-verify", "--recursive", "--secluded-args"]
        command = ["rsync", *how, "--info=progress2", "--outbuf=L", "-e", " ".join(ssh), f"{folder}/"]
        _run([*command, f"{to}:{part.parent}/"], host, progress)


def _run(command: list[str], host: str, progress: Progress) -> None:
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        assert child.stdout
        told = 0
        try:
            for count in _counts(child.stdout):
                progress(count - told)
                told = count
            status = child.wait()
        except BaseException:
            child.kill()
            child.wait()
            raise
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip()
    if status:
        raise _failed(host, status, said)


def _counts(stream: IO[bytes]) -> Iterator[int]:
    """Yield the bytes so far of each line or half line that rsync prints about its progress."""
    rest = ""
    while block := stream.read1(4096):  # type: ignore[attr-defined]
        *lines, rest = re.split(r"[\r\n]", rest + block.decode("ascii", "replace"))
        for found in filter(None, map(_DONE.match, lines)):
            yield int(re.sub(r"[,.]", "", found[1]))


def _failed(host: str, status: int, said: str) -> OrchError:
    lines = [line for line in said.splitlines() if line and not line.startswith("rsync error:")]
    last = lines[-1] if lines else f"exit status {status}"
    if _FULL.search(said):
        return DiskError(f"{host}: the disk is full or the quota is used up", "free some space there, then again")
    if "Permission denied (" in said or "Host key verification failed" in said:
        return AccessError(f"{host} refuses the second connection that rsync needs: {last}", "--via wire needs none")
    if status in _CUT:
        return Unreachable(
            f"the connection to {host} broke: {last}", "run the same command again: it goes on from there"
        )
    return OrchError(f"rsync to {host} failed: {last}", "--via wire does without it")
