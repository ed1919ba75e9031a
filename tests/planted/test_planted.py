"""The planted faults themselves: each still applies to the tree, and names tests that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from .run import ROOT, Fault, applies, faults


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_a_planted_fault_still_applies_and_its_tests_exist(fault: Fault) -> None:
    assert not applies(fault.name), "the code it spoils has changed: make the patch again"
    assert fault.what and fault.tests
    missing = [test for test in fault.tests if not (ROOT / test.partition("::")[0]).exists()]
    assert not missing


def test_a_planted_fault_is_one_change(tmp_path: Path) -> None:
    """Small: a mistake of one person at one place."""
    for fault in faults():
        lines = (Path(__file__).parent / f"{fault.name}.patch").read_text(encoding="utf-8").splitlines()
        changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        assert len([line for line in lines if line.startswith("+++ ")]) == 1, fault.name
        assert len(changed) <= 12, fault.name
