"""Grounds for whole commands in processes of their own; one of them with a trained sweep that all tests share."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from ground import Ground

# What must never be seen outside of the data registry: names in file names, text in NIfTI headers.
PATIENTS = ("Dupont-Marie", "Nguyen-Anh", "Okafor-Chidi", "Lindqvist-Eva", "Haddad-Rami", "Rossi-Luca")
HEADER = b"scan of Mme Dupont, born 1955"

TINY = (
    "sweep: tiny",
    "folds: 2",
    "strategies:",
    "  identity: []",
    "  rotate: [{rotate: {degrees: 15}}]",
    "train: {width: 4, depth: 2, epochs: 2, lr: 1e-2, patience: 0}",
    "resources: {cpus: 1}",
)


@pytest.fixture
def ground(hostile_path: Path) -> Iterator[Ground]:
    """A project of its own on a hostile path; all processes of it are ended afterwards."""
    found = Ground(hostile_path / "ground")
    yield found
    found.close()


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tiny volumes with masks; file names and headers hold made-up names."""
    folder = tmp_path_factory.mktemp("volumes") / "ducts"
    words = ["phantom", str(folder), "--cases", "6", "--size", "32", "--depth", "8", "--seed", "0"]
    subprocess.run([sys.executable, "-I", "-m", "trainer", *words], check=True, capture_output=True)
    (folder / "dataset.json").unlink()
    for part in ("imagesTr", "labelsTr"):
        for path, patient in zip(sorted((folder / part).iterdir()), PATIENTS, strict=True):
            volume = nibabel.load(path)
            volume.header["descrip"] = HEADER
            data = np.asarray(volume.dataobj)
            nibabel.save(nibabel.Nifti1Image(data, volume.affine, volume.header), folder / part / f"{patient}.nii.gz")
            path.unlink()
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, volumes: Path) -> Ground:
    """Two strategies by two folds, trained once for all test processes, under an open umask; only read by tests."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "trained.done").exists():
            shutil.rmtree(shared / "trained", ignore_errors=True)
            _train(Ground(shared / "trained"), volumes)
            (shared / "trained.done").touch()
    return Ground(shared / "trained")


def _train(ground: Ground, volumes: Path) -> None:
    try:
        shutil.copytree(volumes, ground.project / "ducts")
        assert ground.orch("init", "ducts", umask=0).code == 0
        ground.write("sweeps/tiny.yaml", *TINY)
        done = ground.orch("sweep", "tiny", umask=0, timeout=300)
        assert done.code == 0, done.err
        ground.write("sweep.out", done.out.rstrip("\n"))
        ground.settle()
    finally:
        ground.close()
