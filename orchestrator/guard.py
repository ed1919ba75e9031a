"""Whose `setup` would be imported? A stray `setup.py` in the current folder can stand in front of ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from jobs.errors import OrchError

_ROOT = Path(__file__).resolve().parent.parent  # the folder that holds all four packages, installed or checked out


def check_package(name: str = "setup") -> None:
    """Refuse to go on when one of the four package names would bring in somebody else's code.

    Call it before the first `import setup` of a command: importing a foreign `setup.py` would run that file.

    Raises
    ------
    OrchError
        Another `setup` (a stray `setup.py`, or another distribution) comes first, or ours is missing.
    """
    found = importlib.util.find_spec(name)
    if found is None:
        raise OrchError(f"the package `{name}` of orch is not installed", "pip install --force-reinstall orch-lab")
    origin = found.origin or next(iter(found.submodule_search_locations or []), "?")
    if Path(origin).resolve() != _ROOT / name / "__init__.py":
        raise OrchError(
            f"`import {name}` would bring in {origin}, which is not part of orch",
            "start the command `orch` (not `python -m`) and take the current folder out of PYTHONPATH; "
            "if that file belongs to another distribution, install orch in an environment of its own",
            found=str(origin),
        )
