"""A folder on this machine that plays a host: a real agent with a home of its own, and faults on demand.

For trying `orch` with several hosts and no network: `hosts: {grace: {way: fake, address: /tmp/grace}}`. What goes wrong
there stands in `<folder>/fault.json`, read at each contact:

    {"error": "unreachable" | "refused" | "unknown key", "prints": "text of a start-up file", "breaks_after": bytes}
"""

from __future__ import annotations

import io
import json
import os
import shlex
from pathlib import Path
from typing import Any, BinaryIO, cast

from jobs.errors import AccessError, NotFound, OrchError, Unreachable, UsageError
from jobs.pipe import ProcessPipe

from ..site import Host
from . import remote

FAULTS = "fault.json"
_KEY = "SHA256:0000000000000000000000000000000000000000000"


def connect(host: Host) -> FakePipe:
    """Start an agent that lives in the folder.

    Raises
    ------
    NotFound
        There is no such folder.
    AccessError, Unreachable
        The folder says so.
    """
    folder = Path(str(host.address)).expanduser()
    if not folder.is_dir():
        raise NotFound(f"{host.name} is played by the folder {folder}, which is not there", f"mkdir -p {folder}")
    faults = _faults(folder)
    error = _error(host.name, faults.get("error"))
    if error:
        raise error
    return FakePipe(host, folder.absolute(), faults)


def _faults(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / FAULTS).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(f"{folder / FAULTS} is not JSON: {error}", "repair or delete it") from error
    return dict(value)


def _error(name: str, kind: str | None) -> OrchError | None:
    if kind == "unreachable":
        return remote.unreachable(name, "a folder", "Connection timed out")
    if kind == "refused":
        return AccessError(f"{name} refuses us", f"take the fault out of {FAULTS}")
    return remote.unknown_key(name, "ssh-ed25519", _KEY) if kind == "unknown key" else None


class FakePipe(ProcessPipe):
    """An agent in a process of this machine, with HOME and host-local folder inside the host's folder."""

    def __init__(self, host: Host, folder: Path, faults: dict[str, Any]) -> None:
        command = remote.remote_command(host.home)
        if faults.get("prints"):
            command = f"printf %s {shlex.quote(faults['prints'])}; {command}"
        environment = {**os.environ, "HOME": str(folder), "ORCH_LOCAL": str(folder / "local")}
        super().__init__(host.name, ["/bin/sh", "-c", command], environment)
        if faults.get("breaks_after"):
            self.output = cast(BinaryIO, io.BufferedReader(_Breaking(self.output, int(faults["breaks_after"]))))

    def trouble(self, answered: bool, printed: str) -> OrchError | None:
        """Return what the end of its shell says."""
        status = self.status()
        if answered or status is None:
            return Unreachable(f"the connection to {self.name} broke off", "orch status says what was last known")
        return remote.ended(self.name, status, self.complaints(), printed)


class _Breaking(io.RawIOBase):
    """A stream that ends after some bytes, as a cut connection does."""

    def __init__(self, source: BinaryIO, left: int) -> None:
        self._source, self._left = source, left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._source.read1(min(len(buffer), self._left)) if self._left else b""  # type: ignore[attr-defined]
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()
