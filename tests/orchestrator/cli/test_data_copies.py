"""`orch data copy` to hosts that folders play, each with a home of its own: real agents, cuts, bad names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ground import Ground

from .conftest import Orch

Fault = Callable[..., None]
HOSTILE = 'it\'s "P07"\nBéatrice  $HOME;'
BIG = 24_000_000  # bytes: many more pieces than may be under way


@pytest.fixture
def hosts(ground: Ground) -> Fault:
    """Two hosts, `grace` and `ada`, each with a home of its own; the function sets or ends a fault of one."""
    ground.write("orch.yaml")
    lines = []
    for name in ("grace", "ada"):
        (ground.base / name / "local").mkdir(parents=True)
        lines.append(f"  {name}: {{way: fake, address: {json.dumps(str(ground.base / name))}}}")
    ground.write("site.yaml", "hosts:", *lines)

    def fault(name: str, **what: object) -> None:
        (ground.base / name / "fault.json").write_text(json.dumps(what))

    return fault


@pytest.fixture
def liver(ground: Ground, hosts: Fault) -> Path:
    """A data set `liver` that is registered here: the manifest that the trainer would write, files of any bytes."""
    folder = ground.project / "volumes"
    folder.mkdir()
    cases = []
    for number in range(3):
        about: dict[str, Any] = {"case": f"c-{number:08x}", "group": f"p-{number:08x}", "shape": [4, 4, 4]}
        for role, length in (("image", BIG if not number else 1000 * number), ("label", 10)):
            path = folder / f"{HOSTILE} {role} {number}.nii.gz"
            path.write_bytes(os.urandom(length))
            about |= {role: str(path), f"{role}_sha256": sha256(path.read_bytes()).hexdigest()}
        cases.append({**about, "spacing": [1, 1, 1], "labels": [0, 1]})
    write_manifest(ground, "liver", cases, str(folder))
    return folder


def write_manifest(ground: Ground, name: str, cases: list[dict[str, Any]], folder: str, hash: str = "d" * 16) -> None:
    source = {"images": folder, "labels": None, "csv": None, "groups": None, "classes": None}
    sizes = {str(axis): [16, 16] for axis in range(3)}
    known = {"contract": 1, "name": name, "hash": hash, "classes": ["duct"], "notes": [], "layout": source}
    path = Path(ground.home.manifest(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**known, "cases": cases, "sizes": sizes, "source": source}))


def there(ground: Ground, host: str = "ada", name: str = "liver") -> Path:
    return ground.base / host / ".orch" / "data" / name


def whole(ground: Ground, host: str = "ada") -> bool:
    """The host's manifest names files whose contents are what it says, and nothing else lies there."""
    manifest = json.loads((there(ground, host) / "manifest.json").read_text())
    named = {case[role]: case[f"{role}_sha256"] for case in manifest["cases"] for role in ("image", "label")}
    assert {str(path) for path in (there(ground, host) / "files").iterdir()} == set(named)
    return all(sha256(Path(path).read_bytes()).hexdigest() == known for path, known in named.items())


def last_line(path: Path) -> str:
    """The end of a hostile name: messages indent the lines of a text."""
    return path.name.split("\n")[-1]


def test_a_copy_is_made_once_and_tells_no_names(orch: Orch, ground: Ground, liver: Path) -> None:
    planned = orch("data", "copy", "liver", "--host", "ada", "--dry-run")
    assert planned.code == 0 and "ada lacks 6 files, 24.0 MB of liver" in planned.out and not there(ground).exists()
    said = orch("data", "copy", "liver", "--host", "ada")
    assert said.code == 0, said.err
    assert "liver is on ada: 6 files, 24.0 MB sent" in said.out and "6 files verified there" in said.out
    assert whole(ground)
    for path in there(ground).rglob("*"):
        assert "P07" not in path.name and path.stat().st_mode & 0o077 == 0, "for its owner alone"
    assert "P07" not in (there(ground) / "manifest.json").read_text()
    again = orch("data", "copy", "liver", "--host", "ada", "--json")
    assert (again.code, again.json["bytes"], again.json["files"]) == (0, 0, 0)


