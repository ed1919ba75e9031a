"""docs/contract.md against the code: file names, keys and kinds are as the page says."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, sh, until

from jobs import errors
from jobs.failure import KINDS
from jobs.spec import JobSpec
from jobs.state import STATES

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
FILES = ("job.json", "events.jsonl", "result.json", "cases.json", "exit.json", "stop", "log.txt", "best.pt", "last.pt")


def keys_of(name: str) -> set[str]:
    """Return the keys that the page's table of a file lists."""
    section = re.search(rf"^### `{re.escape(name)}`.*?\n(.*?)(?=^##)", CONTRACT, re.DOTALL | re.MULTILINE)
    assert section, f"no section on {name}"
    first_cells = re.findall(r"^\| (`.*?) \|", section[1], re.MULTILINE)
    return {key for cell in first_cells for key in re.findall(r"`([a-z_]+)`", cell)}


@pytest.fixture
def report(host: LocalHost) -> dict[str, Any]:
    job = host.job("a", sh('touch "$ORCH_RUN/last.pt"; exit 1'))
    host.run(job)
    host.submit(job)
    until(lambda: host.report(job)["attempt"] == 2 and host.state(job) == "failed")
    return host.wire.call("show", sweep="s", job=job["id"])  # type: ignore[no-any-return]


def test_the_keys_of_the_files_are_those_of_the_page(report: dict[str, Any]) -> None:
    last = report["attempts"][-1]
    assert set(last["spec"]) == keys_of("job.json")
    assert set(last["exit"]) == keys_of("exit.json")


def test_the_keys_of_home_and_claim_are_those_of_the_page(host: LocalHost, report: dict[str, Any]) -> None:
    assert set(json.loads(Path(host.home.identity).read_text())) == keys_of("home.json")
    for key in report["attempts"][-1]["spec"]["claim"]:
        assert f"`{key}`" in CONTRACT


def test_every_state_failure_kind_and_file_is_named() -> None:
    for word in [*STATES, *(kind.name for kind in KINDS), "killed", "unknown"]:
        assert f"`{word}`" in CONTRACT, word
    for name in FILES:
        assert f"`{name}`" in CONTRACT, name


def test_the_contract_has_the_version_of_the_code() -> None:
    from jobs import CONTRACT as version

    assert f"contract version {version}" in CONTRACT
    assert JobSpec.__doc__ and "docs/contract.md" in JobSpec.__doc__


def test_jobs_imports_the_standard_library_only() -> None:
    foreign = set()
    for path in (ROOT / "jobs").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            foreign |= {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert foreign == set()


def test_every_error_survives_the_wire() -> None:
    tree = [errors.OrchError, *errors.OrchError.__subclasses__()]
    tree += [below for one in tree for below in one.__subclasses__() if below not in tree]
    assert len({one.code for one in tree}) == len(tree) >= 11
    for one in tree:
        back = errors.from_json(json.loads(json.dumps(one("what", "repair", path="x").to_json())))
        assert (type(back), str(back), back.hint, back.context) == (one, "what", "repair", {"path": "x"})
        assert back.exit_code in range(1, 7)
    assert type(errors.from_json({"code": "OF_A_NEWER_ORCH", "message": "m"})) is errors.OrchError


@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EIO", "ENOENT", "ESTALE"])
def test_every_disk_trouble_has_a_word_and_a_repair(number: str) -> None:
    import errno
    import os

    code = getattr(errno, number)
    found = errors.disk_error(OSError(code, os.strerror(code), "/x"))
    assert isinstance(found, errors.DiskError)
    assert "/x" in found.message
    assert found.hint
