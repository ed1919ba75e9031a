"""Where an alias leads, as the user's own `ssh -G` tells it: never a parser of ours (Include, Match, tokens)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.errors import NotFound, Unreachable, UsageError

from ..site import Host

CONNECT_WAIT = 15  # seconds for one connection, unless the configuration says otherwise
ALIVE_EVERY = 15  # seconds of silence after which the other side is asked whether it lives
ALIVE_COUNT = 4  # unanswered questions after which the connection counts as lost
_ASK_WAIT = 30.0  # seconds for `ssh -G`: a `Match exec` in the configuration may take some


@dataclass(frozen=True)
class Target:
    """One machine to connect to.

    Attributes
    ----------
    name:
        What people call it: the alias or address given to `ssh`.
    hostname, port, user:
        Where it is and as whom; `user_origin` says who chose the name.
    jumps:
        Machines on the way, first one first.
    proxy_command:
        A program that carries the bytes instead.
    keys:
        Files of private keys that may be offered, existing or not.
    only_these_keys:
        Keys of the agent that are not among them are not offered.
    agent:
        Socket of the agent, or None.
    known_hosts:
        Files of confirmed host keys, the user's first.
    known_as:
        Name under which its key stands there.
    strict:
        What becomes of an unknown key: `ask`, `true`, `accept-new` or `false`.
    connect_wait, alive_every:
        Seconds.
    """

    name: str
    hostname: str
    port: int
    user: str
    user_origin: str
    jumps: tuple[str, ...]
    proxy_command: str | None
    keys: tuple[str, ...]
    only_these_keys: bool
    agent: str | None
    known_hosts: tuple[str, ...]
    known_as: str
    strict: str
    connect_wait: int
    alive_every: int

    @property
    def address(self) -> str:
        """`user@host`, with the port when it is not the usual one."""
        return f"{self.user}@{self.hostname}" + (f":{self.port}" if self.port != 22 else "")


def destination(host: Host) -> str:
    """Return what `ssh` is asked for: the alias, else the address."""
    return str(host.ssh or host.address)


def selection(host: Host) -> list[str]:
    """Return the options that the site file adds to the user's configuration."""
    flags = {"-l": host.user, "-p": host.port, "-J": host.jump}
    return [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]


def resolve(host: Host) -> Target:
    """Ask `ssh -G`.

    Raises
    ------
    Unreachable
        There is no `ssh` program, or it does not answer.
    UsageError
        The user's ssh configuration cannot be read.
    """
    command = ["ssh", "-G", *selection(host), "--", destination(host)]
    try:
        told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_WAIT, check=False)
    except OSError as error:
        raise Unreachable(f"cannot start ssh: {error.strerror}", "install OpenSSH's client; try: ssh -V") from error
    except subprocess.TimeoutExpired as error:
        text = f"`ssh -G {host.name}` took more than {_ASK_WAIT:.0f} s"
        raise Unreachable(text, "look for a `Match exec` in ~/.ssh/config that hangs") from error
    if told.returncode:
        said = told.stderr.decode("utf-8", "replace").strip().splitlines()
        text = f"the ssh configuration cannot be used: {said[-1] if said else f'status {told.returncode}'}"
        raise UsageError(text, f"repair that line; then try: {' '.join(command)}")
    return _read(host, told.stdout.decode("utf-8", "replace"))


def _read(host: Host, text: str) -> Target:
    pairs = [line.partition(" ")[::2] for line in text.splitlines()]
    told = dict(reversed(pairs))
    hostname, port = told["hostname"], int(told.get("port", "22"))
    jump = told.get("proxyjump", "none")
    alias = told.get("hostkeyalias") or hostname
    files = f"{told.get('userknownhostsfile', '')} {told.get('globalknownhostsfile', '')}".split()
    return Target(
        name=destination(host),
        hostname=hostname,
        port=port,
        user=told["user"],
        user_origin=_origin(host, told["user"]),
        jumps=() if jump == "none" else tuple(jump.split(",")),
        proxy_command=None if told.get("proxycommand", "none") == "none" else told["proxycommand"],
        keys=tuple(expand(value) for key, value in pairs if key == "identityfile"),
        only_these_keys=told.get("identitiesonly") == "yes",
        agent=_agent(told.get("identityagent", "SSH_AUTH_SOCK"), os.environ),
        known_hosts=tuple(expand(name) for name in files if name != "none"),
        known_as=alias if port == 22 or "hostkeyalias" in told else f"[{alias}]:{port}",
        strict=told.get("stricthostkeychecking", "ask"),
        connect_wait=_seconds(told.get("connecttimeout"), CONNECT_WAIT),
        alive_every=_seconds(told.get("serveraliveinterval"), ALIVE_EVERY),
    )


def _seconds(value: str | None, default: int) -> int:
    return int(value) if value and value.isdecimal() and int(value) else default


def _origin(host: Host, user: str) -> str:
    import getpass

    if host.user:
        return "the site file says so"
    try:
        mine = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        mine = ""
    return "your name on this machine" if user == mine else "your ssh configuration says so"


def _agent(value: str, environment: Mapping[str, str]) -> str | None:
    if value.lower() == "none":
        return None
    if value == "SSH_AUTH_SOCK":
        return environment.get("SSH_AUTH_SOCK")
    return environment.get(value[1:]) if value.startswith("$") else expand(value)


def expand(path: str) -> str:
    """Return a path with `~` written out, as ssh does it: from the user database, not from HOME."""
    if not path.startswith("~/"):
        return path
    if sys.platform == "win32":
        return os.path.expanduser(path)  # noqa: PTH111  (text in, text out)
    import pwd

    return pwd.getpwuid(os.getuid()).pw_dir + path[1:]


def jump_target(words: str) -> Host:
    """Return a machine on the way, written `[user@]name[:port]`, as a host that `resolve` takes.

    Raises
    ------
    NotFound
        It is not written so.
    """
    user, _, rest = words.removeprefix("ssh://").rpartition("@")
    name, _, port = rest.partition(":") if not rest.startswith("[") else rest[1:].partition("]:")
    if not name or (port and not port.isdecimal()):
        raise NotFound(f"cannot understand the jump host '{words}'", "write ProxyJump user@name:port")
    return Host(name, ssh=name.removesuffix("]"), user=user or None, port=int(port) if port else None)
