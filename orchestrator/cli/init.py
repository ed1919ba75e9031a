"""`orch init`: looks at a data folder and writes the project file and a first sweep, with comments."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.atomic import write_bytes
from jobs.errors import NotFound, SpecError, UsageError, disk_error
from jobs.folder import valid_name

from .. import datasets
from ..config import PROJECT_FILE, DataSource, Settings
from ..inventory import SITE_FILE
from ..known_homes import open_own
from ..project import new_id
from ..sitewriting import write_site
from ..sweep import SHIPPED
from ..userfile import quoted
from ..words import counted
from .data import describe
from .output import Output
from .parser import Parser
from .scanning import reader, trainer

EXAMPLES = """
orch init
orch init ~/data/liver --name liver
orch init data/images --labels data/masks
"""
SWEEP = "sweeps/augmentations.yaml"
_DEPTH = 3  # folders below the given one that are looked at
_IMAGES = ("imagestr", "images", "image", "imgs", "volumes")
_LABELS = ("labelstr", "labels", "label", "masks", "mask", "segmentations")
_VOLUMES = (".nii", ".nii.gz")


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("folder", nargs="?", default=".", help="where the volumes are (default: this folder)")
    parser.add_argument("--labels", metavar="FOLDER", help="folder of the masks, when it cannot be guessed")
    parser.add_argument("--name", metavar="NAME", help="name of the data set (default: the folder's)")
    parser.add_argument("--force", action="store_true", help=f"write over {PROJECT_FILE} and {SWEEP}")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Look, register, write."""
    base = Path.cwd()
    _refuse_existing(base, args.force)
    source = _source(Path(args.folder).expanduser().absolute(), args.labels)
    name = args.name or _name(source, base)
    home, identity = open_own(settings)
    program = trainer(settings, home)
    with reader(out, "reading volumes") as progress:
        document = datasets.scan(identity, program, name, source, progress)
        suggested = document.get("suggested_groups")
        if suggested:
            source = source._replace(groups=suggested["pattern"])
            document = datasets.scan(identity, program, name, source, progress)
    datasets.save(home, name, document, replace=True)
    _write(base / PROJECT_FILE, _project(name, source, base, _id(settings, base)))
    _write(base / SWEEP, _sweep(name))
    hosts = write_site(base, settings)
    files = [PROJECT_FILE, SWEEP, *([SITE_FILE] if hosts else [])]
    told = {"data": name, "source": source._asdict(), "hash": document["hash"], "files": files, "hosts": hosts}
    out.json(told)
    _tell(out, document, source, suggested)
    _tell_files(out, files, hosts)
    return 0


def _refuse_existing(base: Path, force: bool) -> None:
    there = [name for name in (PROJECT_FILE, SWEEP) if (base / name).exists()]
    if there and not force:
        raise UsageError(
            f"{' and '.join(there)} exist here already", "edit them, or write over them: orch init --force"
        )


def _source(folder: Path, labels: str | None) -> DataSource:
    """Return where the volumes and masks are: the folder itself, or the first fitting pair of folders below it.

    Raises
    ------
    NotFound
        Nothing that looks like images with masks is there.
    """
    if labels:
        return DataSource(str(folder), str(Path(labels).expanduser().absolute()))
    for place in _folders(folder, _DEPTH):
        children = {child.name.lower(): child for child in _children(place)}
        images = next((children[name] for name in _IMAGES if name in children and _has_volumes(children[name])), None)
        masks = next((children[name] for name in _LABELS if name in children and _has_volumes(children[name])), None)
        if images and masks:
            return DataSource(str(images), str(masks))
    raise NotFound(
        f"found no folder of NIfTI volumes beside a folder of masks below {folder}",
        "name both: orch init IMAGES --labels MASKS; a table of files: orch data add NAME --csv FILE",
    )


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    level = [folder]
    for _ in range(depth):
        yield from level
        level = [child for place in level for child in _children(place)]


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _has_volumes(folder: Path) -> bool:
    return any(path.name.endswith(_VOLUMES) for path in folder.iterdir())


def _name(source: DataSource, base: Path) -> str:
    parent = Path(str(source.images)).parent
    for word in (parent.name, base.name):
        if valid_name(word) and word.lower() not in ("data", "dataset"):
            return word
    return "volumes"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())
    except OSError as error:
        raise disk_error(error, str(path)) from error


def _id(settings: Settings, base: Path) -> str:
    """The id that the project has already, else a new one."""
    try:
        known = settings.project_id if settings.project_file == base / PROJECT_FILE else ""
    except SpecError:  # `--force` is there to write over what is damaged
        known = ""
    return known or new_id(base.name)


def _project(name: str, source: DataSource, base: Path, identity: str) -> str:
    groups = source.groups or "^(P[0-9]+)_.*$"
    mark = "" if source.groups else "# "
    return f"""# Project file of orch, found from this folder and all below it (orch config --show-origin).
project: {identity}   # whose sweeps are this project's; give a copy that becomes another project another id
data:
  {name}:
    images: {_shown(source.images, base)}
    labels: {_shown(source.labels, base)}
    {mark}groups: {quoted(groups)}   # its one group is the patient, so that folds never split one
    # classes: [ducts]         # names of the label values 1..n
# home: ~/.orch                # folder of all runs
# parallel: 2                  # jobs side by side on this machine (default: as many as its cores allow)
# python: /path/to/python      # interpreter that runs the trainer (default: the one that runs orch)
"""


def _shown(path: str | None, base: Path) -> str:
    place = Path(str(path))
    return quoted(place.relative_to(base).as_posix() if place.is_relative_to(base) else str(place))


def _sweep(name: str) -> str:
    lines = (SHIPPED / Path(SWEEP).name).read_text("utf-8").splitlines()
    data = f"data: {name}".ljust(27) + "# a data set of orch.yaml, or a registered one (orch data list)"
    return "\n".join(data if line.startswith("# data:") else line for line in lines) + "\n"


def _tell(out: Output, document: Mapping[str, Any], source: DataSource, suggested: Mapping[str, Any] | None) -> None:
    out.result(f"Found {describe(document)}\n  in {source.images}\n  and {source.labels}")
    if suggested:
        cases, patients = document["cases"], {case["group"] for case in document["cases"]}
        several = counted(len(cases) - len(patients), "volume")
        out.result(f"{several} more than patients: grouped by file name, so that folds never split a patient.")
        out.result(f"  pattern {source.groups}   (change it in {PROJECT_FILE}: data.…groups)")
    for note in document.get("notes", ()):
        out.note(f"  {note}")


def _tell_files(out: Output, files: Sequence[str], hosts: Sequence[str]) -> None:
    if hosts:
        listed = ", ".join(hosts)
        out.result(f"Hosts from your ssh config: {listed} (shared home not checked yet: orch doctor --all).")
    out.result(f"Wrote {', '.join(files[:-1])} and {files[-1]}.")
    out.next("orch sweep augmentations --dry-run")
    if hosts:
        out.next("orch doctor --all")