def test_a_copy_that_was_cut_goes_on_in_the_middle_of_a_file(
    orch: Orch, ground: Ground, hosts: Fault, liver: Path
) -> None:
    """Injected: the connection breaks while the large file is on its way, once. Sent again: only what had not come."""
    parts: list[Path] = []
    for answers in range(700, 3000, 200):  # bytes of answers: until some pieces have been taken in
        hosts("ada", breaks_after=answers)
        assert orch("data", "copy", "liver", "--host", "ada").code == 5
        parts = list((there(ground) / "files").glob(".*.part"))
        if parts:
            break
    (part,) = parts
    assert not (there(ground) / "manifest.json").exists()
    came = sum(path.stat().st_size for path in (there(ground) / "files").iterdir())
    assert 0 < part.stat().st_size < BIG
    hosts("ada")
    said = orch("data", "copy", "liver", "--host", "ada", "--json")
    assert said.code == 0, said.err
    assert said.json["bytes"] == sum(path.stat().st_size for path in liver.iterdir()) - came
    assert whole(ground)


def test_from_the_host_on_which_it_is_registered(orch: Orch, ground: Ground, liver: Path) -> None:
    """The bytes pass through this machine and stay nowhere; what changed at the origin is not taken in."""
    assert orch("data", "copy", "liver", "--host", "grace").code == 0
    assert orch("data", "forget", "liver", "--host", "local", "--yes").code == 0
    assert orch("data", "copy", "liver", "--host", "ada").code == 3
    said = orch("data", "copy", "liver", "--from", "grace", "--host", "ada")
    assert said.code == 0 and "6 files, 24.0 MB sent" in said.out, said.err
    assert whole(ground, "ada") and whole(ground, "grace") and not Path(ground.home.data, "liver/files").exists()
    shutil.rmtree(there(ground, "ada"))
    victim = next(path for path in (there(ground, "grace") / "files").iterdir() if path.stat().st_size == BIG)
    victim.write_bytes(bytes(BIG))
    bad = orch("data", "copy", "liver", "--from", "grace", "--host", "ada")
    assert bad.code == 1 and "orch data verify liver --host grace" in bad.err
    assert not (there(ground, "ada") / "manifest.json").exists()
    assert "nothing to do" in orch("data", "copy", "liver", "--from", "grace", "--host", "grace").out


def test_a_damaged_part_is_sent_anew(orch: Orch, ground: Ground, liver: Path) -> None:
    """Injected: what had come of the large file is of another file. Lost: those bytes."""
    (volume,) = [path for path in liver.iterdir() if path.stat().st_size == BIG]
    part = there(ground) / "files" / f".{sha256(volume.read_bytes()).hexdigest()}.nii.gz.{os.uname().nodename}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(os.urandom(1000))
    assert orch("data", "copy", "liver", "--host", "ada").code == 0
    assert whole(ground)


def test_a_file_that_changed_is_named_and_does_not_stay_there(orch: Orch, ground: Ground, liver: Path) -> None:
    """Injected: one file has other bytes than when it was registered. Kept of it on the far side: nothing."""
    victim = sorted(liver.iterdir())[0]
    before = victim.read_bytes()
    victim.write_bytes(bytes(len(before)))
    said = orch("data", "copy", "liver", "--host", "ada")
    assert said.code == 1 and f"{last_line(victim)} changed since the data set was" in said.err
    assert not (there(ground) / "manifest.json").exists()
    victim.write_bytes(before)
    assert orch("data", "copy", "liver", "--host", "ada").code == 0 and whole(ground)


def test_links_are_followed_and_a_missing_file_is_named(orch: Orch, ground: Ground, liver: Path) -> None:
    victim = sorted(liver.iterdir())[0]
    elsewhere = victim.rename(ground.base / "elsewhere")
    assert f"{last_line(victim)} cannot be read" in orch("data", "copy", "liver", "--host", "ada").err
    victim.symlink_to(elsewhere)
    assert orch("data", "copy", "liver", "--host", "ada").code == 0 and whole(ground)
    assert not any(path.is_symlink() for path in (there(ground) / "files").iterdir())


