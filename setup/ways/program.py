"""The way over the user's own `ssh` program: its configuration, jump hosts, agent, security keys, second factors.

A ControlMaster that the user has set up is used by `ssh` itself; none is left behind by us. Its own words go to a
file apart from those of the host, so that nothing that a host prints can be taken for them.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

from jobs.errors import AccessError, NotFound, OrchError
from jobs.pipe import ProcessPipe

from ..site import Host
from . import keys, remote
from .target import ALIVE_COUNT, Target, destination, jump_target, resolve, selection

_asking = threading.Lock()  # one ssh at a time asks at the terminal
REACHED = 3.0  # seconds within which a host is reached; a later one asks when it comes, and holds nobody up
_TICK = 0.02  # seconds between looks at what ssh has logged
_FAILED = 255  # exit status with which ssh says that it failed itself

# What the site of a user may say and what would hurt here: second programs, forwarding, files written, terminals.
_ALWAYS = {
    "RequestTTY": "no",
    "RemoteCommand": "none",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "UpdateHostKeys": "no",
    "EscapeChar": "none",
    "ServerAliveCountMax": str(ALIVE_COUNT),
}
_UNREACHABLE = (
    r"connect to (?:host|address) .*: (?P<why>.*)",
    r"(?P<why>Timeout, server .* not responding)",
    r"(?P<why>Connection timed out during banner exchange)",
    r"(?P<why>kex_exchange_identification: .*)",
    r"(?P<why>Connection (?:closed|reset) by .*)",
    r"(?P<why>(?:Connection to .*|ssh_dispatch_run_fatal: .*|client_loop: .*): .*)",
    r"channel \d+: open failed: (?P<why>.*)",
)


def connect(host: Host) -> SshPipe:
    """Start `ssh` towards a host; what goes wrong on the way is told by the pipe's `trouble`."""
    return SshPipe(host, resolve(host), interactive=sys.stdin.isatty() and sys.stderr.isatty())


class SshPipe(ProcessPipe):
    """An agent behind the `ssh` program.

    Parameters
    ----------
    host:
        The host of the site.
    target:
        Where it is.
    interactive:
        `ssh` may ask at the terminal (passphrase, second factor); else it never waits for a person.
    """

    def __init__(self, host: Host, target: Target, interactive: bool = False) -> None:
        descriptor, self._log = tempfile.mkstemp(prefix="orch-ssh-")
        os.close(descriptor)
        self._target = target
        try:
            with _asking if interactive else contextlib.nullcontext():
                super().__init__(
                    host.name, arguments(host, target, self._log, interactive), own_session=not interactive
                )
                if interactive:
                    self._let_in()
        except BaseException:
            self._forget()
            raise

    def _let_in(self) -> None:
        """Wait until the host has let us in, or will not: of several hosts, one asks at the terminal after another."""
        late = time.monotonic() + REACHED
        while self._process.poll() is None:
            log = self._logged()
            if _is_inside(log) or ("Connection established" not in log and time.monotonic() > late):
                return
            time.sleep(_TICK)

    def _logged(self) -> str:
        return Path(self._log).read_text("utf-8", "replace") if self._log else ""

    def trouble(self, answered: bool, printed: str) -> OrchError | None:
        """Return what ssh, or the host's shell, says of the end."""
        status = self.status()
        if status is None:
            return None
        return explain(self._target, self._logged(), self.complaints(), status, answered, printed)

    def close(self) -> None:
        """Close both directions and wait for `ssh` to leave."""
        super().close()
        self._forget()

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._log)  # noqa: PTH108
        self._log = ""


def arguments(host: Host, target: Target, log: str, interactive: bool) -> list[str]:
    """Return the command: one connection, no terminal on the host, one quoted line for its shell."""
    to = [*selection(host), "--", destination(host), remote.remote_command(host.home)]
    return ["ssh", "-T", "-v", "-E", log, *_settings(target, interactive), *to]


