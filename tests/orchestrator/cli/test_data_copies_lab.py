"""`orch data copy`, `verify` and `forget` in the lab: real ssh, a host whose orch home is on a disk of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from ground import Ground, until
from lab.cluster import USER, Lab

pytestmark = pytest.mark.slow
HOME = "/var/tmp/its own home"  # each host has its own /var/tmp
BIG = 20_000_000  # bytes


@pytest.fixture
def ground(lab: Lab, hostile_path: Path) -> Iterator[Ground]:
    """A laptop with a registered data set of one volume; the hosts have homes of their own."""
    found = Ground(hostile_path / "ground")
    found.write("orch.yaml")
    found.write("site.yaml", "hosts:", *(f'  {name}: {{ssh: {name}, home: "{HOME}"}}' for name in lab.hosts))
    case: dict[str, object] = {"case": "c-1", "group": "p-1", "shape": [4, 4, 4], "spacing": [1, 1, 1], "labels": [1]}
    for role, size in (("image", BIG), ("label", 10)):
        path = found.project / f"Béatrice's {role}.nii.gz"
        path.write_bytes(os.urandom(size))
        case |= {role: str(path), f"{role}_sha256": sha256(path.read_bytes()).hexdigest()}
    sizes = {str(axis): [16, 16] for axis in range(3)}
    known = {"contract": 1, "name": "liver", "hash": "d" * 16, "classes": ["duct"], "cases": [case], "sizes": sizes}
    manifest = Path(found.home.manifest("liver"))
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({**known, "source": {"images": str(found.project)}}))
    yield found
    found.close()
    for host in lab.hosts.values():
        host.run("/bin/sh", "-c", f"rm -rf '{HOME}' /var/tmp/orch-*", check=False)


def files(lab: Lab, host: str) -> dict[str, int]:
    listed = lab[host].run("/bin/sh", "-c", f"cd '{HOME}/data/liver/files' && stat -c '%s %n' .[!.]* *", check=False)
    pairs = (line.split(" ", 1) for line in listed.stdout.splitlines())
    return {name: int(size) for size, name in pairs}


@pytest.mark.usefixtures("needs_arm")
def test_a_copy_over_ssh_survives_a_cut_and_is_taken_back(ground: Ground, lab: Lab) -> None:
    """Injected: all sessions killed in the middle of a file, once. Sent again: not what had come. Left: nothing."""
    ada = lab["ada"]
    ada.slow(30_000)
    first = ground.start("data", "copy", "liver", "--host", "ada")
    until(lambda: any(name.endswith(".part") and size > 2e6 for name, size in files(lab, "ada").items()), 120)
    ada.end_sessions()
    _, said = first.communicate(timeout=120)
    assert first.returncode == 5, said
    ada.heal()
    (came,) = [size for name, size in files(lab, "ada").items() if name.endswith(".part")]
    before = ada.connections
    second = ground.orch("data", "copy", "liver", "--host", "ada", "--json")
    assert second.code == 0, second.err
    assert ada.connections == before + 1 and 2e6 < came < BIG
    assert second.json["bytes"] <= BIG + 10 - came, "what the former agent still took in counts as well"
    assert ground.orch("data", "verify", "liver", "--host", "ada").code == 0
    assert ground.orch("data", "copy", "liver", "--host", "ada", "--json").json["bytes"] == 0
    assert ada.run("/bin/sh", "-c", f"ls -R '{HOME}'; cat '{HOME}'/data/*/*.json").stdout.count("Béatrice") == 0
    gone = ground.orch("data", "forget", "liver", "--host", "ada", "--yes")
    assert gone.code == 0 and "ada: 2 files, 20.0 MB deleted for good" in gone.out, gone.err
    assert files(lab, "ada") == {}


@pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync on both ends: apt-get install rsync")
def test_rsync_goes_on_where_the_wire_was_cut(ground: Ground, lab: Lab) -> None:
    """Injected: half of the file had come over the wire. Sent by rsync: the rest, verified like everything."""
    volume = next(ground.project.glob("*image*"))
    part = f".{sha256(volume.read_bytes()).hexdigest()}.nii.gz.nodal.part"
    folder = lab["nodal"].root / HOME.lstrip("/") / "data/liver/files"
    folder.mkdir(parents=True)
    (folder / part).write_bytes(volume.read_bytes()[: BIG // 2])
    lab["nodal"].run("chown", "-R", USER, HOME)
    said = ground.orch("data", "copy", "liver", "--host", "nodal", "--via", "rsync", "--json")
    assert said.code == 0, said.err
    assert said.json["bytes"] == BIG - BIG // 2 + 10
    assert ground.orch("data", "verify", "liver", "--host", "nodal").code == 0