def test_two_laptops_at_once_make_one_set(ground: Ground, liver: Path, tmp_path: Path) -> None:
    """Two people copy the same data set to one host at the same time: both end well, nothing stands there twice."""
    other = Ground(tmp_path / "other")
    for name in ("orch.yaml", "site.yaml"):
        shutil.copy(ground.project / name, other.project)
    cases = json.loads(Path(ground.home.manifest("liver")).read_text())["cases"]
    write_manifest(other, "liver", cases, str(liver))
    both = [one.start("data", "copy", "liver", "--host", "ada", "--json") for one in (ground, other)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    sent = sorted(json.loads(out)["files"] for out, _ in told)
    assert sent == [0, 6], "the second one waited and found all there"
    assert whole(ground)
    other.close()


def test_a_sweep_says_how_the_data_gets_there(orch: Orch, ground: Ground, liver: Path) -> None:
    site = ground.project / "site.yaml"
    site.write_text(site.read_text().replace("way: fake", "way: fake, python: /usr/bin/python3"))
    ground.write("sweeps/s.yaml", "data: liver", "strategies: {identity: []}", "folds: 2")
    said = orch("sweep", "s", "--hosts", "ada")
    assert said.code == 3
    assert "liver is not on ada" in said.err and "6 files, 24.0 MB" in said.err
    assert "fix: orch data copy liver --host ada" in said.err
    assert orch("plan", "s", "--hosts", "ada").code == 3


def test_two_homes_that_are_one(orch: Orch, ground: Ground, liver: Path) -> None:
    shutil.rmtree(ground.base / "ada")
    (ground.base / "ada").mkdir()
    (ground.base / "ada/.orch").symlink_to(ground.home.path)
    said = orch("data", "copy", "liver", "--host", "local")
    assert said.code == 0 and "nothing to do: local has the orch home of" in said.out
    said = orch("data", "copy", "liver", "--host", "ada")
    assert said.code == 0 and "nothing to do: ada has the orch home of" in said.out


def test_verify_names_what_differs(orch: Orch, ground: Ground, liver: Path) -> None:
    """Injected: one file truncated, one deleted on the far side. Sent again by the next copy: those two."""
    assert orch("data", "copy", "liver", "--host", "ada").code == 0
    assert "6 files, 24.0 MB read on ada, all as registered" in orch("data", "verify", "liver", "--host", "ada").out
    manifest = json.loads((there(ground) / "manifest.json").read_text())
    first, second = manifest["cases"][:2]
    os.truncate(first["image"], 1000)
    Path(second["label"]).unlink()
    said = orch("data", "verify", "liver", "--host", "ada")
    assert said.code == 6
    assert f"{first['case']} image: other contents (1000 bytes)" in said.err
    assert f"{second['case']} label: it is not there" in said.err
    assert "fix: orch data copy liver --host ada" in said.err
    again = orch("data", "copy", "liver", "--host", "ada", "--json")
    assert (again.json["files"], again.json["bytes"]) == (2, BIG + 10)
    assert whole(ground) and orch("data", "verify", "liver").code == 0


def slices(ground: Ground, *pairs: list[str]) -> Path:
    """Slices as the trainer's cache would hold them."""
    folder = ground.base / "cache" / "slices" / sha256(str(pairs).encode()).hexdigest()[:32]
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps({"cases": pairs, "slices": 1}))
    (folder / "images.npy").write_bytes(bytes(500))
    return folder


