"""The step that gives VS Code a folder on each host's own disk: only for those who ask for it (`jobs.vscode_local`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobs.vscode_local import BASE
from jobs.wire import Wire

from .site import Host
from .steps import Removal, State, Step, Tell
from .vscode import extensions_block, install_path_block

NAME = "vscode-local"


def base_of(host: Host, hosts: Iterable[Host]) -> str:
    """Return the folder that is on a disk of its own under the same name on all hosts that share this host's home.

    Parameters
    ----------
    host:
        The host; its `scratch` is taken when all the others name the same one.
    hosts:
        All hosts of the site.
    """
    names = {one.scratch for one in sharing(host, hosts)}
    return host.scratch if host.scratch and names == {host.scratch} else BASE


def sharing(host: Host, hosts: Iterable[Host]) -> list[Host]:
    """Return the hosts that see the same home, the host itself among them, in the order of the site file."""
    return [one for one in hosts if one == host or (host.shared_home and one.shared_home == host.shared_home)]


def is_wanted(wire: Wire, base: str) -> bool:
    """Tell whether the link is in the home already, made from this host or another: then each host needs its folder."""
    return any(row["linked"] and row["ours"] for row in wire.call("vscode_local", base=base)["folders"])


def step(wire: Wire, base: str) -> Step:
    """Return the step of `orch setup --vscode-local`.

    Parameters
    ----------
    wire:
        To the host; open for as long as the step is used.
    base:
        See `base_of`.
    """

    def rows() -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = wire.call("vscode_local", base=base)["folders"]
        return found

    def check() -> State:
        due = [row for row in rows() if not row["ready"]]
        told = "; ".join(map(_planned, due)) or "leads to this host's own disk"
        return State(not due, told, "; ".join(row["refusal"] for row in due if row["refusal"]))

    def do(tell: Tell) -> str:
        done = [row for row in wire.call("vscode_make_local", base=base)["folders"] if row["changed"]]
        extensions = sorted({name for row in done for name in row["extensions"]})
        if extensions:
            text = " ".join(extensions_block(extensions).split())
            tell(NAME, f"for the laptop's settings.json, so that extensions come back by themselves: {text}")
        return "; ".join(f"{row['folder']} is {row['place']}" for row in done)

    def weigh() -> Removal | None:
        ours = [f"{row['folder']} (now {row['place']})" for row in rows() if row["ours"]]
        text = f"put back {', '.join(ours)} for all hosts; what lies on their own disks stays. Close VS Code everywhere"
        return Removal(text) if ours else None

    def undo(tell: Tell) -> str:
        done = wire.call("vscode_undo_local")["folders"]
        return "; ".join(f"{row['folder']} is back, {row['left']} is left as it is" for row in done)

    reason = "each host gets a VS Code server of its own: no change of processor, no locks and no quota; asked for"
    return Step(NAME, reason, check, do, weigh, undo)


def _planned(row: Mapping[str, Any]) -> str:
    if row["linked"]:
        return f"make {row['place']}, to which {row['folder']} leads, on this host"
    kept = f"; what is there becomes {row['folder']}.shared, settings and history are copied" if row["content"] else ""
    return f"make {row['folder']} a link to {row['place']}{kept}. Other hosts of this home: the same command for each"


def laptop_block(aliases: Iterable[str], base: str, user: str) -> str:
    """Return the lines for the laptop's settings.json that do the same from there, for every alias.

    Parameters
    ----------
    aliases:
        Names with which VS Code connects.
    base:
        See `base_of`.
    user:
        Name of the account on the hosts.
    """
    place = base if user in base.split("/") else f"{base.rstrip('/')}/{user}"
    return install_path_block(aliases, place) + '\n  "remote.SSH.lockfilesInTmp": true,'
