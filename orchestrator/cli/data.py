"""`orch data`: registers data sets, lists and shows them, and checks that their files are still the same."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.errors import Findings, UsageError
from jobs.folder import Home

from .. import copying, datasets
from ..config import DataSource, Settings
from ..known_homes import open_own
from ..words import counted
from . import copies, forgetting
from .output import Output
from .parser import Parser
from .scanning import reader, trainer

EXAMPLES = """
orch data add liver data/imagesTr data/labelsTr
orch data add liver data --groups '^(P[0-9]+)_'
orch data add liver --csv volumes.csv
orch data list
orch data check liver
orch data copy liver --host ada
orch data forget liver
"""


def add_arguments(parser: Parser) -> None:
    """Declare the verbs."""
    add = parser.add_verb(
        "add", "Check all volumes once and register them under a name", EXAMPLES.strip().splitlines()[0]
    )
    add.add_argument("name", help="name of the data set")
    add.add_argument(
        "images", nargs="?", help="folder or glob pattern of the volumes; or a folder with imagesTr, labelsTr"
    )
    add.add_argument("labels", nargs="?", help="folder or glob pattern of the masks")
    add.add_argument("--csv", metavar="FILE", help="table with the columns image, label[, group][, case]")
    add.add_argument("--groups", metavar="REGEX", help="its one group is the patient, so that folds never split one")
    add.add_argument("--classes", metavar="A,B", help="names of the label values 1..n")
    add.add_argument("--replace", action="store_true", help="let the name stand for other contents than before")
    parser.add_verb("list", "All registered data sets", "orch data list --json")
    for verb, text in (("show", "What is known of a data set"), ("check", "Read all files again and compare")):
        one = parser.add_verb(verb, text, f"orch data {verb} liver")
        one.add_argument("name", help="name of the data set")
    copies.add_copy(parser)
    copies.add_verify(parser)
    forgetting.add_arguments(parser)


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Do what the verb says."""
    home, identity = open_own(settings)
    if args.verb == "add":
        return _add(args, settings, out, home, identity)
    if args.verb == "check":
        return _check(args, settings, out, home, identity)
    if args.verb == "copy":
        return copies.copy(args, settings, out, home, identity)
    if args.verb == "verify":
        return copies.verify(args, settings, out, home)
    if args.verb == "forget":
        return forgetting.run(args, settings, out, home)
    return _list(out, home) if args.verb == "list" else _show(args.name, out, home)


def _add(args: Namespace, settings: Settings, out: Output, home: Home, identity: Mapping[str, Any]) -> int:
    if bool(args.images) == bool(args.csv):
        raise UsageError("name either a folder of images or a table", "orch data add NAME IMAGES LABELS, or --csv FILE")
    given = {"images": args.images, "labels": args.labels, "csv": args.csv, "groups": args.groups}
    given["classes"] = args.classes.split(",") if args.classes else None
    source = DataSource.of(given, Path.cwd())
    with reader(out, "reading volumes") as progress:
        document = datasets.scan(identity, trainer(settings, home), args.name, source, progress)
    data = datasets.save(home, args.name, document, args.replace)
    out.json(_summary(document, data.name))
    out.result(f"registered {data.name}: {describe(document)}")
    for note in document.get("notes", ()):
        out.note(f"  {note}")
    suggested = document.get("suggested_groups")
    if suggested:
        out.warning(
            f"the names suggest several volumes of one patient ({_examples(suggested)}); so that folds never split "
            f"one: orch data add … --groups '{suggested['pattern']}' --replace"
        )
    out.next("orch sweep augmentations --data " + data.name)
    return 0


def _examples(suggested: Mapping[str, Any]) -> str:
    examples = suggested.get("examples") or []
    flat = examples.values() if isinstance(examples, dict) else examples
    first = next(iter(flat), "")
    return ", ".join(map(str, first)) if isinstance(first, list) else str(first)


