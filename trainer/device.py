"""Which device, which precision, how many threads; each choice carries its reason in words."""

from __future__ import annotations

import os
import warnings
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

import torch

from jobs.errors import UsageError


class Choice(NamedTuple):
    """A chosen value and why."""

    value: str
    reason: str


def choose_device() -> Choice:
    """Return `cuda` where a CUDA device computes, else `cpu`."""
    if torch.version.cuda is None and torch.version.hip is None:
        return Choice("cpu", f"torch {torch.__version__} is built without CUDA")
    with warnings.catch_warnings():  # torch warns about an old driver; the reason says it
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            shown = "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
            return Choice("cpu", f"torch {torch.__version__} finds no usable CUDA device or driver{shown}")
    try:
        torch.ones(1, device="cuda").add_(1).item()
    except RuntimeError as error:
        return Choice("cpu", f"CUDA refuses a first sum: {str(error).splitlines()[0]}")
    major, minor = torch.cuda.get_device_capability()
    return Choice("cuda", f"{torch.cuda.get_device_name()} (compute {major}.{minor}) answers")


def choose_precision(wish: str, device: str) -> Choice:
    """Return `fp32` or `bf16` for the wish `auto`, `fp32` or `bf16`.

    Raises
    ------
    UsageError
        bf16 is asked of a CUDA device that lacks it.
    """
    able, reason = _bf16_on_cuda() if device == "cuda" else bf16_on_cpu(cpu_flags())
    if wish == "auto":
        return Choice("bf16" if able else "fp32", reason)
    if wish == "bf16" and not able:
        if device == "cuda":
            raise UsageError(f"precision bf16 was asked for, but {reason}", "write train: {precision: auto}")
        return Choice("bf16", f"asked for; slow, as {reason}")
    return Choice(wish, "asked for")


def _bf16_on_cuda() -> tuple[bool, str]:
    name, (major, _) = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    if torch.version.hip is not None or major >= 8:
        return True, f"{name} computes in bf16"
    return False, f"{name} has no bf16 units (compute 8.0 has them)"


def bf16_on_cpu(flags: Set[str]) -> tuple[bool, str]:
    """Tell from a CPU's feature flags whether bf16 is faster on it, and why.

    AMX or AVX-512 BF16 halve the time of a training step; without them bf16 is emulated and slower than fp32.
    """
    for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 BF16")):
        if flag in flags:
            return True, f"the CPU has {name} ({flag})"
    return False, "the CPU has neither AMX nor AVX-512 BF16"


def cpu_flags() -> frozenset[str]:
    """Return this CPU's feature flags; empty where the system does not tell (not Linux)."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(flag for key, _, value in lines if key.strip() in ("flags", "Features") for flag in value.split())


def prepare(device: str) -> int:
    """Make torch deterministic and hold it to the job's cores (OMP_NUM_THREADS); return the number of threads.

    On CUDA an operation without a deterministic form warns instead of failing: the one met here is max-pool backward,
    whose atomic additions never meet, as its windows do not overlap.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    torch.use_deterministic_algorithms(True, warn_only=device == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # all is written here
    torch.backends.cudnn.benchmark = False  # a choice by stopwatch differs from run to run
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        torch.set_num_threads(int(asked))
    return torch.get_num_threads()
