"""What a person needs to come in by ssh: the block for the configuration, a key, the host's fingerprint.

Everything is printed; nobody's ssh files are written.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .site import Host
from .ways.target import Target, resolve

KEEPALIVE = 30  # seconds; shorter than what routers forget a silent connection after
_SCAN_WAIT = 5  # seconds for the host to show its keys
_LOCAL_WAIT = 10.0  # seconds for `ssh-keygen`
_KEYGEN_LINE = re.compile(r"(SHA256:[A-Za-z0-9+/]{43})")
_KIND = re.compile(r"\b(ED25519|ECDSA|RSA|DSA|ED25519-SK|ECDSA-SK)\b")

# How a key is made and loaded; the last line of each shows the public half, or puts it into the clipboard.
KEY_COMMANDS = {
    "windows": r"""Set-Service ssh-agent -StartupType Automatic
Start-Service ssh-agent
mkdir -Force $HOME\.ssh
ssh-keygen -t ed25519 -f $HOME\.ssh\id_ed25519
ssh-add $HOME\.ssh\id_ed25519
Get-Content $HOME\.ssh\id_ed25519.pub | Set-Clipboard""",
    "macos": """ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519
ssh-add --apple-use-keychain ~/.ssh/id_ed25519
pbcopy < ~/.ssh/id_ed25519.pub""",
    "linux": """ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519
eval "$(ssh-agent -s)"
ssh-add ~/.ssh/id_ed25519
cat ~/.ssh/id_ed25519.pub""",
}


class Fingerprint(NamedTuple):
    """One host key: its kind (`ED25519`; empty where it is not said), `SHA256:...`, and who says so."""

    kind: str
    text: str
    source: str


class Help(NamedTuple):
    """All of it for one host.

    Attributes
    ----------
    alias:
        The name that `ssh` is called with.
    block:
        Lines for the ssh configuration.
    fingerprints:
        Of its host keys: as the administrator gave it, as confirmed earlier, as the host shows it now.
    confirmed:
        The key stands in `known_hosts`.
    accept:
        The command that shows the fingerprint and takes the key after a `yes`.
    """

    alias: str
    block: str
    fingerprints: list[Fingerprint]
    confirmed: bool
    accept: str


def host_block(
    alias: str, hostname: str | None, user: str | None, port: int | None = None, jump: str | None = None
) -> str:
    """Return the block of an ssh configuration for one host; options that are None are left out."""
    options = {
        "HostName": hostname,
        "Port": port,
        "User": user,
        "IdentityFile": "~/.ssh/id_ed25519",
        "ProxyJump": jump,
        "ServerAliveInterval": KEEPALIVE,
    }
    return "\n".join([f"Host {alias}", *(f"    {key} {value}" for key, value in options.items() if value is not None)])


def assist(host: Host) -> Help:
    """Collect what is known of the way to a host; asks `ssh -G`, `known_hosts`, and the host for its public keys.

    Raises
    ------
    Unreachable, UsageError
        There is no `ssh` program, or the user's ssh configuration cannot be read.
    """
    target = resolve(host)
    alias = host.ssh or host.name
    port = None if target.port == 22 else target.port
    block = host_block(alias, target.hostname, target.user, port, ",".join(target.jumps) or None)
    confirmed = list(_confirmed(target))
    given = [Fingerprint("", host.fingerprint, "the site file, from the administrator")] if host.fingerprint else []
    words = f"ssh -o StrictHostKeyChecking=ask {shlex.quote(alias)} exit"
    return Help(alias, block, [*given, *confirmed, *_shown_now(target)], bool(confirmed), words)


def _confirmed(target: Target) -> Iterator[Fingerprint]:
    for file in target.known_hosts:
        if Path(file).is_file():
            told = _run(["ssh-keygen", "-l", "-F", target.known_as, "-f", file])
            yield from _fingerprints(told, f"confirmed earlier, in {file}")


def _shown_now(target: Target) -> Iterator[Fingerprint]:
    """Ask the host itself. A machine behind another one cannot be asked: its key is shown when it is connected to."""
    if target.jumps or target.proxy_command:
        return
    scan = ["ssh-keyscan", "-T", str(_SCAN_WAIT), "-p", str(target.port), "--", target.hostname]
    keys = _run(scan, wait=_SCAN_WAIT * 4.0)
    if keys:
        yield from _fingerprints(_run(["ssh-keygen", "-l", "-f", "-"], keys), "shown by the host now: compare it")


def _fingerprints(told: str, source: str) -> Iterator[Fingerprint]:
    for line in told.splitlines():
        found = None if line.startswith("#") else _KEYGEN_LINE.search(line)
        if found:
            kind = _KIND.search(line.replace(found[1], ""))
            yield Fingerprint(kind[1] if kind else "", found[1], source)


def _run(command: list[str], given: str = "", wait: float = _LOCAL_WAIT) -> str:
    """Return what a program prints; nothing where it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, input=given.encode(), capture_output=True, timeout=wait, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
