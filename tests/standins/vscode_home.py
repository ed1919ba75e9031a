"""Homes in which VS Code was, for tests: programs with true ELF headers, settings, history, extensions, logs."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

NUMBERS = {"x86_64": 62, "aarch64": 183}
PLATFORMS = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}
COMMITS = {"x86_64": "a" * 40, "aarch64": "b" * 40}
OLD = time.time() - 7 * 86400


def elf(machine: str, more: str = "") -> bytes:
    """The first bytes of a 64-bit program, and something that makes it unlike the others."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + NUMBERS[machine].to_bytes(2, "little")
    return head + bytes(44) + more.encode()


def put(path: Path, content: bytes | str, mode: int = 0o644) -> Path:
    """Write a file that is a week old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    os.utime(path, (OLD, OLD))
    return path


def install(folder: Path, machine: str, commit: str = "", extensions: tuple[str, ...] = ("ms-python.python",)) -> str:
    """Do what VS Code does at the first contact: program, server in both layouts, logs, extensions."""
    commit = commit or COMMITS[machine]
    put(folder / f"code-{commit}", elf(machine, "cli" + commit), 0o755)
    put(folder / f".cli.{commit}.log", "listening\n")
    for place in (f"cli/servers/Stable-{commit}/server", f"bin/{commit}"):
        put(folder / place / "node", elf(machine, place), 0o755)
        put(folder / place / "product.json", json.dumps({"commit": commit}))
    put(folder / f"cli/servers/Stable-{commit}/pid.txt", "123456")
    if not (folder / "extensions").exists():
        extend(folder, machine, extensions)
    return commit


def extend(folder: Path, machine: str, names: tuple[str, ...]) -> None:
    """Install extensions; the first one holds native code."""
    entries = []
    for number, name in enumerate(names):
        place = f"{name}-1.{number}" + (f"-{PLATFORMS[machine]}" if number == 0 else "")
        platform = PLATFORMS[machine] if number == 0 else "universal"
        entries.append({"identifier": {"id": name}, "version": "1", "metadata": {"targetPlatform": platform}})
        put(folder / "extensions" / place / "main.js", f"// {name} {machine}")
        if number == 0:
            put(folder / "extensions" / place / "native.node", elf(machine, name))
    put(folder / "extensions" / "extensions.json", json.dumps(entries))


def personal(folder: Path) -> None:
    """Settings, state and local history: what the next reset must leave where it is."""
    put(folder / "data/Machine/settings.json", '{"editor.fontSize": 13}')
    put(folder / "data/User/History/3f/entry 'é\".json", "{}")
    put(folder / "data/User/globalStorage/state.vscdb", os.urandom(64))
    put(folder / "data/machineid", "id")


def kept(home: Path) -> dict[str, list[str]]:
    """SHA-256 of every file of the server folder and of all shelves: where it lies in its set (`parked` has no say)."""
    found: dict[str, list[str]] = {}
    for path in sorted(home.glob(".vscode-server*/**/*")):
        if path.is_file() and "orch-" not in str(path.relative_to(home)):  # no lock, no journal, no record of ours
            place = "/".join(path.relative_to(home).parts[1:])
            found.setdefault(place, []).append(hashlib.sha256(path.read_bytes()).hexdigest())
    return {place: sorted(hashes) for place, hashes in found.items()}


def machines(folder: Path) -> set[str]:
    """The processors whose programs lie in a server folder now."""
    numbers = {path.read_bytes()[18] for path in folder.rglob("*") if path.is_file() and is_elf(path)}
    return {name for name, number in NUMBERS.items() if number in numbers}


def is_elf(path: Path) -> bool:
    """It begins like a program."""
    return path.read_bytes()[:4] == b"\x7fELF"
