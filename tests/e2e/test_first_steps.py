"""What a newcomer does: help, init, config, and the README's commands in their order."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from ground import Ground

from orchestrator.cli import main
from orchestrator.cli.registry import command_parser
from orchestrator.cli.table import COMMANDS

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_begins_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown, complaints = capsys.readouterr()
    assert complaints == ""
    head = shown[: shown.index("usage:")]
    assert f"orch {command}" in head.partition("examples:")[2]


def test_the_same_text_whatever_way_help_is_asked_for(ground: Ground) -> None:
    texts = {ground.orch(*words).out for words in (["sweep", "-h"], ["help", "sweep"], ["sweep", "--help"])}
    assert len(texts) == 1
    assert all(command in ground.orch("--help").out for command in COMMANDS)


def test_init_then_a_dry_run_from_a_fresh_folder(ground: Ground, volumes: Path) -> None:
    said = ground.orch("init", str(volumes))
    assert said.code == 0
    assert "Found 6 volumes of 6 patients, 32x32x8 voxels" in said.out
    assert said.err.endswith("next: orch sweep augmentations --dry-run\n")
    planned = ground.orch("sweep", "augmentations", "--dry-run", "--json")
    assert planned.code == 0
    assert len(planned.json["jobs"]) == 35
    assert planned.err.startswith("35 jobs = 7 strategies x 5 folds x 1 seed · data ducts (6 patients, split ")
    assert not Path(ground.home.runs).exists()
    origin = ground.orch("config", "--show-origin", "--json").json["data"]["origin"]
    assert origin == "orch.yaml:3"


def test_settings_and_where_they_come_from(ground: Ground, tmp_path: Path) -> None:
    ground.write("orch.yaml", "parallel: 3")
    mine = {"XDG_CONFIG_HOME": str(tmp_path / "mine")}
    shown = ground.orch("config", "--show-origin", **mine)
    rows = {row[0]: row[1:] for row in (line.split("\t") for line in shown.out.splitlines()[1:])}
    assert rows["parallel"] == ["3", "orch.yaml:1"]
    assert rows["home"][1] == "ORCH_HOME"
    assert rows["python"][1] == "default"
    changed = ground.orch("config", "parallel", "5", **mine)
    assert "wins over that file: parallel is 3 here" in changed.err
    assert json.loads(ground.orch("config", "parallel", "--json", **mine).out)["parallel"]["value"] == 3
    wrong = ground.orch("config", "paralel", "5", **mine)
    assert (wrong.code, "Did you mean 'parallel'?" in wrong.err) == (2, True)


def test_the_readmes_sweeps_are_sweeps(ground: Ground, volumes: Path) -> None:
    shutil.copytree(volumes, ground.project / "liver")
    assert ground.orch("data", "add", "liver", "liver").code == 0
    counts = []
    for number, text in enumerate(blocks("yaml")):
        ground.write(f"readme{number}.yaml", text)
        planned = ground.orch("sweep", f"readme{number}.yaml", "--dry-run", "--json")
        assert planned.code == 0, planned.err
        counts.append(len(planned.json["jobs"]))
    assert counts == [15, 6]


@pytest.mark.slow
def test_the_readmes_daily_use(ground: Ground, volumes: Path, tmp_path: Path) -> None:
    """Every `orch` line of "Daily use", in order; only the training itself is made small.

    The lines about hosts need hosts, which the lab's tests have: here they must only be words that the parsers know.
    """
    shutil.copytree(volumes, tmp_path / "liver")
    lines = [line.partition("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("orch ")]
    daily, away, hosts, adopted = commands[:6], commands[6:15], commands[15:19], commands[19:]
    assert [words[0] for words in daily] == ["init", "sweep", "sweep", "status", "why", "report"]
    assert [words[0] for words in away] == ["sweep", "plan", "run", "fetch", "attach", "data", "data", "gc", "handover"]
    assert [words[0] for words in hosts] == ["doctor", "setup", "hosts", "protocols"]
    assert [words[0] for words in adopted] == ["adopt", "sweep", "sweep", "report"]
    for name, *words in (*away, *hosts, *adopted):
        command_parser(name).parse_args(words)
    for words in daily:
        words = [word.replace("~/data/liver", str(tmp_path / "liver")) for word in words]
        said = ground.orch(*words, timeout=400)
        assert said.code == 0, (words, said.err)
        if words[0] == "init":
            make_small(ground.project / "sweeps/augmentations.yaml")
    assert (ground.project / "report/augmentations").is_dir()


def make_small(path: Path) -> None:
    """Two strategies, four folds, one epoch of a narrow network."""
    text = re.sub(r"^train: .*$", "train: {width: 4, depth: 2, epochs: 1}", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^  (noise|flip|contrast|gamma|affine): .*\n", "", text, flags=re.MULTILINE)
    path.write_text(text.replace("folds: 5", "folds: 4") + "resources: {cpus: 1}\n")
