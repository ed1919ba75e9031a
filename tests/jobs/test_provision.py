"""Environments made for real on this machine: a real pip and a real solver, over a local channel and local indexes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost
from maker import LOCK, NAME, Maker
from standins.place import ARCH, Standins, nvidia_smi

from jobs import envs
from jobs.errors import DiskError, OrchError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ARCH not in ("x86_64", "aarch64"), reason="torch has wheels for x86_64 and aarch64"),
]
Place = Callable[[str, str], Path]


@pytest.fixture
def made(
    host: LocalHost, standins: Standins, program: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Maker]:
    """A host with a conda, a card and the stand-ins."""
    standins.point(monkeypatch, tmp_path)
    program("nvidia-smi", nvidia_smi("550.1", "NVIDIA GH200", "9.0"))
    monkeypatch.setenv("CONDA_EXE", str(standins.conda(tmp_path / "miniforge3")))
    yield Maker(host, standins)


# --- The whole way ---------------------------------------------------------------------------------------------------


def test_an_environment_is_made_verified_and_recorded(made: Maker) -> None:
    told = made.make()
    assert made.stages() == ["python", "torch", "rest"]
    assert (told["state"], made.state()) == ("half made", "half made")  # nobody uses it before it has proved itself
    verified = made.verify()
    assert verified["state"] == "verified"
    record = verified["record"]
    assert record["torch"] == "2.6.0+cu126"
    wheels = {wheel["name"]: wheel for wheel in record["wheels"]}
    assert {"torch", "numpy", "nibabel", "scipy"} <= set(wheels)
    assert all(len(wheel["sha256"]) == 64 for wheel in wheels.values())
    assert wheels["torch"]["file"].endswith(f"_{ARCH}.whl") or "%2B" in wheels["torch"]["file"]
    assert record["packages"]["torch"] == "2.6.0+cu126" and len(record["fingerprint"]) == 16
    assert all(check["ok"] for check in verified["here"]["checks"])
    assert not Path(made.folder.build).exists() and not Path(made.folder.packages, "pip").exists()


def test_the_fingerprint_is_the_one_that_the_trainer_tells(made: Maker) -> None:
    made.make()
    record = made.verify()["record"]
    root = Path(__file__).resolve().parents[2]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); from trainer.commands import environment; "
    code += "print(environment()['fingerprint'])"
    told = subprocess.run([made.folder.python, "-I", "-B", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == record["fingerprint"]


def test_the_same_again_makes_nothing(made: Maker) -> None:
    made.make()
    made.verify()
    before = Path(made.folder.python).lstat().st_mtime_ns
    made.lines.clear()
    assert made.make()["state"] == "verified"
    assert made.lines == [] and Path(made.folder.python).lstat().st_mtime_ns == before


def test_nothing_of_the_user_steers_it(made: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What conda's activation, a user site and pip's own variables would do."""
    (tmp_path / "condarc").write_text("channels: [nowhere]\n")
    for name, value in {
        "CONDA_SUBDIR": "linux-ppc64le",
        "CONDARC": str(tmp_path / "condarc"),
        "CONDA_PKGS_DIRS": "/nowhere",
        "PYTHONPATH": "/nowhere",
        "PIP_TARGET": str(tmp_path / "target"),
        "PIP_USER": "1",
    }.items():
        monkeypatch.setenv(name, value)
    made = Maker(made.host, made.standins)
    made.make()
    assert made.verify()["state"] == "verified"
    assert not (tmp_path / "target").exists()


def test_each_architecture_has_a_package_cache_of_its_own(made: Maker) -> None:
    made.make()
    assert Path(made.folder.packages, "conda").is_dir()
    assert Path(made.folder.packages) == Path(made.host.home.path, "pkgs", ARCH)


# --- Finding a conda -------------------------------------------------------------------------------------------------


