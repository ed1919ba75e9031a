"""`orch demo`: a project in one folder, from a made-up data set to the report, with the commands of every day."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from jobs.atomic import write_bytes
from jobs.errors import disk_error

from .. import datasets
from ..config import PROJECT_FILE, DataSource, Settings
from ..known_homes import open_own
from ..sweep import SHIPPED
from .output import Output, from_flags
from .parser import Parser
from .registry import command_parser, load
from .scanning import reader, trainer

EXAMPLES = """
orch demo
orch demo /tmp/orch-demo
"""
CASES, SIZE, DEPTH = 12, 64, 24  # volumes; rows and columns, slices in voxels
_PROJECT = """# The project file of the demo: all that it makes stays in this folder.
home: home
data:
  phantom: {images: phantom/imagesTr, labels: phantom/labelsTr, groups: '%s'}
"""
_GROUPS = "^(.*[0-9])(?:_[a-d])?$"  # P03_a and P03_b are two scans of one patient


def add_arguments(parser: Parser) -> None:
    """Declare arguments and options."""
    parser.add_argument("folder", nargs="?", default="orch-demo", help="folder of the demo (default: ./orch-demo)")


def run(args: Namespace, settings: Settings, out: Output) -> int:
    """Write the phantom and the project, then run `orch sweep` and `orch report` as anybody would."""
    folder = Path(args.folder).expanduser().absolute()
    _write(folder / PROJECT_FILE, _PROJECT % _GROUPS)
    _write(folder / "sweeps" / "demo.yaml", (SHIPPED / "demo.yaml").read_text("utf-8"))
    own_home = vars(args).get("home") or str(
        folder / "home"
    )  # not ORCH_HOME: all that a demo makes stays in its folder
    flags = {**vars(args), "config": str(folder / PROJECT_FILE), "home": own_home}
    own = Settings.of(flags)
    _phantom(folder, own, out)
    code = _command("sweep", [str(folder / "sweeps" / "demo.yaml")], flags)
    if code:
        return code
    code = _command("report", ["demo", "--out", str(folder / "report")], flags)
    out.next(f"cd {folder} && orch status")
    return code


def _phantom(folder: Path, settings: Settings, out: Output) -> None:
    """Make the volumes, once, and register them."""
    home, identity = open_own(settings)
    program = trainer(settings, home)
    place = folder / "phantom"
    if not (place / "dataset.json").is_file():
        words = ["--cases", str(CASES), "--size", str(SIZE), "--depth", str(DEPTH), "--seed", "0"]
        with reader(out, "drawing bile ducts") as progress:
            program.ask("phantom", str(place), *words, *(["--progress"] if progress else []), progress=progress)
        out.note(f"phantom: {CASES} volumes of {SIZE} x {SIZE} x {DEPTH} voxels in {place}")
    source: DataSource = settings.data["phantom"]
    datasets.ensure(home, identity, program, "phantom", source)


def _command(name: str, words: list[str], flags: dict[str, Any]) -> int:
    shared = ["--config", flags["config"], "--home", flags["home"]]
    shared += ["--json"] if flags.get("json") else []
    shared += ["--no-progress"] if flags.get("no_progress") else []
    shared += ["--color", flags["color"]] if flags.get("color") else []
    args = command_parser(name).words([*words, *shared])
    return load(name).run(args, Settings.of(vars(args)), from_flags(vars(args)))


def _write(path: Path, text: str) -> None:
    if path.exists():  # a demo that was changed by hand stays so
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())
    except OSError as error:
        raise disk_error(error, str(path)) from error
