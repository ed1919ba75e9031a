"""The proof that an environment gives, by the real torch of this one, on the processor; and when it must fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs import verify

SOURCE = Path(verify.__file__).read_text(encoding="utf-8")


def prove(**request: Any) -> dict[str, Any]:
    command = [sys.executable, "-I", "-B", "-c", SOURCE, json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.slow
def test_the_real_torch_computes_what_it_should() -> None:
    import importlib.metadata

    version = importlib.metadata.version("torch")
    told = prove(device="cpu", torch=version, cuda=None)
    checks = {check["check"]: check["ok"] for check in told["checks"]}
    assert checks["convolution on cpu: output"] and checks["convolution on cpu: gradient"] and checks["bf16"]
    assert told["packages"]["torch"] == version
    assert told["values"]["loss"] == pytest.approx(6.9612, abs=1e-3)  # the fixed batch: the same on every machine
    wrong = prove(device="cpu", torch="2.6.0+cu126", cuda="12.6")
    assert not wrong["ok"]
    assert [check["check"] for check in wrong["checks"] if not check["ok"]] == ["torch", "CUDA of the build"]


def test_the_fixed_batch_is_the_same_everywhere() -> None:
    batch = verify._wave((2, 3), 0.5)
    assert batch[0][0] == 0.0 and batch[1][2] == pytest.approx(0.5984721441)


@pytest.mark.parametrize(("code", "fits"), [("86", True), ("80", True), ("90", False), ("75", False), ("x", False)])
def test_code_runs_on_its_own_major_version(code: str, fits: bool) -> None:
    assert verify._fits(code, 8, 6) is fits