def test_forget_deletes_copies_and_slices_and_never_the_original(orch: Orch, ground: Ground, liver: Path) -> None:
    for host in ("ada", "grace"):
        assert orch("data", "copy", "liver", "--host", host).code == 0
    listed = orch("data", "list")
    assert "ada 24.0 MB, 0 s ago" in listed.out or "ada 24.0 MB, 1 s ago" in listed.out
    case = json.loads(Path(ground.home.manifest("liver")).read_text())["cases"][0]
    ours = slices(ground, [case["image_sha256"], case["label_sha256"]])
    others = slices(ground, ["0" * 64, "1" * 64])
    rest = ours.with_name("a" * 32 + ".building-x")
    rest.mkdir()
    shown = orch("data", "forget", "liver")
    assert shown.code == 0 and "Nothing was deleted" in shown.err and "next: orch data forget liver --yes" in shown.err
    assert f"its registration goes, {liver} stays" in shown.out and whole(ground)
    said = orch("data", "forget", "liver", "--yes")
    assert said.code == 0, said.err
    assert "ada: 6 files, 24.0 MB deleted for good" in said.out and f"the original stays: {liver}" in said.out
    assert "liver is forgotten; results are kept" in said.out
    assert not there(ground).exists() and not there(ground, "grace").exists()
    assert not ours.exists() and not rest.exists() and others.exists()
    assert not Path(ground.home.data, "liver").exists() and len(list(liver.iterdir())) == 6
    journal = (ground.base / "ada/.orch/journal.jsonl").read_text()
    assert "forgot liver" in journal and "P07" not in journal
    (line,) = [line for line in Path(ground.home.journal).read_text().splitlines() if "copies of liver" in line]
    assert "ada: 6 files, 24.0 MB, gone" in line and "grace: 6 files, 24.0 MB, gone" in line and "P07" not in line
    assert orch("data", "forget", "liver").code == 3


def test_a_silent_host_is_asked_the_next_time(orch: Orch, ground: Ground, hosts: Fault, liver: Path) -> None:
    """Injected: ada is unreachable while the data set is forgotten. Left there for ever: nothing."""
    assert orch("data", "copy", "liver", "--host", "ada").code == 0
    hosts("ada", error="unreachable")
    said = orch("data", "forget", "liver", "--yes")
    assert said.code == 5 and "ada has not forgotten liver" in said.err
    assert not Path(ground.home.manifest("liver")).exists()
    assert "liver is not forgotten on ada yet" in orch("data", "list").err
    assert orch("data", "forget", "liver", "--yes").code == 5
    hosts("ada")
    done = orch("data", "forget", "liver", "--yes")
    assert done.code == 0 and "ada: 6 files, 24.0 MB deleted for good" in done.out, done.err
    assert not there(ground).exists() and not Path(ground.home.data, "liver").exists()


def test_only_one_host_forgets(orch: Orch, ground: Ground, liver: Path) -> None:
    for host in ("ada", "grace"):
        assert orch("data", "copy", "liver", "--host", host).code == 0
    said = orch("data", "forget", "liver", "--host", "ada", "--yes")
    assert said.code == 0 and "forgotten on ada" in said.out, said.err
    assert not there(ground).exists() and whole(ground, "grace")
    assert Path(ground.home.manifest("liver")).exists()
    (copy,) = orch("data", "list", "--json").json[0]["copies"]
    assert copy["host"] == "grace"


def test_forget_waits_for_jobs(orch: Orch, ground: Ground, liver: Path) -> None:
    """An attempt that uses the data set and of which no end is known: nothing is deleted."""
    assert orch("data", "copy", "liver", "--host", "ada").code == 0
    queue = ground.base / "ada/.orch/queue/another-host"
    queue.mkdir(parents=True)
    job = {"sweep": "s", "id": "a" * 16, "attempt": 1, "label": "rotate/0", "cell": {"data": "d" * 16}}
    lines = [{"contract": 1, "boot_id": "x", "jobs": 1}, job]
    (queue / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = orch("data", "forget", "liver", "--yes")
    assert said.code == 1 and "s/rotate/0" in said.err and "orch stop s" in said.err
    assert whole(ground)


def test_other_contents_under_the_name_stay(orch: Orch, ground: Ground, liver: Path) -> None:
    """A host on which somebody registered other volumes under the same name loses nothing, nor is it written over."""
    assert orch("data", "copy", "liver", "--host", "ada").code == 0
    cases = json.loads(Path(ground.home.manifest("liver")).read_text())["cases"][:1]
    write_manifest(ground, "liver", cases, str(liver), "e" * 16)
    said = orch("data", "copy", "liver", "--host", "ada")
    assert said.code == 2 and "with other contents" in said.err and "--replace" in said.err
    assert "other contents under this name" in orch("data", "forget", "liver").out
    assert orch("data", "copy", "liver", "--host", "ada", "--replace").code == 0
    assert whole(ground), "files of the former contents are gone"
    write_manifest(ground, "liver", cases, str(liver), "f" * 16)
    assert orch("data", "forget", "liver", "--yes").code == 0
    assert whole(ground)
