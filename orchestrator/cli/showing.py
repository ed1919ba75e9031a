"""`orch setup --show`: what belongs on the laptop, printed and never written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobs.errors import UsageError

from ..config import Settings
from ..inventory import load_site
from .output import Output

if TYPE_CHECKING:
    from setup.site import Host
    from setup.sshhelp import Help

_SYSTEMS = {"windows": "Windows (PowerShell)", "macos": "macOS", "linux": "Linux"}


def show(what: str, hosts: Sequence[Host], settings: Settings, out: Output) -> int:
    """Print the settings of VS Code or the help for ssh.

    Raises
    ------
    UsageError
        Only this machine is meant: nobody connects to it.
    """
    others = [host for host in hosts if host.ssh or host.address]
    if not others:
        raise UsageError("this machine needs no way in", f"name a host of the site file: --host H --show {what}")
    return _vscode(others, settings, out) if what == "vscode" else _ssh(others, out)


def _vscode(hosts: Sequence[Host], settings: Settings, out: Output) -> int:
    from setup import vscode
    from setup.vscode_local import base_of, laptop_block, sharing
    from setup.ways.target import resolve

    known = list(load_site(settings).hosts.values())
    wanted = list(dict.fromkeys(one.name for host in hosts for one in sharing(host, known)))
    all_hosts = [one for one in known if one.name in wanted]
    names = [one.ssh or one.name for one in all_hosts]
    block = laptop_block(names, base_of(hosts[0], known), resolve(hosts[0]).user)
    out.note("VS Code on your own computer: F1, Preferences: Open User Settings (JSON), between the outer braces:")
    out.result(block)
    out.note(f"It needs a Remote-SSH extension newer than {vscode.NEWER_THAN}. Nothing was written.")
    out.json({"serverInstallPath": block, "hosts": names})
    return 0


def _ssh(hosts: Sequence[Host], out: Output) -> int:
    from setup.sshhelp import KEY_COMMANDS, assist

    helps = [assist(host) for host in hosts]
    out.note("In the file config of the folder .ssh on your own computer (nothing is written by this command):")
    out.result("\n\n".join(one.block for one in helps))
    out.note("\nA key, once for each computer of yours; send the file that ends in .pub to the administrator:")
    for system, commands in KEY_COMMANDS.items():
        out.result(f"\n# {_SYSTEMS[system]}\n{commands}")
    for one in helps:
        out.note("")
        _fingerprints(one, out)
    out.json([_told(one) for one in helps])
    return 0


def _fingerprints(one: Help, out: Output) -> None:
    if not one.fingerprints:
        out.note(f"{one.alias} does not show its host key from here; the first connection does.")
    for kind, text, source in one.fingerprints:
        out.result(f"# host key of {one.alias}: {text}{f' ({kind})' if kind else ''}   {source}")
    if one.confirmed:
        out.note(f"The host key of {one.alias} is confirmed already.")
        return
    out.note("Compare it with the one that the administrator gave you; only if it is the same, answer yes to:")
    out.result(one.accept)


def _told(one: Help) -> dict[str, Any]:
    return {**one._asdict(), "fingerprints": [item._asdict() for item in one.fingerprints]}
