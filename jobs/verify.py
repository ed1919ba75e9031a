"""Run by an environment's own Python: is this the torch that was meant, and does it compute? One JSON line answers.

    python -I -B -c SOURCE '{"device": "cuda", "torch": "2.6.0+cu126", "cuda": "12.6"}'

`is_available()` alone proves little: kernels may be missing for the card. So a small convolution runs forward and
backward on the device and is compared with the processor.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import platform
import sys
from importlib import metadata
from typing import Any, Dict, Iterator, List

EXACT = 1e-4  # largest difference allowed in fp32, as a part of the largest value
ROUGH = 5e-2  # the same in bf16, which has 8 bits of precision
_OURS = "orch-lab"  # pinned by the code hash, so not part of the fingerprint


def main(request: Dict[str, Any]) -> Dict[str, Any]:
    """Return versions, packages, cards, and a list of checks: `{"check", "ok", "found", "meant"}`."""
    torch = importlib.import_module("torch")
    device = request["device"]
    checks = [_check("torch", str(torch.__version__), request["torch"])]
    checks.append(_check("CUDA of the build", torch.version.cuda, request["cuda"]))
    cards: List[Dict[str, Any]] = []
    if device == "cuda":
        available = bool(torch.cuda.is_available())
        checks.append(_check("GPU usable", available, True))
        if not available:
            return _answer(torch, checks, cards, {})
        cards = [_card(torch, index) for index in range(torch.cuda.device_count())]
        checks += [_capability(torch, card) for card in cards]
    values = _compute(torch, device, checks)
    return _answer(torch, checks, cards, values)


def _check(name: str, found: Any, meant: Any) -> Dict[str, Any]:
    return {"check": name, "ok": found == meant, "found": found, "meant": meant}


def _card(torch: Any, index: int) -> Dict[str, Any]:
    about = torch.cuda.get_device_properties(index)
    major, minor = torch.cuda.get_device_capability(index)
    return {"name": about.name, "capability": "{}.{}".format(major, minor), "memory_mb": about.total_memory >> 20}


def _capability(torch: Any, card: Dict[str, Any]) -> Dict[str, Any]:
    """Machine code runs on a card of the same major version and no older minor one."""
    codes = [str(code) for code in torch.cuda.get_arch_list()]
    major, minor = (int(part) for part in card["capability"].split("."))
    fitting = [code for code in codes if code.startswith("sm_") and _fits(code[3:].rstrip("af"), major, minor)]
    name = "code for {} (sm_{}{})".format(card["name"], major, minor)
    return {"check": name, "ok": bool(fitting), "found": " ".join(codes), "meant": "sm_{}{}".format(major, minor)}


def _fits(code: str, major: int, minor: int) -> bool:
    return code.isdigit() and int(code[:-1]) == major and int(code[-1]) <= minor


def _compute(torch: Any, device: str, checks: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Run the fixed batch on the device; append what was compared; return values for comparison between hosts."""
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    exact = _step(torch, "cpu", torch.float64)
    here = _step(torch, device, torch.float32)
    for name in ("output", "gradient"):
        worst = _worst(here[name], exact[name])
        title = "convolution on {}: {}".format(device, name)
        checks.append({"check": title, "ok": worst <= EXACT, "found": worst, "meant": "<= {:g}".format(EXACT)})
    try:
        worst = _worst(_step(torch, device, torch.bfloat16)["gradient"], exact["gradient"])
    except RuntimeError as error:  # a card before Ampere may have no kernel for it: told, not a fault
        return {"loss": here["loss"], "gradient": sum(_flat(here["gradient"])), "bf16": str(error)[:200]}
    checks.append({"check": "bf16", "ok": worst <= ROUGH, "found": worst, "meant": "<= {:g}".format(ROUGH)})
    return {"loss": here["loss"], "gradient": sum(_flat(here["gradient"])), "bf16": True}


def _step(torch: Any, device: str, dtype: Any) -> Dict[str, Any]:
    """One convolution, 2 x 3 x 12 x 12 with 4 x 3 x 3 x 3, and the gradient of its mean square."""
    images = torch.tensor(_wave((2, 3, 12, 12), 0.37), dtype=dtype, device=device)
    weights = torch.tensor(_wave((4, 3, 3, 3), 0.91), dtype=dtype, device=device, requires_grad=True)
    output = torch.nn.functional.conv2d(images, weights, padding=1)
    loss = (output * output).mean()
    loss.backward()
    return {"output": output.tolist(), "gradient": weights.grad.tolist(), "loss": float(loss.item())}


def _wave(shape: Any, step: float) -> List[Any]:
    """Numbers that every machine makes alike: a sine, row by row."""
    counter = iter(range(math.prod(shape)))

    def fill(sizes: Any) -> Any:
        return [fill(sizes[1:]) for _ in range(sizes[0])] if sizes else math.sin(step * next(counter))

    return list(fill(tuple(shape)))


def _flat(values: Any) -> Iterator[float]:
    if isinstance(values, list):
        for value in values:
            yield from _flat(value)
    else:
        yield float(values)


def _worst(found: Any, meant: Any) -> float:
    largest = max(abs(value) for value in _flat(meant))
    return max(abs(one - other) for one, other in zip(_flat(found), _flat(meant))) / largest


def _answer(torch: Any, checks: List[Any], cards: List[Any], values: Dict[str, Any]) -> Dict[str, Any]:
    found = {str(item.metadata["Name"]).lower().replace("_", "-"): item.version for item in metadata.distributions()}
    packages = {name: version for name, version in sorted(found.items()) if name != _OURS}
    cudnn = torch.backends.cudnn.version() if torch.version.cuda else None
    return {
        "ok": all(check["ok"] for check in checks),
        "checks": checks,
        "cards": cards,
        "values": values,
        "cudnn": cudnn,
        "python": platform.python_version(),
        "packages": packages,
        "slurm": _job(),
    }


def _job() -> Any:
    """The job of Slurm that we are and its node, or None."""
    job = os.environ.get("SLURM_JOB_ID")
    return {"job": job, "node": os.environ.get("SLURMD_NODENAME")} if job else None


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(json.loads(sys.argv[1]))) + "\n")
