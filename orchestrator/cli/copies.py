"""What `orch data` does with copies on hosts that do not share this home: copy and verify."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from jobs import host as machine
from jobs.errors import Findings
from jobs.folder import Home
from jobs.visible import visible

from .. import copying, datasets, rsyncing
from ..config import Settings
from ..dispatch import Contact
from ..origins import Here, Origin, There
from ..price import size
from ..progress import duration
from ..words import counted
from .output import Output
from .parser import Parser


def add_copy(parser: Parser) -> None:
    """Declare `orch data copy`."""
    copy = parser.add_verb(
        "copy",
        "Bring a data set to a host that does not share this home; only what is missing there is sent",
        "orch data copy liver --host ada",
    )
    copy.add_argument("name", help="name of the data set")
    copy.add_argument("--host", required=True, metavar="HOST", help="name of the site file")
    copy.add_argument("--from", dest="origin", metavar="HOST", help="host on which it is registered (default: here)")
    copy.add_argument("--replace", action="store_true", help="let the name stand for other contents than before")
    copy.add_argument(
        "--via",
        choices=("wire", "rsync", "auto"),
        default="wire",
        help="how the files travel: over the connection that is open anyway (default), by rsync over a second one, or "
        "by rsync where both ends have it",
    )
    copy.add_argument("--dry-run", action="store_true", help="only say what would be sent")


def copy(args: Namespace, settings: Settings, out: Output, home: Home, identity: Mapping[str, Any]) -> int:
    """Bring a data set to a host."""
    with ExitStack() as stack:
        origin = _origin(args, settings, home, stack)
        contact = stack.enter_context(Contact(settings, host=args.host))
        if contact.home_id == _home_of(origin, identity):
            return _nothing(args, out, f"{args.host} has the orch home of {origin.name}: {args.name} is there")
        with bar(out, "comparing", copying.total(origin)) as progress:
            offered = copying.offer(contact, args.name, origin, args.replace, progress)
        if offered.registered:
            return _nothing(args, out, f"{args.name} is registered on {args.host} with these contents")
        if args.dry_run:
            out.json({"host": args.host, "files": len(offered.due), "bytes": offered.bytes, "sent": False})
            out.result(f"{args.host} lacks {_amount(offered)} of {args.name}")
            return 0
        copying.refuse_lacking(args.host, offered)
        if args.via == "rsync":
            rsyncing.refuse_unfit(settings, args.host, offered)
        began = time.monotonic()
        copying.remember(home, args.name, contact, origin, whole=False)
        with bar(out, f"{args.name} to {args.host}", offered.bytes) as progress:
            _send(args, settings, copying.Sender(contact, args.name, origin, progress), offered, progress)
        copying.keep(contact, args.name, origin, args.replace)
        copying.remember(home, args.name, contact, origin, whole=True)
    out.json({"host": args.host, "files": len(offered.due), "bytes": offered.bytes, "sent": True})
    whole = f"{counted(len(origin.volumes), 'file')} verified there"
    out.result(f"{args.name} is on {args.host}: {_amount(offered)} sent in {time.monotonic() - began:.1f} s, {whole}")
    out.next(f"orch sweep augmentations --data {args.name} --hosts {args.host}")
    return 0


def _origin(args: Namespace, settings: Settings, home: Home, stack: ExitStack) -> Origin:
    if not args.origin:
        return Here(datasets.manifest(home, args.name))
    return There(stack.enter_context(Contact(settings, create=False, host=args.origin)), args.name)


def _home_of(origin: Origin, identity: Mapping[str, Any]) -> str:
    return origin.home_id if isinstance(origin, There) else str(identity["id"])


def _amount(offered: copying.Offer) -> str:
    return f"{counted(len(offered.due), 'file')}, {size(offered.bytes)}"


def _send(
    args: Namespace, settings: Settings, sender: copying.Sender, offered: copying.Offer, progress: copying.Progress
) -> None:
    if offered.due and args.via != "wire" and not rsyncing.unfit(settings, args.host, offered):
        sender.make_room(*offered.due[0])
        rsyncing.send(settings, args.host, offered, progress)
        sender.seal(offered.due)
    else:
        sender.send(offered.due)


def add_verify(parser: Parser) -> None:
    """Declare `orch data verify`."""
    verify = parser.add_verb(
        "verify",
        "Read all files of a data set where they lie and compare their hashes",
        "orch data verify liver --host ada",
    )
    verify.add_argument("name", help="name of the data set")
    verify.add_argument("--host", metavar="HOST", help="name of the site file (default: this machine)")


def verify(args: Namespace, settings: Settings, out: Output, home: Home) -> int:
    """Compare the hashes of all files with the registration; exit 6 when some differ."""
    where = args.host or machine.name()
    with Contact(settings, create=False, host=args.host) as contact:
        known = copying.remembered(home, args.name).get(contact.name, {})
        with bar(out, "reading", int(known.get("bytes", 0))) as progress:
            told = copying.ended(contact.wire.stream("verify_data", name=args.name), progress)
    read = f"{counted(told['files'], 'file')}, {size(told['bytes'])} read on {where}"
    if told["differ"]:
        lines = [f"{one['case']} {one['role']}: {one['why']}" for one in told["differ"]]
        hint = f"orch data copy {args.name} --host {args.host}" if args.host else "put the old files back"
        text = f"{args.name} is not as registered in {counted(len(lines), 'place')} ({read}):"
        raise Findings("\n  ".join([text, *lines]), hint, differ=told["differ"])
    out.json({"name": args.name, "host": where, **told})
    out.result(f"{args.name}: {read}, all as registered")
    return 0


def described(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return where copies are, in one cell: `ada 3.1 GB, 4 h 10 ago`."""
    return "; ".join(map(_described, records.values()))


def _described(record: Mapping[str, Any]) -> str:
    if "bytes" not in record:
        return f"{record['host']}?"
    begun = "" if record.get("whole") else ", not whole"
    return f"{record['host']} {size(record['bytes'])}{begun}, {duration(time.time() - record['t'])} ago"


def _nothing(args: Namespace, out: Output, why: str) -> int:
    out.json({"host": args.host, "files": 0, "bytes": 0, "sent": False})
    out.result(f"nothing to do: {why}")
    return 0


@contextmanager
def bar(out: Output, title: str, total: int) -> Iterator[copying.Progress]:
    """Show bytes as a bar with rate and remaining time, on a terminal."""
    if not out.progress or not total:
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    text = TextColumn("{task.description}", markup=False)
    shape = (text, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*shape, console=out.console(), transient=True) as shown:
        task = shown.add_task(visible(title), total=total)
        yield lambda count: shown.update(task, advance=count)