def describe(document: Mapping[str, Any]) -> str:
    """Return one line on a manifest: `40 volumes of 38 patients, 320x320x72..96, classes bile ducts`."""
    cases = document["cases"]
    shapes = [case["shape"] for case in cases]
    sides = (sorted({shape[axis] for shape in shapes}) for axis in range(3))
    shown = "x".join(str(side[0]) if len(side) == 1 else f"{side[0]}..{side[-1]}" for side in sides)
    patients = len({case["group"] for case in cases})
    return (
        f"{counted(len(cases), 'volume')} of {counted(patients, 'patient')}, {shown} voxels, "
        f"classes {', '.join(document['classes'])}"
    )


def _summary(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    cases = document["cases"]
    return {
        "name": name,
        "hash": document["hash"],
        "classes": document["classes"],
        "volumes": len(cases),
        "patients": len({case["group"] for case in cases}),
        "sizes": document["sizes"],
        "notes": document.get("notes", []),
        "suggested_groups": document.get("suggested_groups"),
    }


def _list(out: Output, home: Home) -> int:
    found = {name: datasets.manifest(home, name) for name in datasets.names(home)}
    where = {name: copying.remembered(home, name) for name in found}
    out.json([{**_summary(document, name), "copies": list(where[name].values())} for name, document in found.items()])
    for name in copying.half_forgotten(home):
        hosts = ", ".join(copying.remembered(home, name))
        out.warning(f"{name} is not forgotten on {hosts} yet: orch data forget {name} --yes")
    if not found:
        out.note("No data set is registered.")
        out.next("orch data add NAME IMAGES LABELS")
        return 0
    rows = [(name, _summary(document, name)) for name, document in found.items()]
    columns = ["data", "volumes", "patients", "classes", "hash", "copies"]
    keys = ("volumes", "patients")
    cells = [[name, *(row[key] for key in keys), ", ".join(row["classes"]), row["hash"]] for name, row in rows]
    out.table(columns, [[*row, copies.described(where[row[0]])] for row in cells])
    return 0


def _show(name: str, out: Output, home: Home) -> int:
    document = datasets.manifest(home, name)
    missing = datasets.missing_files(document)
    source = {key: value for key, value in document.get("source", {}).items() if value}
    out.json({**_summary(document, name), "source": source, "manifest": home.manifest(name), "missing": missing})
    lines = [f"{name}: {describe(document)}", f"  hash      {document['hash']}"]
    lines += [f"  {key:<9} {value if isinstance(value, str) else ', '.join(value)}" for key, value in source.items()]
    lines += [f"  manifest  {home.manifest(name)}", *(f"  {note}" for note in document.get("notes", ()))]
    out.result("\n".join(lines))
    if missing:
        out.warning(f"{counted(len(missing), 'file')} no longer there, first {missing[0]}")
    return 0


def _check(args: Namespace, settings: Settings, out: Output, home: Home, identity: Mapping[str, Any]) -> int:
    before = datasets.manifest(home, args.name)
    if before.get("copy"):
        raise UsageError(f"{args.name} is a copy here: it has no folder to look into", f"orch data verify {args.name}")
    source = DataSource(**before["source"])
    with reader(out, "reading volumes") as progress:
        after = datasets.scan(identity, trainer(settings, home), args.name, source, progress)
    changed = _changed(before, after)
    if after["hash"] != before["hash"]:
        raise Findings(
            f"the files of {args.name} changed since it was registered: {', '.join(changed) or 'patients or classes'}",
            f"put the old files back, or register them under another name: orch data add {args.name}-2 …",
            changed=changed,
        )
    out.json({"name": args.name, "hash": after["hash"], "changed": []})
    out.result(f"{args.name}: {counted(len(after['cases']), 'volume')} read, all as registered ({after['hash']})")
    return 0


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    def hashes(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        return {case["case"]: (case["image_sha256"], case["label_sha256"]) for case in document["cases"]}

    old, new = hashes(before), hashes(after)
    return sorted(case for case in {*old, *new} if old.get(case) != new.get(case))
