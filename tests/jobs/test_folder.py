"""The one place that knows file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.folder import Home, HostFolder, RunFolder, attempt_number, valid_name


@pytest.mark.parametrize("name", ["a", "augmentations", "2026-05_liver.v2", "rotate+noise", "A" * 100])
def test_good_names(name: str) -> None:
    assert valid_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-rf", ".hidden", "a b", "é", "a\n", "A" * 101])
def test_names_that_could_leave_their_folder_are_refused(name: str) -> None:
    assert not valid_name(name)


def test_a_run_folder_knows_who_it_is(hostile_path: Path) -> None:
    folder = Home(str(hostile_path)).attempt("s", "0123", 7)
    assert (folder.sweep, folder.job_id, folder.attempt) == ("s", "0123", 7)
    assert folder.path == str(hostile_path / "runs" / "s" / "0123" / "attempt-07")


@pytest.mark.parametrize(
    ("name", "number"), [("attempt-01", 1), ("attempt-100", 100), ("attempt-1", None), (".attempt-01.x", None)]
)
def test_attempt_numbers(name: str, number: int | None) -> None:
    assert attempt_number(name) == number


def test_attempts_are_in_order_and_nothing_else_counts(hostile_path: Path) -> None:
    home = Home(str(hostile_path))
    for name in ("attempt-10", "attempt-02", "attempt-100", ".attempt-03.token", "notes", "attempt-x"):
        (hostile_path / "runs" / "s" / "j" / name).mkdir(parents=True)
    (hostile_path / "runs" / "s" / ".parked").mkdir()
    assert [folder.attempt for folder in home.attempts("s", "j")] == [2, 10, 100]
    assert home.jobs("s") == ["j"]
    assert [folder.attempt for folder in home.run_folders()] == [2, 10, 100]


def test_sweeps_are_those_with_a_record_and_those_with_runs(hostile_path: Path) -> None:
    home = Home(str(hostile_path))
    assert (home.sweep_names(), home.jobs("x"), home.attempts("x", "y")) == ([], [], [])
    (hostile_path / "runs" / "ran").mkdir(parents=True)
    (hostile_path / "sweeps").mkdir()
    for name in ("planned.json", "ran.json", "torn.json.tmp-1-ab", "note.txt"):
        (hostile_path / "sweeps" / name).write_text("{}")
    assert home.sweep_names() == ["planned", "ran"]


def test_all_files_of_a_run_lie_in_its_folder() -> None:
    folder = RunFolder("/h/runs/s/j/attempt-01")
    paths = [folder.job, folder.events, folder.result, folder.cases, folder.exit, folder.stop, folder.log]
    names = {path.removeprefix(folder.path + "/") for path in [*paths, folder.checkpoint("best")]}
    contract = "job.json events.jsonl result.json cases.json exit.json stop log.txt best.pt"
    assert names == set(contract.split())


def test_host_local_files_of_two_sweeps_never_meet() -> None:
    """The same cell in two sweeps has one id: locks and spooled records must differ all the same."""
    local = HostFolder("/var/tmp/orch-1/h")
    one, other = (RunFolder(f"/h/runs/{sweep}/0123456789abcdef/attempt-01") for sweep in ("a", "b"))
    assert local.attempt_lock(one) != local.attempt_lock(other)
    assert local.spooled(one) != local.spooled(other)


def test_cards_are_shared_by_all_users_and_cores_are_not() -> None:
    one, other = HostFolder("/var/tmp/orch-1/a"), HostFolder("/var/tmp/orch-2/b")
    assert one.cards == other.cards
    assert one.slot("cpu", 0) != other.slot("cpu", 0)


def test_the_host_local_root_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert HostFolder.of("id").path.startswith("/var/tmp/orch-")
    monkeypatch.setenv("ORCH_LOCAL", str(tmp_path))
    assert HostFolder.of("id").path.startswith(str(tmp_path / "orch-"))
