"""The launchers: the keeper of this machine, and a real Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground
from lab.slurm import Slurm

from .launcher_suite import LauncherSuite


class TestDirect(LauncherSuite):
    @pytest.fixture
    def ground(self, tmp_path: Path) -> Iterator[Ground]:
        found = Ground(tmp_path / "ground")
        found.write("orch.yaml")
        yield found
        found.close()


@pytest.mark.slow
class TestSlurm(LauncherSuite):
    @pytest.fixture
    def ground(self, slurm: Slurm, tmp_path: Path) -> Iterator[Ground]:
        found = Ground(tmp_path / "ground")
        found.write("orch.yaml")
        found.write("site.yaml", "hosts:", "  local: {scheduler: slurm, slurm: {partition: gpu}}")
        yield found
        found.close()
