"""`orch setup` from the first word to an environment that trains: a real solver, pip and agent on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from standins.place import ARCH, MINOR, Standins, nvidia_smi

from jobs.folder import Home

from .conftest import Orch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ARCH not in ("x86_64", "aarch64"), reason="torch has wheels for x86_64 and aarch64"),
]
Place = Callable[[str, str], Path]
HOPPER = nvidia_smi("550.54.15", "NVIDIA GH200 480GB", "9.0")


@pytest.fixture
def words(
    standins: Standins,
    orch_home: Home,
    program: Place,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> list[str]:
    """The command with the stand-ins; a conda and a card are there."""
    standins.point(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDA_EXE", str(standins.conda(tmp_path / "miniforge3")))
    program("nvidia-smi", HOPPER)
    return ["setup", "--wheels", standins.index, "--channel", standins.channel, "--python-version", MINOR]


def environments(home: Home) -> list[Path]:
    return sorted(Path(home.path, "envs", ARCH).glob("*/orch-env.json"))


# --- From nothing ----------------------------------------------------------------------------------------------------


def test_a_plan_says_what_and_why_and_changes_nothing(orch: Orch, words: list[str], orch_home: Home) -> None:
    said = orch(*words, "--dry-run")
    assert said.code == 0, said.err
    assert "1 conda         conda 24.9.2 at" in said.err
    assert f"2 environment   will create envs/{ARCH}/" in said.err
    version = "2.7.1" if ARCH == "x86_64" else "2.6.0"
    assert (
        f"why: {version}+cu126: the newest build that fits local; cu130 refused (local: driver 550.54.15 < 580)"
        in said.err
    )
    assert "warning: cu126 ends with torch 2.14; ask for driver >= 580 (local 550.54.15)" in said.err
    assert list(Path(orch_home.path).iterdir()) == []


def test_from_nothing_to_ready_then_nothing_to_do(orch: Orch, words: list[str], orch_home: Home) -> None:
    said = orch(*words, "--torch", "2.6.0", "--yes")
    assert said.code == 0, said.err
    assert "local is ready" in said.out
    (record,) = environments(orch_home)
    assert json.loads(record.read_text())["torch"] == "2.6.0+cu126"
    again = orch(*words, "--yes")  # no version is asked for: what is installed and fits is kept
    assert (again.code, again.out.startswith("local: nothing to do (checked 4 steps")) == (0, True)
    assert environments(orch_home) == [record]


def test_what_it_made_is_what_a_sweep_uses(orch: Orch, words: list[str], orch_home: Home) -> None:
    from setup.environment import find

    root = Path(__file__).resolve().parents[3]
    code = Path(orch_home.path, "code")
    code.mkdir()
    start = f"import sys\nsys.path.insert(0, {str(root)!r})\nfrom trainer.commands import main\nsys.exit(main())\n"
    (code / "__main__.py").write_text(start)
    assert find(code=str(code), home=orch_home.path).python == sys.executable  # none yet
    assert orch(*words, "--yes", "--only", "conda,environment,verification").code == 0
    found = find(code=str(code), home=orch_home.path)
    (record,) = environments(orch_home)
    assert found.python == str(record.parent / "bin" / "python")
    assert found.reason.startswith("newest environment that orch setup made: torch 2.")
    assert found.fingerprint == json.loads(record.read_text())["fingerprint"]
    assert found.to_json()["provision"]["lock"] == record.parent.name
    assert len(found.to_json()["provision"]["torch_sha256"]) == 64


def test_json_tells_the_same(orch: Orch, words: list[str]) -> None:
    told = json.loads(orch(*words, "--dry-run", "--json").out)
    assert [step["step"] for step in told["steps"]] == ["conda", "environment", "verification", "vscode"]
    assert told["changed"] is False and told["torch"].endswith("+cu126")


def test_without_a_terminal_it_asks_for_the_flag(orch: Orch, words: list[str], orch_home: Home) -> None:
    said = orch(*words)
    assert said.code == 2
    assert "--yes" in said.err
    assert environments(orch_home) == []


def test_a_step_that_nobody_knows_is_named(orch: Orch, words: list[str]) -> None:
    said = orch(*words, "--only", "enviroment", "--dry-run")
    assert said.code == 2
    assert "Did you mean 'environment'?" in said.err


def test_miniforge_is_installed_where_there_is_no_conda(
    orch: Orch, words: list[str], standins: Standins, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, orch_home: Home
) -> None:
    monkeypatch.delenv("CONDA_EXE")
    url = standins.miniforge(tmp_path / "Miniforge3-x.sh")
    plan = orch(*words, "--dry-run")
    assert f"will install Miniforge for {ARCH} in the orch home" in plan.err
    said = orch(*words, "--yes", "--miniforge", url)
    assert said.code == 0, said.err
    assert Path(orch_home.path, "conda", ARCH, "bin", "conda").exists()
    undone = orch(*words, "--undo", "--yes")
    assert undone.code == 0, undone.err
    assert "the Miniforge that orch installed" in undone.err
    assert not Path(orch_home.path, "conda", ARCH).exists() and environments(orch_home) == []


# --- Hosts that cannot be served -------------------------------------------------------------------------------------


def test_a_driver_too_old_is_told_with_the_one_to_ask_for(orch: Orch, words: list[str], program: Place) -> None:
    program("nvidia-smi", nvidia_smi("470.82"))
    said = orch(*words, "--yes")
    assert said.code == 1
    assert "driver 470.82 < 525.60.13" in said.err and "ask for driver >= 580" in said.err


def test_without_a_gpu_a_build_for_the_processor_is_made_only_when_asked(
    orch: Orch, words: list[str], program: Place, orch_home: Home
) -> None:
    program("nvidia-smi", "#!/bin/sh\nexit 9\n")
    said = orch(*words, "--yes")
    assert said.code == 1 and "--cpu" in said.err
    assert environments(orch_home) == []
    asked = orch(*words, "--yes", "--cpu")
    assert asked.code == 0, asked.err
    assert "a build for the processor alone, as asked: no GPU will be used" in asked.err
    (record,) = environments(orch_home)
    assert json.loads(record.read_text())["torch"] == "2.6.0+cpu"


def test_the_wrong_architecture_is_refused(orch: Orch, words: list[str]) -> None:
    other = "aarch64" if ARCH == "x86_64" else "x86_64"
    said = orch(*words, "--arch", other, "--dry-run")
    assert said.code == 2
    assert f"local is {ARCH} and cannot run an environment for {other}" in said.err


def test_an_unknown_host_is_named(orch: Orch, words: list[str]) -> None:
    assert orch(*words, "--host", "graec").code == 3


@pytest.mark.parametrize(
    ("faults", "code"),
    [(("unreachable", "unreachable"), 5), (("unreachable", "unknown key"), 1), (("refused", "refused"), 4)],
)
def test_hosts_that_fail_give_their_code_if_it_is_the_same(
    orch: Orch, words: list[str], tmp_path: Path, faults: tuple[str, str], code: int
) -> None:
    """The third host is prepared all the same."""
    lines = []
    for name, fault in zip(("one", "two", "three"), (*faults, None), strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fault.json").write_text(json.dumps({"error": fault}))
        lines.append(f"  {name}: {{way: fake, address: {tmp_path / name}}}\n")
    (tmp_path / "orch.yaml").write_text("{}\n")
    (tmp_path / "site.yaml").write_text("hosts:\n" + "".join(lines))
    said = orch(*words, "--all", "--dry-run", "--json")
    assert said.code == code, said.err
    told = {answer["host"]: answer for answer in json.loads(said.out)}
    assert list(told) == ["one", "two", "three"]
    assert "error" in told["one"] and "error" in told["two"] and told["three"]["torch"].endswith("+cu126")
    assert said.err.count("\n  fix: ") == 2


# --- What became of it -----------------------------------------------------------------------------------------------


def test_a_changed_environment_is_left_and_a_new_one_made(orch: Orch, words: list[str], orch_home: Home) -> None:
    assert orch(*words, "--torch", "2.6.0", "--yes").code == 0
    (first,) = environments(orch_home)
    pip = [str(first.parent / "bin" / "python"), "-I", "-m", "pip", "install", "--quiet", "--upgrade", "torch"]
    subprocess.run(pip, check=True, capture_output=True)
    said = orch(*words, "--torch", "2.6.0", "--yes")
    assert said.code == 0, said.err
    assert sorted(path.parent.name for path in environments(orch_home)) == [first.parent.name, first.parent.name + "-2"]
    assert orch(*words, "--torch", "2.6.0", "--yes").out.startswith("local: nothing to do")


def test_an_undo_shows_bytes_first_and_leaves_nothing(orch: Orch, words: list[str], orch_home: Home) -> None:
    assert orch(*words, "--yes").code == 0
    look = orch(*words, "--undo", "--dry-run", "--json")
    (item,) = json.loads(look.out)["would_undo"]
    assert item["step"] == "environment" and item["bytes"] > 10_000
    assert len(environments(orch_home)) == 1
    assert orch(*words, "--undo", "--yes").code == 0
    assert environments(orch_home) == []
    assert orch(*words, "--undo", "--yes").out == "local: nothing to undo\n"


# --- The table -------------------------------------------------------------------------------------------------------


def test_the_table_can_be_read_without_a_host(orch: Orch) -> None:
    said = orch("setup", "--explain")
    assert said.code == 0
    assert "2.6.0\tcu126\taarch64\t3.9-3.13\t525.60.13\t9.0\tno\t2.14\tfile: pytorch#148169" in said.out
    alone = orch("setup", "--explain", "--cpu")
    assert "\tcpu\t" in alone.out and "\tcpu\t" not in said.out
    listed = said.out.count("\n") - 1 + alone.out.count("\n") - 1
    assert len(json.loads(orch("setup", "--explain", "--json").out)["rows"]) == listed
