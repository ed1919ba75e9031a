"""The choice of the Python that runs the trainer: real interpreters, real environments."""

from __future__ import annotations

import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.errors import OrchError
from setup import environment

Place = Callable[[str, str], Path]


def test_the_one_that_runs_orch_is_examined_as_a_child(hostile_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile_path)
    (hostile_path / "trainer.py").write_text("raise SystemExit('the wrong trainer')\n", encoding="utf-8")
    found = environment.find()
    assert (found.python, found.reason) == (sys.executable, "it runs orch")
    assert found.version.startswith("3.")
    assert {"torch", "numpy"} <= set(found.packages)
    assert len(found.fingerprint) >= 16
    assert found.fingerprint == environment.find().fingerprint


def test_a_configured_one_is_taken_with_its_origin(program: Place) -> None:
    link = program("trainer-python", "")
    link.unlink()
    link.symlink_to(sys.executable)
    assert environment.choose("trainer-python", "orch.yaml:3") == (str(link), "orch.yaml:3: trainer-python")


def test_a_virtual_environment_is_not_replaced_by_what_it_links_to(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    assert environment.choose(str(python))[0] == str(python)


def test_one_that_is_missing_is_named_with_its_origin() -> None:
    with pytest.raises(OrchError, match=r"there is no Python at /nowhere/python \(orch.yaml:3\)") as caught:
        environment.find("/nowhere/python", "orch.yaml:3")
    assert "orch config python" in caught.value.hint


def test_one_without_the_trainer_says_how_to_install_it(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = str(tmp_path / "env" / "bin" / "python")
    with pytest.raises(OrchError, match="No module named trainer") as caught:
        environment.find(python)
    assert f"{python} -m pip install 'orch-lab[trainer]'" in caught.value.hint


def test_one_without_torch_says_what_it_lacks(tmp_path: Path, hostile_path: Path) -> None:
    """The trainer comes as a code snapshot, its libraries do not."""
    venv.create(tmp_path / "env", with_pip=False)
    root = Path(__file__).resolve().parents[2]
    start = f"import sys\nsys.path.insert(0, {str(root)!r})\nfrom trainer.commands import main\nsys.exit(main())\n"
    (hostile_path / "__main__.py").write_text(start, encoding="utf-8")
    with pytest.raises(OrchError, match="it lacks torch, numpy, nibabel, scipy"):
        environment.find(str(tmp_path / "env" / "bin" / "python"), code=str(hostile_path))


def test_a_program_that_is_no_python_is_quoted(program: Place) -> None:
    program("odd", "#!/bin/sh\necho 'what do you mean?' >&2\nexit 3\n")
    with pytest.raises(OrchError, match="cannot run the trainer: what do you mean"):
        environment.find("odd")


def test_a_program_for_another_machine_is_refused(program: Place) -> None:
    program("odd", "\x7fELF no")
    with pytest.raises(OrchError, match="cannot be started"):
        environment.find("odd")


def test_what_an_attempt_records_is_plain() -> None:
    record = environment.Environment("/p", "it runs orch", "3.11", {"torch": "2"}, "ab").to_json()
    assert record == {
        "python": "/p",
        "reason": "it runs orch",
        "version": "3.11",
        "fingerprint": "ab",
        "packages": {"torch": "2"},
    }
