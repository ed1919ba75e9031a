"""A data set is forgotten on every host: what each holds, what hinders it, and what waits for a host that is silent."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from jobs.atomic import read_json
from jobs.errors import NotFound, OrchError
from jobs.folder import Home

from . import copying, datasets
from .collect import every_host
from .config import Settings
from .dispatch import LOCAL, Contact, user
from .fleet import Fleet
from .price import size
from .words import counted, did_you_mean

Told = Mapping[str, Any]


class Subject(NamedTuple):
    """The data set that is to be forgotten.

    Attributes
    ----------
    name, hash:
        Its name, and the hash of its contents where this home, or what it wrote down of copies, says it.
    contents:
        SHA-256 of image and mask of each volume, where that is known here: by it slices are found.
    records:
        What was written down of its copies, by host.
    """

    name: str
    hash: str | None
    contents: list[list[str]] | None
    records: Mapping[str, Told]

    @classmethod
    def of(cls, home: Home, name: str) -> Subject:
        """Read what this machine's home knows."""
        known = read_json(home.manifest(name)) or {}
        records = copying.remembered(home, name)
        contents = [[case["image_sha256"], case["label_sha256"]] for case in known.get("cases", ())]
        earlier = next((one["contents"] for one in records.values() if one.get("contents")), None)
        said = next((one["hash"] for one in records.values() if one.get("hash")), None)
        return cls(name, known.get("hash") or said, contents or earlier, records)


def hosts_of(settings: Settings, subject: Subject, only: str | None) -> tuple[list[str], dict[str, OrchError]]:
    """Return the hosts to ask, this machine first, and those that had a copy and cannot be asked any more."""
    site = every_host(settings)
    if only:
        return list(dict.fromkeys([*(name for name in site if name == LOCAL), only])), {}
    text, hint = "it is no longer in the site file", "put it back into the site file, then the same command again"
    return site, {name: OrchError(text, hint) for name in subject.records if name not in site}


def look(fleet: Fleet, home: Home, subject: Subject, only: str | None) -> dict[str, Told]:
    """Ask all hosts (or one) what they hold; those that hold nothing, and of which nothing was written, are left out.

    Raises
    ------
    NotFound
        Nobody knows such a data set.
    """
    asked = {"name": subject.name, "hash": subject.hash, "contents": subject.contents}

    def weigh(contact: Contact) -> Told:
        if only not in (None, contact.name):
            return {}
        return copying.ended(contact.wire.stream("weigh_data", **asked, others=fleet.beside(contact)))

    told = fleet.each(weigh)
    held = {name: one for name, one in told.items() if one and _holds(one)}
    if not held and not subject.records and not subject.hash:
        known = datasets.names(home)
        text = f"no data set named '{subject.name}' on any host that answers{did_you_mean(subject.name, known)}"
        raise NotFound(text, "orch data list", known=known)
    return held


def _holds(told: Told) -> bool:
    return bool(told["hash"] or told["files"] or told["slices"] or told["live"])


def refuse_live(subject: Subject, held: Mapping[str, Told]) -> None:
    """Refuse while jobs use it.

    Raises
    ------
    OrchError
        With the jobs, and the command that ends them.
    """
    live = sorted({job for one in held.values() for job in one["live"]})
    if live:
        sweeps = " ".join(sorted({job.split("/")[0] for job in live}))
        text = f"{subject.name} is used by {len(live)} jobs that wait or run: {', '.join(live[:5])}"
        raise OrchError(text, f"wait for them, or: orch stop {sweeps}", jobs=live)


def forget(fleet: Fleet, subject: Subject, held: Mapping[str, Told]) -> dict[str, Told | OrchError]:
    """Let each host forget; return what each deleted, or why it did not. This machine is last: it knows the others.

    Hosts are asked one after the other: those of one home would delete the same files.
    """
    done: dict[str, Told | OrchError] = {}
    concerned = [name for name, told in held.items() if told["mine"] or told["slices"]]
    for name in sorted(concerned, key=lambda name: name == LOCAL):
        contact = fleet.contacts[name]
        asked = {"name": subject.name, "hash": subject.hash or held[name]["hash"], "slices": held[name]["slices"]}
        try:
            stream = contact.wire.stream("forget_data", **asked, by=user(), others=fleet.beside(contact))
            done[name] = copying.ended(stream)
        except OrchError as error:
            done[name] = error
    return done


def postpone(home: Home, subject: Subject, left: Sequence[str]) -> None:
    """Write down which hosts have still to forget, before anything is deleted: the next call asks them again."""
    for name in left:
        wish = {"forget": {"by": user(), "t": time.time()}, "contents": subject.contents, "hash": subject.hash}
        copying.note(home, subject.name, {"host": name, **subject.records.get(name, {}), **wish})


def write_down(
    fleet: Fleet, home: Home, subject: Subject, done: Mapping[str, Told | OrchError], left: Mapping[str, OrchError]
) -> None:
    """Let this home's journal say where copies were, and which are gone: when, by whom, no name of a file."""
    gone = {name: told for name, told in done.items() if not isinstance(told, OrchError) and told["files"]}
    where = [f"{name}: {_amount(told)}, gone" for name, told in gone.items()]
    where += [f"{name}: {_amount(subject.records.get(name, {}))}, not forgotten yet" for name in left]
    own = fleet.of_home((read_json(home.identity) or {}).get("id", ""))
    if own:
        text = f"copies of {subject.name} ({subject.hash}): {'; '.join(where) or 'none'}; by {user()}"
        own.wire.call("note", sweep="", job=None, kind="data", text=text)


def _amount(told: Told) -> str:
    return (
        f"{counted(told['files'], 'file')}, {size(told['bytes'])}" if "files" in told else "what it holds is not known"
    )


def close(home: Home, subject: Subject, done: Sequence[str]) -> None:
    """Strike hosts that have forgotten off the list; the list goes with the last."""
    folder = Path(home.copies(subject.name))
    for name in done:
        with suppress(FileNotFoundError):
            (folder / f"{name}.json").unlink()
    for path in (folder, folder.parent):
        with suppress(OSError):  # not empty, or not there
            os.rmdir(path)  # noqa: PTH106
