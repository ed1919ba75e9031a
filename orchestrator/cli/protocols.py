"""`orch protocols`: write the access protocols of the site's hosts, in French and English, as Markdown and Word."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import __version__
from jobs.errors import UsageError

from ..config import Settings
from ..inventory import load_site, read_site
from ..words import counted
from .output import Output
from .parser import Parser
from .table import COMMANDS

if TYPE_CHECKING:
    from setup.known import Known
    from setup.site import Site

FORMATS = ("md", "docx")
EXAMPLES = """
orch protocols
orch protocols --user alice --out ~/welcome
orch protocols --site pilcam2 --expected
"""


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("--out", metavar="FOLDER", default="docs/protocols", help="folder (default: docs/protocols)")
    parser.add_argument("--site", metavar="SITE", help="a site file, or a site that comes with orch (pilcam2)")
    parser.add_argument("--user", metavar="NAME", help="the reader's name on the hosts")
    parser.add_argument("--format", choices=FORMATS, help="only this format (default: both)")
    parser.add_argument("--expected", action="store_true", help="as the site file says, without what was measured")
    parser.add_argument(
        "--date", metavar="DAY", help="date in the documents, as 2026-11-23 (SOURCE_DATE_EPOCH; default: today)"
    )


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Write all files of the site."""
    site = _site(args.site, settings)
    from setup import protocols

    known = {} if args.expected else _known(site, settings)
    found = protocols.guides(site, known, COMMANDS, args.user)
    pages = protocols.documents(found, _day(args.date), __version__)
    written = protocols.files(pages, [args.format] if args.format else FORMATS)
    folder = Path(args.out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in written.items():
        (folder / name).write_bytes(data)
    out.json({"folder": str(folder), "files": sorted(written), "measured": sorted(known)})
    out.result("\n".join(str(folder / name) for name in sorted(written)))
    missing = [name for name, host in site.hosts.items() if not host.is_local and name not in known]
    out.note(f"wrote {counted(len(written), 'file')}")
    if missing and not args.expected:
        out.note(f"not measured yet, described as the site file says: {', '.join(missing)}")
        out.next("orch doctor --all")
    return 0


def _site(name: str | None, settings: Settings) -> Site:
    if name is None:
        return load_site(settings)
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return read_site(Path(name).expanduser())
    from setup.site import shipped

    return read_site(shipped(name))


def _known(site: Site, settings: Settings) -> dict[str, Known]:
    from setup.known import recall

    found = {name: recall(settings.state, name) for name in site.hosts}
    return {name: known for name, known in found.items() if known and known.facts}


def _day(given: str | None) -> str:
    if given is None:
        seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
        return time.strftime("%Y-%m-%d", time.gmtime(int(seconds) if seconds.isdecimal() else None))
    try:
        time.strptime(given, "%Y-%m-%d")
    except ValueError:
        raise UsageError(f"--date: '{given}' is no day", "write it as 2026-11-23") from None
    return given