def _settings(target: Target, interactive: bool) -> list[str]:
    options = {**_ALWAYS, "ConnectTimeout": target.connect_wait, "ServerAliveInterval": target.alive_every}
    if not interactive:
        options["BatchMode"] = "yes"
    if target.strict == "ask":  # the fingerprint shall be compared, not waved through in the middle of a command
        options["StrictHostKeyChecking"] = "yes"
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def carrier(host: Host) -> tuple[list[str], str]:
    """Return the `ssh` command by which another program (rsync) reaches the host, and what it calls the host.

    Raises
    ------
    NotFound, UsageError
        See `setup.ways.target.resolve`.
    """
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    return ["ssh", "-T", *_settings(resolve(host), interactive), *selection(host)], destination(host)


def explain(target: Target, log: str, said: str, status: int, answered: bool, printed: str) -> OrchError | None:
    """Turn the words of `ssh -v` into an error: the one door of this way.

    Parameters
    ----------
    target:
        Where it went.
    log:
        What ssh itself wrote.
    said:
        Standard error: of the host's shell, and of the `ssh` to a jump host.
    status:
        Exit status of ssh.
    answered, printed:
        See `jobs.pipe.Pipe.trouble`.
    """
    inside = _is_inside(log)
    if status != _FAILED and not answered:
        return remote.ended(target.name, status, said, printed)
    if answered or inside:
        return remote.lost(target.name, _why(log) or f"ssh ended with status {status}")
    on_the_way = bool(target.jumps) and "Server host key:" not in log
    if not on_the_way:
        return _refusal(target, log)
    return _refusal(_jump(target, said), said)


def _is_inside(log: str) -> bool:
    return "Authenticated to" in log or "mux_client" in log


def _jump(target: Target, said: str) -> Target:
    """The machine on the way that made the trouble: the last one that ssh tried to reach."""
    tried = re.findall(r"Connecting to \S+ \[(\S+)\]", said)
    jumps = [resolve(jump_target(words)) for words in target.jumps]
    return next((jump for jump in jumps if tried and jump.hostname == tried[-1]), jumps[0])


def _refusal(target: Target, log: str) -> OrchError | None:
    key = re.findall(r"Server host key: (\S+) (SHA256:\S+)", log)
    kind, fingerprint = key[-1] if key else ("?", "?")
    if "HOST IDENTIFICATION HAS CHANGED" in log:
        place = re.search(r"Offending \S+ key in (.*):\d+", log)
        file = place[1] if place else next(iter(target.known_hosts), "~/.ssh/known_hosts")
        return remote.changed_key(target.name, target.known_as, file, kind, fingerprint)
    if "Host key verification failed" in log:
        return remote.unknown_key(target.name, kind, fingerprint)
    if found := re.search(r"^.*(Permission denied \(.*\)|Too many authentication failures)", log, re.MULTILINE):
        return keys.refused(target, found[1])
    if found := re.search(r"Unable to negotiate with .*", log):
        return AccessError(
            f"{target.name} speaks no protocol that is safe enough: {found[0].strip()}", "tell its administrator"
        )
    if found := re.search(r"Could not resolve hostname \S+: (.*)", log):
        return unresolved(target, found[1].strip())
    why = _why(log)
    return remote.unreachable(target.name, target.address, why) if why else None


def unresolved(target: Target, why: str) -> OrchError:
    """Say that a name leads nowhere; when names cannot be asked for at all, the host counts as unreachable."""
    if "emporary" in why:
        return remote.unreachable(target.name, target.address, why)
    hint = f"correct `ssh:` or `address:` in the site file, or add {target.name} to ~/.ssh/config with its HostName"
    return NotFound(f"nobody knows the name '{target.hostname}' of {target.name}: {why}", hint, host=target.name)


def _why(log: str) -> str:
    """The last line that says why nobody answers."""
    for line in reversed(log.splitlines()):
        for pattern in _UNREACHABLE:
            if found := re.search(pattern, line):
                return found["why"].strip()
    return ""
