"""The trainer's verbs as real child processes: one JSON document on stdout, errors told twice, exit codes."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import DataSet


def trainer(*words: str, request: Any = None, cwd: Path | None = None) -> tuple[int, Any, str]:
    """Run a verb; return exit status, the document on stdout, and stderr."""
    text = request if isinstance(request, str) else json.dumps(request)
    command = [sys.executable, "-I", "-m", "trainer", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_scan_then_split(data_set: DataSet, tmp_path: Path) -> None:
    status, manifest, said = trainer("scan", request=data_set.request())
    assert (status, len(manifest["cases"]), said) == (0, 4, "")
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    status, document, said = trainer("split", request={"manifest": str(path), "folds": 3, "inner": 0.3, "seed": 1})
    assert (status, said) == (0, "")
    assert (document["data"], document["seed"], document["inner"]) == (manifest["hash"], 1, 0.3)
    assert len(document["folds"]) == 3


def test_progress_is_told_when_asked(data_set: DataSet) -> None:
    _, _, said = trainer("scan", "--progress", request=data_set.request())
    assert said.splitlines() == [f"read {number}/4" for number in range(1, 5)]


def test_phantom(hostile_path: Path) -> None:
    out = hostile_path / "out"
    status, told, said = trainer("phantom", str(out), "--cases", "2", "--size", "32", "--depth", "8", "--progress")
    assert (status, told["cases"], said) == (0, 2, "wrote 1/2\nwrote 2/2\n")
    assert len(list(Path(told["images"]).iterdir())) == len(list(Path(told["labels"]).iterdir())) == 2


def test_environment() -> None:
    status, found, _ = trainer("environment")
    assert status == 0
    assert found["packages"]["numpy"] == importlib.metadata.version("numpy")
    assert "orch-lab" not in found["packages"]
    assert found == trainer("environment")[1]
    assert len(found["fingerprint"]) == 16


def test_schema() -> None:
    status, document, said = trainer("schema")
    assert (status, said) == (0, "")
    assert "$defs" in document


FAILURES: dict[str, tuple[list[str], Any, int, str, str]] = {
    "no verb": ([], None, 2, "USAGE", "required: VERB"),
    "verb": (["trian"], None, 2, "USAGE", "invalid choice"),
    "option": (["scan", "--fast"], None, 2, "USAGE", "--fast"),
    "number": (["phantom", "x", "--cases", "many"], None, 2, "USAGE", "invalid int"),
    "no cases": (["phantom", "x", "--cases", "0"], None, 2, "USAGE", "0 cases"),
    "not JSON": (["scan"], "{", 2, "USAGE", "no JSON"),
    "not an object": (["scan"], [], 2, "USAGE", "no JSON object"),
    "key": (["scan"], {"image": "x"}, 2, "USAGE", "did you mean images"),
    "no folder": (
        ["scan"],
        {"images": "/no/where", "labels": "/no", "secret": "ab" * 8},
        1,
        "BAD_DATA",
        "not a folder",
    ),
    "no manifest": (["split"], {"folds": 5}, 2, "USAGE", "needs a manifest"),
    "manifest missing": (["split"], {"manifest": "/no/where"}, 2, "USAGE", "is no manifest"),
    "split key": (["split"], {"manifest": "/no/where", "fold": 1}, 2, "USAGE", "no key fold"),
    "wrong type": (["split"], {"manifest": "/no/where", "folds": "five"}, 2, "USAGE", "folds"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_failures_are_told_on_both_streams(what: str, tmp_path: Path) -> None:
    words, request, status, code, text = FAILURES[what]
    found, document, said = trainer(*words, request=request, cwd=tmp_path)
    error = document["error"]
    assert (found, error["code"]) == (status, code)
    assert text in error["message"]
    assert error["hint"]
    assert said == f"error: {error['message']}\n  fix: {error['hint']}\n"


def test_folds_beyond_patients(data_set: DataSet, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(trainer("scan", request=data_set.request())[1]))
    status, document, _ = trainer("split", request={"manifest": str(path), "folds": 5})
    assert (status, document["error"]["code"]) == (1, "BAD_DATA")
    assert "use folds: 4 or fewer" in document["error"]["hint"]


def test_all_verbs_but_run_do_without_torch(data_set: DataSet, tmp_path: Path) -> None:
    """Each verb in a Python that has no torch."""
    (tmp_path / "request").write_text(json.dumps(data_set.request()))
    code = "import sys; sys.modules['torch'] = None\nfrom trainer.commands import main\nsys.exit(main(sys.argv[1:]))"
    for words in (["scan"], ["schema"], ["environment"], ["phantom", str(tmp_path / "p"), "--cases", "1"]):
        with (tmp_path / "request").open() as request:
            done = subprocess.run(
                [sys.executable, "-I", "-c", code, *words], stdin=request, capture_output=True, text=True, check=False
            )
        assert (done.returncode, done.stderr) == (0, ""), words


def test_a_folder_alone_means_run(tmp_path: Path) -> None:
    """An empty run folder is refused by the training loop, not by the parser."""
    status, document, _ = trainer(str(tmp_path))
    assert (status, document["error"]["code"]) != (2, "USAGE")
