from __future__ import annotations

import stat
from pathlib import Path

import pytest

from jobs.errors import DiskError
from orchestrator.store import Index
from orchestrator.store.place import network, refuse_network

MOUNTS = """
/dev/sda1 / ext4 rw 0 0
nodal:/shared /shared nfs4 rw 0 0
/dev/sdb1 /shared/local ext4 rw 0 0
server:/lab /srv/two\\040words fuse.sshfs rw 0 0
//nas/x /mnt/nas cifs rw 0 0
tmpfs /mnt/nas tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/var/lib/orch", ""),
        ("/shared/intern/.local/state", "nfs4 at /shared"),
        ("/shared", "nfs4 at /shared"),
        ("/sharedwork", ""),
        ("/shared/local/state", ""),
        ("/srv/two words/index", "fuse.sshfs at /srv/two words"),
        ("/mnt/nas/index", ""),  # covered by a later mount
    ],
)
def test_the_mount_that_holds_a_path_decides(tmp_path: Path, path: str, reason: str) -> None:
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)
    assert network(Path(path), str(table)) == reason


def test_without_a_mount_table_nothing_is_refused(tmp_path: Path) -> None:
    assert network(tmp_path, str(tmp_path / "missing")) == ""
    refuse_network(tmp_path)


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "state" / "index.db"
    with Index.open(path) as index:
        index.seen("local", 1.0)
        modes = {item.name: stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert {"index.db", "index.db-wal", "index.db-shm", "index.db.lock"} == set(modes)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write"):
        Index.open(tmp_path / "file" / "index.db")
