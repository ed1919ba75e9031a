"""`orch data forget`: every copy of a data set is listed, then deleted for good; silent hosts are asked next time."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from jobs.errors import OrchError, Unreachable
from jobs.folder import Home

from .. import forgetting
from ..config import Settings
from ..fleet import Fleet
from ..forgetting import Subject, Told
from ..price import size
from ..words import counted
from .output import Output
from .parser import Parser


def add_arguments(parser: Parser) -> None:
    """Declare the verb."""
    forget = parser.add_verb(
        "forget",
        "List every copy of a data set on all hosts; with --yes delete them for good (results and originals stay)",
        "orch data forget liver\norch data forget liver --yes",
    )
    forget.add_argument("name", help="name of the data set")
    forget.add_argument("--host", metavar="HOST", help="only what this host holds (default: all hosts)")
    forget.add_argument("--yes", action="store_true", help="do it; without it only the list is shown")
    forget.add_argument("--dry-run", action="store_true", help="only show the list")


def run(args: Namespace, settings: Settings, out: Output, home: Home) -> int:
    """List; with `--yes` delete. Exit 5 when a host did not answer: the same command asks it the next time."""
    subject = Subject.of(home, args.name)
    hosts, silent = forgetting.hosts_of(settings, subject, args.host)
    with Fleet.open(settings, hosts, create=False) as fleet:
        held = forgetting.look(fleet, home, subject, args.host)
        silent |= {name: error for name, error in fleet.silent.items() if args.host in (None, name)}
        _show(subject, held, silent, out)
        if args.dry_run or not args.yes:
            return _only_shown(args, held, silent, out)
        forgetting.refuse_live(subject, held)
        forgetting.postpone(home, subject, list(silent))
        done = forgetting.forget(fleet, subject, held)
        left = {**silent, **{name: told for name, told in done.items() if isinstance(told, OrchError)}}
        forgetting.postpone(home, subject, list(left))
        forgetting.write_down(fleet, home, subject, done, left)
    nothing = [name for name in subject.records if name not in held and args.host in (None, name)]
    forgetting.close(home, subject, [name for name in [*done, *nothing] if name not in left])
    return _conclude(args, subject, done, left, out)


def _show(subject: Subject, held: Mapping[str, Told], silent: Mapping[str, OrchError], out: Output) -> None:
    rows: list[list[Any]] = [[name, *_row(told)] for name, told in held.items()]
    rows += [
        [name, *_remembered(subject.records.get(name)), f"not reachable: {silent[name].message}"] for name in silent
    ]
    out.table(["host", "files", "bytes", "slices", "what"], rows)


def _row(told: Told) -> list[Any]:
    slices = size(told["slice_bytes"]) if told["slices"] else None
    if not told["mine"]:
        return [None, None, slices, f"other contents under this name ({told['hash']}): they stay"]
    copied = [told["files"], size(told["bytes"])] if told["files"] else [None, None]
    if told["original"]:
        return [*copied, slices, f"registered in place: its registration goes, {told['original']} stays"]
    return [*copied, slices, "a copy: deleted for good" if told["files"] else "what jobs decoded: deleted for good"]


def _remembered(record: Told | None) -> list[Any]:
    """What was written down of a copy on a host that does not answer: files, bytes, slices."""
    if not record or "files" not in record:
        return [None, None, "?"]
    return [record["files"], size(record["bytes"]), "?"]


def _only_shown(args: Namespace, held: Mapping[str, Told], silent: Mapping[str, OrchError], out: Output) -> int:
    listed = {
        name: {key: told[key] for key in ("files", "bytes", "original", "slice_bytes")} for name, told in held.items()
    }
    out.json({"data": args.name, "hosts": listed, "silent": sorted(silent), "forgotten": []})
    if not args.dry_run:
        out.note("Nothing was deleted. What is deleted here is not parked: it does not come back. Results are kept.")
    chosen = f" --host {shlex.quote(args.host)}" if args.host else ""
    out.next(f"orch data forget {args.name}{chosen} --yes")
    return 0


def _conclude(
    args: Namespace,
    subject: Subject,
    done: Mapping[str, Told | OrchError],
    left: Mapping[str, OrchError],
    out: Output,
) -> int:
    gone = {name: told for name, told in done.items() if not isinstance(told, OrchError)}
    out.json({"data": args.name, "forgotten": gone, "left": {name: error.to_json() for name, error in left.items()}})
    for name, told in gone.items():
        amount = f"{counted(told['files'], 'file')}, {size(told['bytes'])} deleted for good"
        original = f"; the original stays: {told['original']}" if told["original"] else ""
        out.result(f"{name}: {amount if told['files'] else 'forgotten'}{original}")
    for name, error in left.items():
        out.warning(f"{name} has not forgotten {args.name}: {error.message}")
    if not left:
        out.result(f"{args.name} is forgotten{f' on {args.host}' if args.host else ''}; results are kept")
        return 0
    out.next(f"orch data forget {args.name} --yes, once {', '.join(left)} can be asked")
    return Unreachable.exit_code if any(name not in done for name in left) else OrchError.exit_code
