"""The trainer's verbs. Each answers with one JSON document on stdout; what is said to people goes to stderr.

    run RUN_FOLDER       train, as job.json in that folder says (a bare RUN_FOLDER means the same)
    schema               JSON Schema of what a sweep may say
    scan < request       check and hash a data set, answer with its manifest
    split < request      deal the patients of a manifest to folds
    phantom OUT          write a made-up data set of bile ducts
    environment          versions of Python and all packages, and their fingerprint
    parity               what this machine computes for one fixed batch, to be compared with other machines

All but `run` and `parity` work without torch: what a verb needs is imported when it runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from jobs.atomic import digest
from jobs.errors import OrchError, UsageError, disk_error

_OURS = "orch-lab"  # pinned by the code hash, so not part of the environment's fingerprint

_SPLIT: dict[str, type | tuple[type, ...]] = {"manifest": str, "folds": int, "inner": (int, float), "seed": int}


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit status.

    Errors meant for a person become `{"error": …}` on stdout, their text on stderr and their exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parser().parse_args(_with_verb(words))
        run: Callable[[argparse.Namespace], int] = arguments.function
        return run(arguments)
    except OrchError as error:
        return _fail(error)
    except OSError as error:
        return _fail(disk_error(error))


def _fail(error: OrchError) -> int:
    _answer({"error": error.to_json()})
    print(f"error: {error.message}" + (f"\n  fix: {error.hint}" if error.hint else ""), file=sys.stderr)  # noqa: T201
    return error.exit_code


def _answer(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def _with_verb(words: list[str]) -> list[str]:
    return ["run", *words] if len(words) == 1 and Path(words[0]).is_dir() else words


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help")


def _parser() -> _Parser:
    parser = _Parser(prog="python -I -m trainer", description="Train and prepare: the program that orch runs on hosts.")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add(verbs, "run", _run, "train in a run folder").add_argument("folder", type=Path)
    _add(verbs, "schema", _schema, "print the JSON Schema of a sweep's parameters")
    scan = _add(verbs, "scan", _scan, "check a data set: request on stdin, manifest on stdout")
    scan.add_argument("--progress", action="store_true", help="report pairs read on stderr")
    _add(verbs, "split", _split, "deal patients to folds: request on stdin, split on stdout")
    _add(verbs, "environment", _environment, "print versions and their fingerprint")
    _add(verbs, "parity", _parity, "compute one fixed batch and print what came out")
    phantom = _add(verbs, "phantom", _phantom, "write a made-up data set of bile ducts")
    phantom.add_argument("out", type=Path, help="folder that will hold imagesTr, labelsTr and dataset.json")
    phantom.add_argument("--cases", type=int, default=10, help="volumes; some patients have two (default 10)")
    phantom.add_argument("--size", type=int, default=64, help="rows and columns in voxels (default 64)")
    phantom.add_argument("--depth", type=int, default=24, help="slices (default 24)")
    phantom.add_argument("--seed", type=int, default=0, help="another seed gives other patients (default 0)")
    phantom.add_argument("--progress", action="store_true", help="report volumes written on stderr")
    return parser


def _add(verbs: Any, name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    parser.set_defaults(function=function)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from jobs.folder import RunFolder

    from . import loop

    return loop.run(RunFolder(str(arguments.folder.absolute())))


def _schema(arguments: argparse.Namespace) -> int:
    from . import schema

    _answer(schema.document())
    return 0


def _scan(arguments: argparse.Namespace) -> int:
    from .scan import scan

    _answer(scan(_request(), _progress("read") if arguments.progress else None))
    return 0


def _split(arguments: argparse.Namespace) -> int:
    from .folds import split

    request = _request()
    unknown = sorted(set(request) - _SPLIT.keys())
    if unknown or "manifest" not in request:
        raise UsageError(
            f"split knows no key {unknown[0]}" if unknown else "split needs a manifest", f"keys: {', '.join(_SPLIT)}"
        )
    for key, value in request.items():
        if not isinstance(value, _SPLIT[key]) or isinstance(value, bool):
            raise UsageError(f"split: {key} is {value!r}", "manifest is a path, folds and seed are whole numbers")
    numbers = {key: request[key] for key in ("folds", "inner", "seed") if key in request}
    _answer(split(_manifest(Path(request["manifest"])), **numbers))
    return 0


def _phantom(arguments: argparse.Namespace) -> int:
    from .phantom import write_set

    progress = _progress("wrote") if arguments.progress else None
    _answer(write_set(arguments.out, arguments.cases, arguments.size, arguments.depth, arguments.seed, progress))
    return 0


def _environment(arguments: argparse.Namespace) -> int:
    _answer(environment())
    return 0


def _parity(arguments: argparse.Namespace) -> int:
    if importlib.util.find_spec("torch") is None:
        raise OrchError(f"{sys.executable} has no torch: nothing can be computed", "orch setup makes an environment")
    from . import parity

    _answer(parity.measure())
    return 0


def environment() -> dict[str, Any]:
    """Return the version of Python, the versions of all installed packages, and the fingerprint of both."""
    found = {str(item.metadata["Name"]).lower().replace("_", "-"): item.version for item in metadata.distributions()}
    packages = {name: version for name, version in sorted(found.items()) if name != _OURS}
    python = platform.python_version()
    return {"python": python, "packages": packages, "fingerprint": digest({"python": python, "packages": packages})}


def _request() -> dict[str, Any]:
    try:
        request = json.loads(sys.stdin.buffer.read())
    except ValueError as error:
        raise UsageError(f"the request on stdin is no JSON: {error}", "send one JSON object") from error
    if not isinstance(request, dict):
        raise UsageError("the request on stdin is no JSON object", "send one JSON object")
    return request


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        if {"hash", "cases", "classes"} <= set(manifest):
            return dict(manifest)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} is no manifest: {error}", "register the data set: orch data add NAME …") from error
    raise UsageError(f"{path} is no manifest", "register the data set: orch data add NAME …")


def _progress(verb: str) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        sys.stderr.write(f"{verb} {done}/{total}\n")
        sys.stderr.flush()

    return report