def test_a_conda_of_the_other_architecture_is_refused_with_the_reason(
    made: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = "linux-aarch64" if ARCH == "x86_64" else "linux-64"
    monkeypatch.setenv("CONDA_EXE", str(made.standins.conda(tmp_path / "wrong", other)))
    told = Maker(made.host, made.standins).survey()
    assert told["conda"] is None
    assert f"it makes environments for {other}" in told["refused"][0]


def test_one_that_cannot_run_here_is_refused(made: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "conda"
    path.write_bytes(b"\x7fELF for another machine")
    path.chmod(0o755)
    monkeypatch.setenv("CONDA_EXE", str(path))
    assert "cannot be started" in Maker(made.host, made.standins).survey()["refused"][0]


def test_without_one_miniforge_is_installed_and_taken_away_again(
    made: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CONDA_EXE")
    made = Maker(made.host, made.standins)
    assert made.survey()["conda"] is None
    url = made.standins.miniforge(tmp_path / "Miniforge3.sh")
    told = made.call("install_conda", url=url)
    assert told["conda"]["path"].startswith(made.folder.conda)
    assert made.survey()["ours"]["sha256"] == made.survey()["ours"]["published"]
    made.make()
    made.call("remove_conda")
    assert not Path(made.folder.conda).exists()
    with pytest.raises(OrchError, match="no Miniforge of orch's own"):
        made.call("remove_conda")


def test_a_damaged_installer_is_not_run(made: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CONDA_EXE")
    made = Maker(made.host, made.standins)
    url = made.standins.miniforge(tmp_path / "Miniforge3.sh")
    with (tmp_path / "Miniforge3.sh").open("a") as script:
        script.write("echo cut off")
    with pytest.raises(OrchError, match="is damaged"):
        made.call("install_conda", url=url)
    assert not Path(made.folder.conda).exists()


def test_a_lock_that_a_dead_conda_left_stops_nobody(made: Maker) -> None:
    left = Path(made.folder.packages, "conda", "conda.lock")
    left.parent.mkdir(parents=True)
    left.write_text("4242")
    made.make()
    assert made.verify()["state"] == "verified"


# --- What indexes hold -----------------------------------------------------------------------------------------------


def test_the_index_is_asked_what_it_has(made: Maker) -> None:
    offers = made.survey()["offers"]
    assert {wheel["version"] for wheel in offers["cu126"] if wheel["arch"] == "aarch64"} == {"2.6.0+cu126"}
    assert {wheel["version"] for wheel in offers["cu126"] if wheel["arch"] == "x86_64"} == {
        "2.6.0+cu126",
        "2.7.1+cu126",
    }


def test_an_index_that_does_not_answer_is_a_problem_not_an_end(made: Maker) -> None:
    told = made.survey(indexes={"cu126": "http://127.0.0.1:1/whl/cu126"})
    assert told["offers"] == {} and "127.0.0.1:1" in told["problems"][0]


def test_the_wheelhouse_stands_in_for_an_index_that_fails(made: Maker) -> None:
    house = Path(made.folder.wheelhouse)
    house.mkdir(parents=True)
    for path in made.standins.folder.glob("whl/cu126/*/*.whl"):
        shutil.copy(path, house)
    dead = "http://127.0.0.1:1/whl/cu126"
    told = made.survey(indexes={"cu126": dead})
    assert told["problems"] and {wheel["arch"] for wheel in told["offers"]["cu126"]} == {"x86_64", "aarch64"}
    made.make(index=dead)
    assert made.verify()["state"] == "verified"
    assert any("now the wheelhouse" in line["line"] for line in made.lines)


def test_an_index_without_the_version_says_so(made: Maker) -> None:
    with pytest.raises(OrchError, match=r"pip could not install torch 2\.9\.9\+cu126 from file:"):
        made.make({**LOCK, "torch": "2.9.9+cu126"})
    assert made.state() == "half made"


def test_what_is_installed_later_does_not_replace_torch(made: Maker) -> None:
    """The small PyPI has torch 2.99.0, and nibabel there wants a torch."""
    made.make()
    made.verify()
    with pytest.raises(OrchError, match="pip could not install what the trainer needs"):
        shutil.rmtree(made.folder.prefix)
        made.make({**LOCK, "requirements": ["torch>=2.90"]})


# --- Changed and broken ones -----------------------------------------------------------------------------------------


def test_a_wheel_replaced_by_a_later_install_is_found_out(made: Maker) -> None:
    made.make()
    made.verify()
    pip = [made.folder.python, "-I", "-m", "pip", "install", "--quiet", "--upgrade", "torch"]
    subprocess.run(pip, check=True, capture_output=True)
    (found,) = made.host.wire.call("environments")["environments"]
    assert found["state"] == "changed"
    assert "torch 2.6.0+cu126 -> 2.99.0" in found["reason"]
    assert envs.newest(made.host.home, ARCH) is None


def test_an_environment_for_the_other_architecture_is_never_made(made: Maker) -> None:
    other = "aarch64" if ARCH == "x86_64" else "x86_64"
    with pytest.raises(OrchError, match=f"this host is {ARCH} and cannot run an environment for {other}"):
        made.make({**LOCK, "arch": other})


def test_one_that_lies_there_for_the_other_architecture_is_not_taken(made: Maker) -> None:
    other = "aarch64" if ARCH == "x86_64" else "x86_64"
    made.make()
    made.verify()
    shutil.copytree(made.folder.prefix, Path(made.host.home.path, "envs", other, NAME), symlinks=True)
    newest = envs.newest(made.host.home)
    assert newest and newest["prefix"] == made.folder.prefix


def test_a_driver_that_is_too_old_fails_the_test_with_what_was_found(made: Maker, program: Place) -> None:
    program("nvidia-smi", nvidia_smi("470.1"))
    made.make()
    with pytest.raises(OrchError, match="GPU usable: False, meant True"):
        made.verify()
    assert made.state() == "half made"


def test_a_card_that_the_build_has_no_code_for_fails_the_test(made: Maker, program: Place) -> None:
    program("nvidia-smi", nvidia_smi("550.1", "NVIDIA B200", "10.0"))
    made.make()
    with pytest.raises(OrchError, match=r"code for NVIDIA B200 \(sm_100\)|no kernel image"):
        made.verify()


# --- Cuts ------------------------------------------------------------------------------------------------------------


def cut(made: Maker, stage: str, how: Callable[[Maker], None]) -> None:
    """Begin to make an environment, and cut it when the first line of a stage has come."""
    sources = {**made.standins.sources(), "conda": made.survey()["conda"]}
    stream = made.host.wire.stream("provision", lock=LOCK, name=NAME, sources=sources)
    for line in stream:
        if line["stage"] == stage and line["line"]:
            how(made)
            break
    else:
        pytest.fail(f"the stage {stage} said nothing")
    stream.close()
    with contextlib.suppress(Exception):
        made.host.wire.close()
    made.host.wire = made.host.connect()


def hang_up(made: Maker) -> None:
    made.host.wire.close()


def kill_agent(made: Maker) -> None:
    for pid in made.host.agents():
        os.kill(pid, signal.SIGKILL)


def kill_all(made: Maker) -> None:
    for pid in made.host.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", [hang_up, kill_agent, kill_all])
@pytest.mark.parametrize("stage", ["python", "torch", "rest"])
def test_after_a_cut_at_any_stage_it_goes_on(made: Maker, stage: str, how: Callable[[Maker], None]) -> None:
    cut(made, stage, how)
    assert made.state() in ("half made", "absent")
    made.lines.clear()
    made.make()
    assert made.verify()["state"] == "verified"
    assert not list(Path(made.folder.prefix).parent.glob("*.trash-*"))
    assert not Path(made.folder.lease).exists()


def test_a_stage_that_is_done_is_not_done_again(made: Maker) -> None:
    with pytest.raises(OrchError):
        made.make(index="http://127.0.0.1:1/")
    made.make({**LOCK})
    made.lines.clear()
    Path(made.folder.build).unlink()  # now nothing is known to be done
    made.make()
    assert "takes away what an interrupted setup left" in made.lines[0]["line"]


def test_a_full_disk_is_told_as_such_and_gone_on_with(made: Maker, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=6m", str(small_disk)], check=True)
    home = small_disk / "home"
    made.host.wire.call("open", home=str(home))
    with pytest.raises(DiskError, match=r"(?i)no space left|disk is full"):
        made.make()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    made.make()
    assert made.verify()["state"] == "verified"


# --- Two at once -----------------------------------------------------------------------------------------------------


def test_two_at_once_make_one(made: Maker) -> None:
    sources = {**made.standins.sources(), "conda": made.survey()["conda"]}
    lines: list[list[dict[str, Any]]] = [[], []]

    def setup(number: int) -> None:
        with contextlib.closing(made.host.connect()) as wire:
            lines[number] = list(wire.stream("provision", lock=LOCK, name=NAME, sources=sources))
            list(wire.stream("verify_environment", name=NAME, device="cuda"))

    threads = [threading.Thread(target=setup, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert made.state() == "verified"
    stages = [{line["stage"] for line in said} for said in lines]
    assert {"wait"} in [said & {"wait"} for said in stages]
    assert sum("torch" in said for said in stages) == 1


def test_one_on_another_host_is_waited_for(made: Maker) -> None:
    from jobs.atomic import write_json

    lease = Path(made.folder.lease)
    lease.mkdir(parents=True)
    write_json(lease / "owner.json", {"host": "ada", "boot_id": "b", "pid": 7, "start_time": 1, "token": "t"})
    sources = {**made.standins.sources(), "conda": made.survey()["conda"]}
    stream = made.host.wire.stream("provision", lock=LOCK, name=NAME, sources=sources)
    assert next(stream) == {"stage": "wait", "line": "process 7 on ada is at work on the same files"}
    shutil.rmtree(lease)
    assert "rest" in {line["stage"] for line in stream}


# --- Taking away -----------------------------------------------------------------------------------------------------


def test_what_is_in_use_is_not_taken_away(made: Maker) -> None:
    made.make()
    made.verify()
    with subprocess.Popen([made.folder.python, "-c", "import time; time.sleep(60)"]) as user:
        time.sleep(0.2)
        told = made.host.wire.call("weigh_environment", name=NAME)
        assert told["bytes"] > 1000 and told["users"] == [f"process {user.pid}"]
        with pytest.raises(OrchError, match=f"is in use by process {user.pid}"):
            made.call("remove_environment", name=NAME)
        user.kill()
    made.call("remove_environment", name=NAME)
    assert made.state() == "absent"
    assert list(Path(made.folder.prefix).parent.iterdir()) == []


def test_what_waits_in_the_queue_keeps_its_environment(made: Maker) -> None:
    made.make()
    made.verify()
    block = made.host.job("block", (sys.executable, "-c", "import time; time.sleep(60)"))
    late = made.host.job("late", (made.folder.python, "-c", "pass"))
    made.host.submit(block, late, parallel=1)
    with pytest.raises(OrchError, match="waiting job"):
        made.call("remove_environment", name=NAME)


def test_one_that_is_not_there_is_named(made: Maker) -> None:
    with pytest.raises(OrchError, match="no environment"):
        made.call("remove_environment", name=NAME)
