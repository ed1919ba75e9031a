"""Judges what `jobs.truths` measured on a host: a row for each truth, with evidence and repair. Pure; no connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jobs.errors import OrchError

from .expected import differences
from .gpudriver import cuda_of
from .patient import Patient
from .rows import FOUND, NOTE, OK, UNKNOWN, Row, error_of, gigabytes, value_of
from .site import LOCAL, Host
from .slurmrows import slurm_rows
from .wheels import choose
from .wheeltable import table

SHELL_NOTE, SHELL_FOUND = 0.5, 2.0  # seconds that a remote command may wait for start-up files
SKEW_FOUND = 5.0  # seconds between clocks after which times in logs mislead people; order never hangs on them
LEAST_FREE = 10_000_000_000  # bytes: an environment with CUDA libraries, and room for a sweep's checkpoints
LEAST_FILES = 100_000  # an environment holds about 40,000 files
SLOW_WRITE = 2.0  # seconds for 16 small files and 4 MiB, synced
NEARLY_FULL = 0.9  # of a quota


def examine(patient: Patient, host: Host | None = None) -> list[Row]:
    """Return all rows for a host that answered, in the order in which people read them.

    Parameters
    ----------
    host:
        What the site file says of it: where it expects something else than was measured, both are shown.
    """
    rows = [row for check in _CHECKS for row in check(patient)]
    return [*rows, *differences(host, patient)] if host else rows


def silent(error: OrchError) -> Row:
    """Return the row of a host that could not be reached."""
    return Row("reachable", FOUND, error.message, error.hint)


def _unmeasured(patient: Patient, truth: str, check: str) -> Iterator[Row]:
    why = error_of(patient.truths, truth)
    if why:
        yield Row(check, UNKNOWN, f"could not be measured: {why}", "look at the host by hand, then ask again")


def _machine(patient: Patient) -> Iterator[Row]:
    yield from _unmeasured(patient, "machine", "machine")
    if patient.facts:
        facts = patient.facts
        libc = f"glibc {facts.glibc}" if facts.glibc else "no glibc"
        yield Row("machine", OK, f"{facts.architecture} · {facts.os} · {libc} · kernel {facts.kernel}")
        memory = f", {facts.memory_mb.value / 1024:.0f} GB memory" if facts.memory_mb.value else ""
        yield Row("cores", OK, f"{facts.cpus}{memory}")
        yield Row("python", OK, f"{facts.python} ({facts.executable})")


def _cards(patient: Patient) -> Iterator[Row]:
    facts = patient.facts
    if facts is None:
        return
    if not facts.cards:
        state = OK if "no nvidia-smi" in facts.cards_reason else FOUND
        repair = "" if state == OK else "tell your administrator: the driver does not answer"
        yield Row("gpu", state, f"none ({facts.cards_reason})", repair)
    for card in facts.cards:
        memory = f"{card.memory_total_mb / 1024:.0f} GB" if card.memory_total_mb else "memory not told"
        cuda = cuda_of(card.driver)
        driver = f"driver {card.driver}" + (f" (CUDA {cuda})" if cuda else "")
        capability = f"capability {card.capability}" if card.capability else "capability not told"
        yield Row("gpu", OK, f"{card.index}: {card.name} · {capability} · {memory} · {driver}")


def _load(patient: Patient) -> Iterator[Row]:
    if not patient.facts or not patient.facts.cards:
        return
    yield from _unmeasured(patient, "load", "gpu load")
    users = value_of(patient.truths, "load") or []
    foreign = [one for one in users if one["foreign"]]
    busy = [
        f"GPU {card.index}: {card.utilization} % busy" for card in patient.facts.cards if card.utilization is not None
    ]
    if foreign:
        listed = ", ".join(map(_user, foreign))
        yield Row("gpu load", NOTE, f"others compute here: {listed}", "jobs of orch wait for free cards by themselves")
    elif users is not None:
        yield Row("gpu load", OK, f"nobody else computes here ({', '.join(busy) or 'use not told'})")


def _user(one: Mapping[str, Any]) -> str:
    memory = f", {one['memory_mb'] / 1024:.1f} GB" if one["memory_mb"] is not None else ""
    return f"{one['user'] or 'somebody'} ({one['program']}{memory})"


def _wheel(patient: Patient) -> Iterator[Row]:
    if patient.facts is None:
        return
    try:
        choice = choose({patient.name: patient.facts}, table())
    except OrchError as error:
        state = FOUND if patient.facts.cards else NOTE
        yield Row("torch wheel", state, error.message, error.hint)
        return
    warning = f"; {choice.warnings[0]}" if choice.warnings else ""
    yield Row("torch wheel", OK, f"{choice.builds[patient.name]}: {choice.reason}{warning}")


def _environments(patient: Patient) -> Iterator[Row]:
    yield from _unmeasured(patient, "envs", "environment")
    setup = f"orch setup --host {patient.name}"
    found = value_of(patient.truths, "envs")
    for env in found or []:
        name = f"{env['lock']}{' torch ' + str(env['torch']) if env['torch'] else ''}"
        if env["state"] == "verified":
            yield Row("environment", OK, f"{name}: verified")
        else:
            yield Row("environment", FOUND, f"{name}: {env['state']}: {env['reason']}", setup)
    if found == []:
        yield Row("environment", NOTE, f"none of orch's under {patient.home}", setup)


def _conda(patient: Patient) -> Iterator[Row]:
    yield from _unmeasured(patient, "conda", "conda")
    found = value_of(patient.truths, "conda")
    if found is None:
        return
    running = [one for one in found["installations"] if one["runs"]]
    others = [one for one in found["installations"] if not one["runs"]]
    listed = [f"{one['kind']} {one['version'] or ''} at {one['prefix']}".replace("  ", " ") for one in running]
    if running:
        yield Row("conda", OK, ", ".join(listed))
    else:
        lacks = f"none runs here ({others[0]['prefix']} is for {others[0]['machine']})" if others else "none found"
        yield Row("conda", NOTE, lacks, f"orch setup --host {patient.name} offers to install Miniforge")
    for one in running:
        if one["defaults"]:
            text = f"{one['prefix']} uses Anaconda's channel `defaults`, which is not free for every laboratory"
            yield Row("conda channel", NOTE, text, "orch uses conda-forge alone; for your own use install Miniforge")
    foreign = [env["prefix"] for env in found["envs"] if not env["runs"]]
    if foreign:
        text = f"{len(foreign)} of {len(found['envs'])} are for another processor, first {foreign[0]}"
        yield Row("conda envs", NOTE, text, "do not activate them here; orch makes its own for each processor")


def _home(patient: Patient) -> Iterator[Row]:
    yield from _unmeasured(patient, "home_disk", "home disk")
    disk, room = value_of(patient.truths, "home_disk"), f"free some space, or name another: {_another_home(patient)}"
    if not disk:
        return
    where = f"{patient.home} on {disk['kind'] or 'an unknown file system'}{' (network)' if disk['on_network'] else ''}"
    free = f"{gigabytes(disk['free_bytes'])} free"
    files = disk["free_files"]
    counted = "" if files is None else f", room for {files:,} files"
    if disk["read_only"]:
        yield Row("home disk", FOUND, f"{where} is mounted read-only", room)
    elif disk["free_bytes"] < LEAST_FREE or (files is not None and files < LEAST_FILES):
        yield Row("home disk", FOUND, f"{where}: only {free}{counted}", room)
    else:
        yield Row("home disk", OK, f"{where}: {free}{counted}")


def _another_home(patient: Patient) -> str:
    """How another orch home is named: for this machine in the settings, for a host in the site file."""
    return (
        "orch config home /path" if patient.name == LOCAL else f"`home: /path` beside {patient.name} in the site file"
    )


def _writing(patient: Patient) -> Iterator[Row]:
    yield from _unmeasured(patient, "home_write", "home writing")
    tried, room = value_of(patient.truths, "home_write"), "free some space or ask for more, then: orch doctor"
    if not tried:
        return
    if tried["error"]:
        text = f"{tried['folder']}: {tried['error']} after {tried['files']} small files and {tried['bytes']} bytes"
        full = tried["errno"] in ("ENOSPC", "EDQUOT")
        repair = room if full else f"name a folder that you may write: {_another_home(patient)}"
        yield Row("home writing", FOUND, text, repair)
    elif tried["reserved"] is False:
        yield Row("home writing", FOUND, f"{tried['folder']}: 1 GiB more is refused (quota or disk)", room)
    else:
        text = f"{tried['files']} files and {gigabytes(tried['bytes'])} written and synced in {tried['seconds']:.2f} s"
        more = "; 1 GiB more is granted" if tried["reserved"] else ""
        slow = tried["seconds"] > SLOW_WRITE
        hint = f"keep checkpoints on a faster disk: {_another_home(patient)}" if slow else ""
        yield Row("home writing", NOTE if slow else OK, text + more, hint)


def _quota(patient: Patient) -> Iterator[Row]:
    for row in value_of(patient.truths, "quota") or []:
        shares = [(row["used_bytes"], row["limit_bytes"]), (row["used_files"], row["limit_files"])]
        full = any(limit and used / limit > NEARLY_FULL for used, limit in shares)
        limit = f" of {gigabytes(row['limit_bytes'])}" if row["limit_bytes"] else ", no limit"
        text = f"{row['path']}: {gigabytes(row['used_bytes'])} used{limit}, {row['used_files']:,} files"
        yield Row("quota", FOUND if full else OK, text, "free some space, or ask for more" if full else "")


def _locks(patient: Patient) -> Iterator[Row]:
    local = value_of(patient.truths, "local_locks")
    why = error_of(patient.truths, "local_locks") or (local and local["flock"])
    if why or not local["excludes"]:
        text = f"flock on the local disk: {why or 'a second holder is let in'}"
        yield Row("local locks", FOUND, text, "set ORCH_LOCAL to a folder on a local disk")
    else:
        yield Row("local locks", OK, "flock works and keeps a second holder out")
    home = value_of(patient.truths, "home_locks")
    said = error_of(patient.truths, "home_locks")
    refused = [f"{kind}: {home[kind]}" for kind in ("flock", "lockf") if home[kind]] if home else [said]
    if refused:
        text = f"in the home no lock can be had ({', '.join(refused)})"
        yield Row("home locks", NOTE, text, "orch needs none there; conda and mamba may hang: orch runs them without")
    else:
        yield Row("home locks", OK, "flock and lockf are granted in the home")


def _local(patient: Patient) -> Iterator[Row]:
    yield from _unmeasured(patient, "local_disk", "local disk")
    disk = value_of(patient.truths, "local_disk")
    if disk:
        kind = disk["kind"] or "an unknown file system"
        text = f"{disk['path'].rstrip('/')} on {kind}, {gigabytes(disk['free_bytes'])} free"
        repair = "set ORCH_LOCAL to a folder on a local disk" if disk["on_network"] else ""
        yield Row("local disk", FOUND if disk["on_network"] else OK, text, repair)


def _clocks(patient: Patient) -> Iterator[Row]:
    server = value_of(patient.truths, "home_clock")
    skews = [("this machine", patient.ahead), ("the home's file server", None if server is None else -server)]
    known = [(whom, ahead) for whom, ahead in skews if ahead is not None]
    text = ", ".join(f"{round(ahead, 1) + 0.0:+.1f} s against {whom}" for whom, ahead in known)
    wrong = any(abs(ahead) > SKEW_FOUND for _, ahead in known)
    if known:
        repair = "ask the administrator to start time synchronisation (chrony); nothing of orch hangs on it"
        yield Row("clock", FOUND if wrong else OK, text, repair if wrong else "")


def _detached(patient: Patient) -> Iterator[Row]:
    state = (value_of(patient.truths, "survivor") or {}).get("state", "not tried")
    if state == "survived":
        yield Row("detached jobs", OK, "a detached process outlived its connection (tried since the last boot)")
    elif state == "killed":
        text = "a detached process was killed when its connection ended (tried)"
        repair = "loginctl enable-linger; if that is refused, ask for KillUserProcesses=no in logind.conf"
        yield Row("detached jobs", FOUND, text, repair)
    else:
        yield Row(
            "detached jobs", UNKNOWN, "a process was planted; the next connection sees whether it lives", "orch doctor"
        )


def _shell(patient: Patient) -> Iterator[Row]:
    yield from _unmeasured(patient, "shell", "shell")
    shell = value_of(patient.truths, "shell")
    if not shell:
        return
    repair = "in the shell's start-up file return early when nobody types: case $- in *i*) ;; *) return;; esac"
    if shell["error"]:
        yield Row("shell", FOUND, f"{shell['shell']}: {shell['error']}", repair)
        return
    noise = f", its start-up files print {shell['printed']} bytes" if shell["printed"] else ""
    status = f", and end with {shell['status']}" if shell["status"] else ""
    text = f"{shell['shell']} costs {1000 * shell['seconds']:.0f} ms per remote command{noise}{status}"
    slow = FOUND if shell["seconds"] > SHELL_FOUND else NOTE
    state = slow if shell["seconds"] > SHELL_NOTE or noise or status else OK
    yield Row("shell", state, text, "" if state == OK else repair)


def _slurm(patient: Patient) -> Iterator[Row]:
    yield from _unmeasured(patient, "slurm", "slurm")
    found = value_of(patient.truths, "slurm")
    if not found:
        return
    yield from slurm_rows(found)


def _vscode(patient: Patient) -> Iterator[Row]:
    yield from _unmeasured(patient, "vscode", "vs code")
    for look in value_of(patient.truths, "vscode") or []:
        yield _vscode_row(look, f"orch setup --host {patient.name} --only vscode")
    if value_of(patient.truths, "vscode") == []:
        yield Row("vs code", OK, "no remote server in this home yet")


def _vscode_row(look: Mapping[str, Any], repair: str) -> Row:
    others = sorted({str(machine) for _, machine in look["pieces"] if machine not in (look["machine"], None)})
    parked = ", ".join(f"{shelf['machine']} ({len(shelf['names'])} pieces)" for shelf in look["parked"])
    beside = f"; parked: {parked}" if parked else ""
    alive = f"; alive: process {look['alive'][0]['pid']}" if look["alive"] else ""
    if look["unfinished"]:
        return Row("vs code", FOUND, f"{look['folder']}: a reset was interrupted{alive}{beside}", repair)
    if look["state"] in ("foreign", "mixed"):
        text = f"{look['folder']} holds programs for {', '.join(others)}, this host is {look['machine']}"
        return Row("vs code", FOUND, text + alive + beside, repair)
    if look["state"] == "unknown":
        text = f"{look['folder']}: a half-made server"
        return Row("vs code", NOTE, text + alive + beside, f"if VS Code does not connect: {repair} --reset-vscode")
    fits = "fits" if look["state"] == "fits" else "holds no server"
    return Row("vs code", OK, f"{look['folder']} {fits} ({len(look['extensions'])} extensions){alive}{beside}")


_CHECKS: tuple[Callable[[Patient], Iterator[Row]], ...] = (
    _machine,
    _cards,
    _load,
    _wheel,
    _environments,
    _conda,
    _home,
    _writing,
    _quota,
    _locks,
    _local,
    _clocks,
    _detached,
    _shell,
    _slurm,
    _vscode,
)
