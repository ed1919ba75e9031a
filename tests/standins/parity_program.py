"""Run by a lab host's own Python in place of an environment with torch: PROGRAM -I -B CODE parity.

It answers as `python -m trainer parity` does, with numbers that it really computes there: a convolution of the small
torch, forward and backward, and some steps of descent. `bent-<processor>` beside it is a fault: 1 % more loss.
"""

import importlib.util
import json
import platform
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _torch():
    spec = importlib.util.spec_from_file_location("small_torch", HERE / "small_torch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _filled(sizes, step, counter):
    if not sizes:
        return (next(counter) * step) % 1.0 - 0.5
    return [_filled(sizes[1:], step, counter) for _ in range(sizes[0])]


def _less(weights, gradient, rate):
    if isinstance(weights, list):
        return [_less(one, other, rate) for one, other in zip(weights, gradient, strict=True)]
    return weights - rate * gradient


def _train(torch, dtype, bend):
    values = _filled((2, 3, 3, 3), 0.377, iter(range(54)))
    images = torch.tensor(_filled((1, 3, 8, 8), 0.619, iter(range(192))), dtype=dtype)
    losses, shown, norm = [], [], 0.0
    for _ in range(3):
        weights = torch.tensor(values, dtype=dtype)
        output = torch.nn.functional.conv2d(images, weights, padding=1)
        loss = (output * output).mean()
        loss.backward()
        losses.append(loss.item() * bend)
        shown.append(output.tolist()[0][0][0])
        norm = norm or sum(number * number for number in torch._flat(weights.grad.tolist())) ** 0.5
        values = _less(values, weights.grad.tolist(), 0.5)
    return {"losses": losses, "outputs": shown[0], "last": shown[-1], "gradient": norm}


def main(words):
    code, verb = words[2:4]
    here = [Path(code, name).is_file() for name in ("__main__.py", "trainer/parity.py", "jobs/errors.py")]
    if words[:2] != ["-I", "-B"] or verb != "parity" or not all(here):
        return {"error": {"code": "FAILED", "message": f"called with {words} {here}", "hint": ""}}
    torch, machine = _torch(), platform.machine()
    bend = 1.01 if (HERE / f"bent-{machine}").exists() else 1.0
    about = {"format": 1, "batch": "of whole numbers", "weights": "of whole numbers", "device": "cpu", "name": machine}
    about.update(torch="2.6.0", cuda=None, cudnn=None, numpy="2.0", python=platform.python_version(), machine=machine)
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    parts = {name: _train(torch, kind, bend) for name, kind in kinds.items()}
    return {**about, **parts, "bf16_reason": "it is rounded by hand"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])) + "\n")
