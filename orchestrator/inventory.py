"""The site file: `site.yaml` beside the project file, else in the user's own configuration folder; and the way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import NotFound, UsageError
from jobs.wire import Wire

from .config import Settings
from .guard import check_package

if TYPE_CHECKING:
    from setup.site import Host, Site

SITE_FILE = "site.yaml"


def site_file(settings: Settings) -> Path | None:
    """Return the site file in use, or None."""
    project = [settings.project_file.parent] if settings.project_file else []
    candidates = (folder / SITE_FILE for folder in [*project, settings.user_file.parent])
    return next((path for path in candidates if path.is_file()), None)


def load_site(settings: Settings) -> Site:
    """Return the hosts; without a site file only this machine.

    Raises
    ------
    SpecError
        The site file cannot be understood; file and line are named.
    """
    check_package("setup")
    from setup.site import Site

    path = site_file(settings)
    if path is None:
        return Site()
    return read_site(path)


def read_site(path: Path) -> Site:
    """Return the hosts of one site file, and of the shipped site that it extends.

    Raises
    ------
    SpecError, NotFound
        It cannot be understood; there is no such file, or no such site comes with `orch`.
    """
    check_package("setup")
    from setup.site import Site, shipped

    from .yamlfile import load

    document = load(path)
    name = document.value.get("extends") if isinstance(document.value, dict) else None
    return Site.of(document, read_site(shipped(str(name))) if name else None)


def chosen(settings: Settings, names: Sequence[str], every: bool) -> list[Host]:
    """Return the hosts that a command is for: those named, all of the site file, or this machine.

    Raises
    ------
    NotFound
        No host has that name; the nearest one is named. Or there is no site file.
    UsageError
        Both names and all were asked for.
    """
    site = load_site(settings)
    if names and every:
        raise UsageError("--host names some hosts, --all takes every one", "leave one of the two out")
    _refuse_without_file(settings, names)
    others = [name for name, host in site.hosts.items() if not host.is_local]
    wanted = list(dict.fromkeys(names)) or (others if every else []) or ["local"]
    return [_at_home(site.host(name), settings) for name in wanted]


def _refuse_without_file(settings: Settings, names: Sequence[str]) -> None:
    """Say that nothing is known of any host, when that is why a name leads nowhere."""
    other = next((name for name in names if name != "local"), None)
    if other is None or site_file(settings):
        return
    place = (settings.project_file.parent if settings.project_file else settings.user_file.parent) / SITE_FILE
    hint = f"write {place} with the line:  hosts: {{{other}: {{ssh: {other}}}}}   (the name that your own ssh knows)"
    raise NotFound(f"no host '{other}': there is no site file yet", hint)


def _at_home(host: Host, settings: Settings) -> Host:
    """Give this machine the orch home of the settings; they know nothing of paths on other machines."""
    return replace(host, home=str(settings.home)) if host.is_local and not host.home else host


def connect(host: Host, first: tuple[str, Mapping[str, Any]] | None = None) -> Wire:
    """Open the wire to a host's agent; the first question may go along with it.

    Raises
    ------
    AccessError, Unreachable, NotFound
        The host refuses us, does not answer, or nobody knows its name.
    """
    check_package("setup")
    from setup.ways import open_pipe

    return Wire(open_pipe(host), first=first)
