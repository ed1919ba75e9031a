"""`orch setup` on the lab: three hosts over real ssh, one home; conda, pip and torch really run on both processors."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.cluster import USER, Lab
from standins.lab_place import MINOR, PYTHON, clear, furnish, rattlers

from jobs.folder import Home

from .conftest import Orch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_arm")]
SITE = "hosts:\n" + "".join(f"  {name}: {{ssh: {name}, shared_home: lab}}\n" for name in ("nodal", "grace", "ada"))


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """py-rattler for both processors."""
    return rattlers()


@pytest.fixture
def words(
    programs: dict[str, Path], lab: Lab, orch_home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[list[str]]:
    """The command for the lab, in a project with a site file of its three hosts."""
    told = lab["nodal"].run(PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
    if told != MINOR:
        pytest.skip(f"nodal has Python {told}, the lab's aarch64 hosts have {MINOR}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orch.yaml").write_text("{}\n")
    (tmp_path / "site.yaml").write_text(SITE)
    yield ["setup", *furnish(lab, programs)]
    clear(lab)


def made(lab: Lab, arch: str) -> dict[str, str]:
    (path,) = (lab.user_home / ".orch" / "envs" / arch).glob("*/orch-env.json")
    return dict(json.loads(path.read_text()), prefix=path.parent.name)


def connections(lab: Lab) -> dict[str, int]:
    return {name: host.connections for name, host in lab.hosts.items()}


def since(lab: Lab, before: dict[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in connections(lab).items()}


def test_all_at_once_from_nothing_then_again(orch: Orch, words: list[str], lab: Lab) -> None:
    """One version for all, one environment for each processor, Miniforge only where a conda lacks; again: nothing.

    Nobody has measured the hosts before. Each command has one connection to each host. grace and ada make the same
    environment in the same home at the same time: it is made once, and each proves it on its own card.
    """
    before = connections(lab)
    said = orch(*words, "--all", "--yes", "--only", "conda,environment,verification")
    assert said.code == 0, said.err
    assert since(lab, before) == dict.fromkeys(before, 1)
    x86, arm = made(lab, "x86_64"), made(lab, "aarch64")
    assert (x86["torch"], arm["torch"]) == ("2.6.0+cu126", "2.6.0+cu126")  # 2.7.1 is there for x86_64 alone
    assert x86["conda"]["path"] == f"/home/{USER}/miniforge3/bin/conda"  # type: ignore[index]
    assert arm["conda"]["path"] == f"/home/{USER}/.orch/conda/aarch64/bin/conda"  # type: ignore[index]
    files = {wheel["name"]: wheel["file"] for wheel in arm["wheels"]}  # type: ignore[index]
    assert files["torch"].endswith("_aarch64.whl") and "triton" not in files
    proofs = lab.user_home / ".orch" / "envs" / "aarch64"
    assert sorted(path.name for path in proofs.glob("*.verified/*")) == ["ada.json", "grace.json"]

    before = connections(lab)
    again = orch(*words, "--all", "--yes")
    assert again.code == 0, again.err
    told = [line.split(" (")[0] for line in again.out.splitlines()]
    assert told == [f"{name}: nothing to do" for name in ("nodal", "grace", "ada")]
    assert again.out.count("checked 3 steps") == 3  # VS Code's server cannot fit both processors in one home
    assert since(lab, before) == dict.fromkeys(before, 1)

    next(proofs.glob("*.verified/ada.json")).unlink()  # it is there, but has not proved itself on ada
    plan = orch(*words, "--host", "ada", "--dry-run", "--json")
    assert [step["step"] for step in json.loads(plan.out)["steps"] if not step["done"]] == ["verification"]


def test_one_host_asks_the_others_what_fits_them_and_only_once(orch: Orch, words: list[str], lab: Lab) -> None:
    """Without their say nodal would get 2.7.1, which nobody has built for the others."""
    before = connections(lab)
    first = orch(*words, "--host", "nodal", "--dry-run", "--json")
    assert json.loads(first.out)["torch"] == "2.6.0+cu126", first.err
    assert "asks grace, ada too: one version of torch shall fit all hosts of the site" in first.err
    assert since(lab, before) == dict.fromkeys(before, 1)
    second = orch(*words, "--host", "nodal", "--dry-run", "--json")
    assert json.loads(second.out)["torch"] == "2.6.0+cu126" and "asks" not in second.err
    assert since(lab, before) == {"nodal": 2, "grace": 1, "ada": 1}


def test_a_dead_host_stops_nobody_and_is_told(orch: Orch, words: list[str], lab: Lab, tmp_path: Path) -> None:
    """Injected: ada's cable is pulled before, once. Lost: nothing; nodal is made ready."""
    (tmp_path / "site.yaml").write_text("hosts:\n  nodal: {ssh: nodal}\n  ada: {ssh: ada}\n")
    config = Path(lab.ssh_config)
    config.write_text(config.read_text().replace("ConnectTimeout 10", "ConnectTimeout 2"))
    lab["ada"].cut()
    said = orch(*words, "--all", "--yes", "--only", "conda,environment,verification", "--json")
    assert said.code == 5, said.err
    nodal, ada = json.loads(said.out)
    assert nodal["changed"] and nodal["torch"] == "2.7.1+cu126"
    assert ada == {"host": "ada", "error": ada["error"]} and ada["error"]["code"] == "UNREACHABLE"
    silence = f"ada (alice@{lab['ada'].address}) does not answer: Connection timed out"
    assert f"ada has no say: {silence}" in nodal["notes"]
    assert f"warning: ada: {silence}\n  fix: " in said.err


def test_a_home_that_cannot_be_written_is_named_with_where_another_one_goes(
    orch: Orch, words: list[str], lab: Lab
) -> None:
    """Injected: the home is mounted read-only, once. Lost: nothing; the plan can be seen all the same."""
    lab["nodal"].run("/bin/mount", "-o", "remount,ro,bind", "/home")
    try:
        plan = orch(*words, "--host", "nodal", "--dry-run")
        said = orch(*words, "--host", "nodal", "--yes")
        row = next(line for line in orch("doctor", "--host", "nodal").out.splitlines() if "\thome writing\t" in line)
    finally:
        lab["nodal"].run("/bin/mount", "-o", "remount,rw,bind", "/home")
    assert plan.code == 0 and "will create envs/x86_64/" in plan.err
    assert said.code == 1 and f"cannot write /home/{USER}/.orch: the file system is read-only" in said.err
    assert "for a host: `home: /path` beside it in the site file" in said.err
    assert row.split("\t")[1] == "found" and row.endswith("`home: /path` beside nodal in the site file")


def test_a_connection_that_is_cut_in_the_middle_is_gone_on_with(orch: Orch, words: list[str], lab: Lab) -> None:
    only = ["--yes", "--only", "conda,environment,verification"]
    folder = lab.user_home / ".orch" / "envs" / "x86_64"

    def cut() -> None:
        deadline = time.monotonic() + 60
        while not list(folder.glob("*.build.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        lab["nodal"].end_sessions()

    with_cut = threading.Thread(target=cut)
    with_cut.start()
    broken = orch(*words, "--host", "nodal", *only)
    with_cut.join()
    assert broken.code == 5, broken.err
    assert not list(folder.glob("*/orch-env.json"))
    said = orch(*words, "--host", "nodal", *only)
    assert said.code == 0, said.err
    assert made(lab, "x86_64")["torch"].startswith("2.")
