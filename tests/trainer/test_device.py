"""Choices of device, precision and threads carry reasons; the machine at hand decides, flags are given."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from trainer.device import bf16_on_cpu, choose_device, choose_precision, cpu_flags


def test_the_device_is_usable_and_says_why() -> None:
    chosen = choose_device()
    assert torch.ones(1, device=chosen.value).item() == 1 and chosen.reason
    assert (chosen.value == "cuda") == torch.cuda.is_available()


@pytest.mark.parametrize(
    ("flags", "able", "word"),
    [
        ({"avx2", "avx512f"}, False, "neither"),
        ({"avx512f", "avx512_bf16"}, True, "avx512_bf16"),
        ({"amx_bf16", "avx512_bf16"}, True, "AMX"),
        (set(), False, "neither"),
    ],
)
def test_bf16_is_chosen_by_what_the_cpu_can(flags: set[str], able: bool, word: str) -> None:
    found, reason = bf16_on_cpu(flags)
    assert found == able and word in reason


def test_auto_follows_the_hardware_and_a_wish_is_obeyed() -> None:
    able, reason = bf16_on_cpu(cpu_flags())
    assert choose_precision("auto", "cpu") == ("bf16" if able else "fp32", reason)
    assert choose_precision("fp32", "cpu") == ("fp32", "asked for")
    value, reason = choose_precision("bf16", "cpu")
    assert value == "bf16" and reason.startswith("asked for")


def test_threads_come_from_the_job_and_torch_is_deterministic() -> None:
    code = (
        "import torch; from trainer import device; print(device.prepare('cpu'), torch.get_num_threads(), "
        "torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())"
    )
    environment = {"OMP_NUM_THREADS": "2", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "2", "True", "False"]
