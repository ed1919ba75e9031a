"""A torch for tests: it can do one convolution and its gradient, in plain Python, and sees the GPU of `nvidia-smi`.

Like the real one it needs a driver that is new enough for its CUDA, and code for the card, else it refuses.
"""

import json
import shutil
import subprocess
import sys
import types

float64, float32, bfloat16 = "float64", "float32", "bfloat16"
_about = {}
_DRIVER = {"cu126": (525, 60, 13), "cu130": (580,)}


def _round(value, dtype):
    if dtype == float64:
        return value
    import struct

    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    if dtype == bfloat16:
        bits = (bits + 0x8000) & 0xFFFF0000
    return struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))[0]


def _map(function, *values):
    if isinstance(values[0], list):
        return [_map(function, *items) for items in zip(*values, strict=True)]
    return function(*values)


def _flat(values):
    return [number for value in values for number in _flat(value)] if isinstance(values, list) else [values]


class Tensor:
    def __init__(self, values, dtype, back=None):
        self.values, self.dtype, self.back, self.grad = _map(lambda one: _round(one, dtype), values), dtype, back, None

    def tolist(self):
        return self.values

    def __mul__(self, other):
        def back(gradient):  # only x * x is needed
            self.pull(_map(lambda one, mine: 2 * one * mine, gradient, self.values))

        return Tensor(_map(lambda one, two: one * two, self.values, other.values), self.dtype, back)

    def mean(self):
        numbers = _flat(self.values)
        part = 1 / len(numbers)
        return Tensor(sum(numbers) * part, self.dtype, lambda one: self.pull(_map(lambda _: one * part, self.values)))

    def item(self):
        return self.values

    def pull(self, gradient):
        self.grad = Tensor(gradient, self.dtype)
        if self.back:
            self.back(gradient)

    def backward(self):
        self.pull(1.0)


def tensor(values, dtype=float32, device="cpu", requires_grad=False):
    if device == "cuda":
        cuda.need()
    return Tensor(values, dtype)


def _conv2d(images, weights, padding):
    x, w = images.values, weights.values
    rows, columns, side = len(x[0][0]), len(x[0][0][0]), len(w[0][0])

    def taps(row, column):
        for i in range(side):
            for j in range(side):
                r, c = row + i - padding, column + j - padding
                if 0 <= r < rows and 0 <= c < columns:
                    yield i, j, r, c

    def at(image, kernel, row, column):
        return sum(kernel[k][i][j] * image[k][r][c] for k in range(len(kernel)) for i, j, r, c in taps(row, column))

    def back(gradient):
        found = _map(lambda _: 0.0, w)
        for n, image in enumerate(x):
            for o in range(len(w)):
                for row in range(rows):
                    for column in range(columns):
                        one = gradient[n][o][row][column]
                        for i, j, r, c in taps(row, column):
                            for k in range(len(image)):
                                found[o][k][i][j] += one * image[k][r][c]
        weights.pull(found)

    values = [[[[at(n, o, r, c) for c in range(columns)] for r in range(rows)] for o in w] for n in x]
    return Tensor(values, images.dtype, back)


class _Cuda:
    matmul = types.SimpleNamespace(allow_tf32=True)

    def cards(self):
        if _about.get("backend") not in _DRIVER or not shutil.which("nvidia-smi"):
            return []
        query = [
            "nvidia-smi",
            "--query-gpu=name,compute_cap,memory.total,driver_version",
            "--format=csv,noheader,nounits",
        ]
        told = subprocess.run(query, capture_output=True, text=True)
        rows = [line.split(", ") for line in told.stdout.splitlines()] if told.returncode == 0 else []
        return [row for row in rows if tuple(map(int, row[3].split("."))) >= _DRIVER[_about["backend"]]]

    def is_available(self):
        return bool(self.cards())

    def device_count(self):
        return len(self.cards())

    def get_device_properties(self, index):
        name, _, memory, _ = self.cards()[index]
        return types.SimpleNamespace(name=name, total_memory=int(memory) << 20)

    def get_device_capability(self, index):
        return tuple(map(int, self.cards()[index][1].split(".")))

    def get_arch_list(self):
        return _about["codes"]

    def need(self):
        major = self.get_device_capability(0)[0]
        if not any(code.startswith(f"sm_{major}") for code in _about["codes"]):
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")


cuda = _Cuda()
backends = types.SimpleNamespace(
    cudnn=types.SimpleNamespace(allow_tf32=True, version=lambda: 90501), cuda=types.SimpleNamespace(matmul=_Cuda.matmul)
)
nn = types.ModuleType("torch.nn")
nn.functional = types.ModuleType("torch.nn.functional")
nn.functional.conv2d = _conv2d
sys.modules.update({"torch.nn": nn, "torch.nn.functional": nn.functional})
version = types.SimpleNamespace(cuda=None)


def _become(about):
    global __version__
    _about.update(json.loads(about))
    __version__ = _about["version"]
    backend = _about["backend"]
    version.cuda = f"{backend[2:-1]}.{backend[-1]}" if backend.startswith("cu") else None
