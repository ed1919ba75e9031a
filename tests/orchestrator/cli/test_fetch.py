"""`orch fetch`: files come from their hosts, each once, also after a cut."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from ground import Ground

from .conftest import Orch

SIZE = 3_000_000  # bytes: several chunks


@pytest.fixture
def away(orch: Orch, ground: Ground) -> Path:
    """A sweep of two jobs that has run on a host with a home of its own; the host's folder."""
    folder = ground.base / "grace"
    (folder / "local").mkdir(parents=True)
    ground.write("orch.yaml")
    ground.write("site.yaml", "hosts:", f"  grace: {{way: fake, address: {json.dumps(str(folder))}}}")
    script = f"head -c {SIZE} /dev/urandom > $ORCH_RUN/best.pt; echo x > $ORCH_RUN/last.pt; mkdir $ORCH_RUN/maps; "
    ground.sweep("s", script + "echo {n} > $ORCH_RUN/maps/one.txt", "{n: [1, 2]}")
    assert orch("sweep", "s", "--hosts", "grace").code == 0
    return folder


def run_file(away: Path, name: str) -> list[Path]:
    return sorted(away.glob(f".orch/runs/s/*/attempt-01/{name}"))


def digests(paths: list[Path]) -> list[str]:
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def test_everything_comes_once(orch: Orch, ground: Ground, away: Path) -> None:
    listed = orch("fetch", "s", "--dry-run")
    assert listed.code == 0 and "3.0 MB" in listed.out and not (ground.project / "fetched").exists()
    said = orch("fetch", "s")
    assert said.code == 0 and "to fetched" in said.out, said.err
    there = ground.project / "fetched" / "s"
    assert sorted(path.name for path in there.iterdir()) == ["n=1", "n=2"]
    assert digests(list(there.glob("*/best.pt"))) == digests(run_file(away, "best.pt"))
    assert (there / "n=2/maps/one.txt").read_text() == "2\n"
    assert not list(there.glob("*/last.pt")), "what only a training that goes on needs stays there"
    again = orch("fetch", "s", "--json")
    assert (again.json["fetched"], again.json["bytes"]) == (0, 0)


def test_only_what_is_asked_for(orch: Orch, ground: Ground, away: Path) -> None:
    assert orch("fetch", "n=1", "--only", "last.*", "--only", "maps/*", "--to", "here").code == 0
    found = {str(path.relative_to(ground.project / "here")) for path in (ground.project / "here").rglob("*.*")}
    assert found == {"s/n=1/last.pt", "s/n=1/maps/one.txt"}


def test_a_fetch_that_was_cut_goes_on(orch: Orch, ground: Ground, away: Path) -> None:
    """Injected: the connection breaks after 2.5 MB, once. Sent again: nothing of what had come whole or in part."""
    (away / "fault.json").write_text(json.dumps({"breaks_after": 2_500_000}))
    assert orch("fetch", "s").code == 5
    (away / "fault.json").unlink()
    parts = list((ground.project / "fetched").rglob("*.part"))
    assert len(parts) == 1 and 0 < parts[0].stat().st_size < SIZE
    before = sum(path.stat().st_size for path in (ground.project / "fetched").rglob("*") if path.is_file())
    said = orch("fetch", "s", "--json")
    assert said.code == 0
    everything = sum(row["bytes"] for row in said.json["files"])
    assert said.json["bytes"] == everything - before
    assert digests(list((ground.project / "fetched").rglob("best.pt"))) == digests(run_file(away, "best.pt"))
    assert not list((ground.project / "fetched").rglob("*.part"))


def test_a_part_of_another_state_is_thrown_away(orch: Orch, ground: Ground, away: Path) -> None:
    part = ground.project / "fetched/s/n=1/best.pt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(os.urandom(1000))
    assert orch("fetch", "n=1", "--only", "best.pt").code == 0
    assert digests([ground.project / "fetched/s/n=1/best.pt"])[0] in digests(run_file(away, "best.pt"))


def test_nothing_leads_out_of_the_run_folder(orch: Orch, ground: Ground, away: Path) -> None:
    """A link to somebody's file in the run folder is not sent."""
    secret = ground.write("secret.txt", "mine")
    (run_file(away, "maps")[0] / "link.txt").symlink_to(secret)
    assert orch("fetch", "s", "--only", "maps/*").code == 0
    assert not list((ground.project / "fetched").rglob("link.txt"))


def test_there_is_nothing(orch: Orch, ground: Ground, away: Path) -> None:
    said = orch("fetch", "s", "--only", "*.nii.gz")
    assert said.code == 3 and "there is nothing to fetch" in said.err
