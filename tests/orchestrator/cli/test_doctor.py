"""`orch doctor` on this machine and on hosts of a site file: tables, JSON, Markdown, repairs, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from standins.vscode_home import install, kept, machines, personal

from jobs.elf import here
from jobs.folder import Home
from setup.known import recall

from .conftest import Orch

OTHER = "aarch64" if here() == "x86_64" else "x86_64"


@pytest.fixture
def home(orch_home: Home, hostile_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, in a folder without a project."""
    monkeypatch.setenv("HOME", str(hostile_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return hostile_path


def trouble(home: Path) -> Path:
    folder = home / ".vscode-server"
    personal(folder)
    install(folder, OTHER)
    return folder


def test_one_table_with_evidence_and_repair(orch: Orch, home: Path, tmp_path: Path) -> None:
    trouble(home)
    said = orch("doctor")
    assert said.code == 6
    lines = [line.split("\t") for line in said.out.splitlines()]
    assert lines[0] == ["host", "state", "check", "evidence", "repair"]
    assert ["this orch", "ok", "import names"] in [line[:3] for line in lines]
    (row,) = [line for line in lines if line[2] == "vs code"]
    assert row[:2] == ["local", "found"] and f"programs for {OTHER}" in row[3]
    assert row[4] == "orch setup --host local --only vscode"
    known = recall(tmp_path / "state", "local")
    assert known and known.facts and known.facts.architecture == here()


def test_json_holds_rows_and_facts(orch: Orch, home: Path) -> None:
    trouble(home)
    said = orch("doctor", "--host", "local", "--json")
    told = json.loads(said.out)
    assert said.code == 6
    assert told["hosts"][0]["told"]["truths"]["machine"]["value"]["machine"]
    assert {row["state"] for row in told["hosts"][0]["rows"]} <= {"ok", "note", "found", "unknown"}


def test_fix_asks_repairs_and_looks_again(orch: Orch, home: Path) -> None:
    folder = trouble(home)
    before = kept(home)
    refused = orch("doctor", "--fix")
    assert refused.code == 2 and "--yes" in refused.err and machines(folder) == {OTHER}
    fixed = orch("doctor", "--fix", "--yes", "--json")
    checks = {row["check"]: row["state"] for row in json.loads(fixed.out)["hosts"][0]["rows"]}
    assert checks["vs code"] == "ok" and machines(folder) == set() and kept(home) == before


def test_a_report_is_markdown(orch: Orch, home: Path) -> None:
    said = orch("doctor", "--report")
    assert said.out.startswith("# Hosts, ") and "\n## local\n\n| state | check |" in said.out


def test_a_dead_host_does_not_stop_the_others(orch: Orch, home: Path, tmp_path: Path) -> None:
    (tmp_path / "config/orch").mkdir(parents=True)
    site = "hosts:\n  gone: {address: host.invalid, way: ssh}\n  local: {expect: {architecture: s390x}}\n"
    (tmp_path / "config/orch/site.yaml").write_text(site)
    said = orch("doctor", "--host", "local", "--host", "gone", "--json")
    local, gone = json.loads(said.out)["hosts"]
    assert said.code == 6 and gone["error"]["code"] in ("UNREACHABLE", "NOT_FOUND")
    assert f"expected s390x, measured {here()}" in [row["evidence"] for row in local["rows"]]
    alone = orch("doctor", "--all")
    assert alone.code in (3, 5) and "reachable" in alone.out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [(("--host", "locla"), 3, "no host 'locla'"), (("--host", "local", "--all"), 2, "leave one of the two out")],
)
def test_wrong_words(orch: Orch, home: Path, words: tuple[str, ...], code: int, text: str) -> None:
    said = orch("doctor", *words)
    assert said.code == code and text in said.err


def test_purge_lists_bytes_and_asks(orch: Orch, home: Path) -> None:
    folder = trouble(home)
    orch("doctor", "--fix", "--yes")
    parked = home / f".vscode-server.{OTHER}"
    assert "0 folders deleted" in orch("setup", "--host", "local", "--purge").out, "nothing is 30 days old"
    listed = orch("setup", "--host", "local", "--purge", "0", "--dry-run")
    assert str(parked) in listed.err.replace("\\n", "\n") and "in all" in listed.err and parked.exists()
    refused = orch("setup", "--host", "local", "--purge", "0")
    assert refused.code == 2 and "--yes" in refused.err and parked.exists()
    gone = json.loads(orch("setup", "--host", "local", "--purge", "0", "--yes", "--json").out)
    assert gone["purged"] == [str(parked)] and gone["bytes"] > 0 and not parked.exists()
    assert (folder / "data/machineid").exists()
