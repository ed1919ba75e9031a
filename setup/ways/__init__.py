"""The ways to a host: this machine, the user's own `ssh` program, paramiko in this process, or a folder that plays one.

`open_pipe(host)` opens the way that the site file names; by default `ssh` for a host with an alias or an address. A
new way is one module, one row here, and one class that inherits the suite in `tests/setup/ways/`.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import cast

from jobs.errors import Unreachable
from jobs.pipe import Pipe, ProcessPipe
from jobs.wire import LOCAL, boot_arguments

from ..site import Host

# Module of `setup.ways` with a function `connect(host)`; imported when it is needed (paramiko takes its time).
_MODULES = {"ssh": "program", "paramiko": "inprocess", "fake": "fake"}


def open_pipe(host: Host) -> Pipe:
    """Return a pipe to an agent on the host; one connection, no terminal, nothing written on either side.

    Raises
    ------
    AccessError
        The host refuses us, or its key is unknown or another one than before.
    Unreachable
        It does not answer, or this machine cannot run jobs (Windows).
    NotFound
        Nobody knows its name.
    UsageError
        The ssh configuration cannot be read, or asks for what this way cannot do.
    """
    if host.way == "local":
        if os.name != "posix":
            text = "jobs run on Linux hosts, not on this machine"
            raise Unreachable(text, "give a host: orch sweep NAME --hosts grace")
        return ProcessPipe(LOCAL, boot_arguments(sys.executable))
    module = importlib.import_module(f".{_MODULES[host.way]}", __package__)
    return cast(Pipe, module.connect(host))
