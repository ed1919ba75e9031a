"""Simple indexes (PEP 503) in a folder: small torch wheels by backend, platform, Python; a small PyPI."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

TORCH = Path(__file__).with_name("small_torch.py")
# Code for cards that the builds of a platform hold (`setup/wheels.json`, but told here a second time on purpose).
CODES = {
    ("cu126", "x86_64"): ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"],
    ("cu126", "aarch64"): ["sm_90"],
    ("cu130", "x86_64"): ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"],
    ("cu130", "aarch64"): ["sm_80", "sm_90", "sm_100", "sm_110", "sm_120"],
}
NEEDED = {"numpy": "2.1.0", "nibabel": "5.3.0", "scipy": "1.14.0", "submitit": "1.5.3"}  # the last where Slurm is


def wheel(
    folder: Path, name: str, version: str, tag: str, files: Mapping[str, str], requires: Iterable[str] = ()
) -> Path:
    """Write one wheel (PEP 427)."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    texts = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: {tag}\n",
    }
    lines = [f"{key},sha256={_hash(text)},{len(text.encode())}" for key, text in texts.items()]
    texts[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for key, text in texts.items():
            archive.writestr(key, text)
    page(folder)
    return path


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def page(folder: Path) -> None:
    """Write the page that lists a folder's wheels with their hashes."""
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.whl"))}
    links = [f'<a href="{name.replace("+", "%2B")}#sha256={sha256}">{name}</a>' for name, sha256 in sums.items()]
    (folder / "index.html").write_text("<!DOCTYPE html><html><body>\n" + "<br>\n".join(links) + "\n</body></html>\n")


def torch(folder: Path, torch: str, backend: str, arch: str, python: str, platform: str = "manylinux_2_28") -> Path:
    """Write a small torch into the index of a backend: `folder/whl/<backend>/torch/`."""
    about = {"version": f"{torch}+{backend}", "backend": backend, "codes": CODES.get((backend, arch), []), "arch": arch}
    text = TORCH.read_text(encoding="utf-8") + f"\n_become({json.dumps(about)!r})\n"
    triton = ["triton"] if arch == "x86_64" and backend != "cpu" else []
    place = folder / "whl" / backend
    if triton:
        wheel(place / "triton", "triton", "3.2.0", "py3-none-any", {"triton/__init__.py": ""})
    tag = f"{python}-{python}-{platform}_{arch}"
    return wheel(place / "torch", "torch", f"{torch}+{backend}", tag, {"torch/__init__.py": text}, triton)


def pypi(folder: Path, versions: Mapping[str, str] = NEEDED) -> str:
    """Write an index with what the trainer needs, and a newer torch that must never be taken; return its address."""
    for name, version in versions.items():
        requires = ["torch"] if name == "nibabel" else []  # like the many that would bring a torch of their own
        text = f"__version__ = {version!r}\n"
        wheel(folder / name, name, version, "py3-none-any", {f"{name}/__init__.py": text}, requires)
    text = TORCH.read_text(encoding="utf-8") + f"\n_become({json.dumps({'version': '2.99.0', 'backend': 'cpu'})!r})\n"
    wheel(folder / "torch", "torch", "2.99.0", "py3-none-any", {"torch/__init__.py": text})
    return folder.as_uri()
