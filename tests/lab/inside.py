"""Process 1 of one lab host: builds the host's root from a folder, starts its sshd, buries its dead.

    unshare --mount --uts --ipc --net --pid --fork python -I inside.py CONFIGURATION.json

An aarch64 host lives besides in a user namespace with all ids mapped, because only there a binfmt_misc table of its
own can be had (Linux 6.7): programs for aarch64 go to qemu, and those for x86_64 fail with a true "Exec format error".
Nothing of the machine outside is changed.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import system

NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
SSHD = """HostKey /etc/ssh/lab_key
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
MaxStartups 100
PidFile none
UseDNS no
PrintMotd no
LogLevel VERBOSE
SetEnv PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin
"""
QEMU = "/run/qemu"
NOT_OURS = "/run/.not-for-this-processor"  # the "interpreter" of x86_64 programs: the kernel cannot execute it


def main(configuration: dict[str, Any]) -> None:
    """Build, start, tell the machine's process id, wait for ever."""
    told = Path(configuration["told"])
    outer = str(Path("/proc/self").readlink())  # this is still the /proc of the machine
    system.mount("none", "/", flags=system.REC | system.PRIVATE)
    socket.sethostname(configuration["name"])
    root = build(configuration)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")  # port 22, also in a user namespace
    server = start_sshd(root, configuration)
    told.with_suffix(".new").write_text(json.dumps({"init": int(outer), "sshd": server}))
    told.with_suffix(".new").rename(told)
    while True:
        os.waitpid(-1, 0)


def build(about: dict[str, Any]) -> Path:
    """Mount the host's root over its lower folder; return it."""
    base, lower = Path(about["folder"]), about["lower"]
    root, work = base / "root", base / "work"
    shutil.rmtree(work, ignore_errors=True)
    for folder in (root, work, base / "upper", base / "vartmp"):
        folder.mkdir(exist_ok=True)
    options = f"lowerdir={lower},upperdir={base / 'upper'},workdir={work}"
    system.mount("overlay", root, "overlay", options=options)
    for name in ("proc", "sys", "dev", "tmp", "run", "home", "var/tmp", "etc/ssh", "usr/local/bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    _system_folders(root)
    for name, options in {"tmp": "mode=1777,size=512m", "run": "mode=755"}.items():
        system.mount("tmpfs", root / name, "tmpfs", options=options)
    (base / "vartmp").chmod(0o1777)
    system.mount(str(base / "vartmp"), root / "var/tmp", flags=system.BIND)
    system.mount(about["home"], root / "home", flags=system.BIND)
    for name in ("root", "work", "opt", "srv", "media", "mnt") if lower == "/" else ():
        if (root / name).is_dir():
            system.mount("hidden", root / name, "tmpfs", options="mode=755")
    _settings(root, about)
    return root


def _system_folders(root: Path) -> None:
    """/proc with a boot id of its own, /sys, /dev."""
    system.mount("proc", root / "proc", "proc")
    system.mount("sysfs", root / "sys", "sysfs", system.RDONLY)
    system.mount("tmpfs", root / "run", "tmpfs")  # only for the file below; another one is mounted over it
    (root / "run/boot_id").write_text(f"{uuid.uuid4()}\n")
    system.mount(str(root / "run/boot_id"), root / "proc/sys/kernel/random/boot_id", flags=system.BIND)
    system.mount("dev", root / "dev", "tmpfs", options="mode=755,size=4m")
    for name, (major, minor) in NODES.items():
        os.mknod(root / "dev" / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        (root / "dev" / name).chmod(0o666)
    for name in ("pts", "shm"):
        (root / "dev" / name).mkdir()
    system.mount("devpts", root / "dev/pts", "devpts", options="newinstance,ptmxmode=0666,mode=620,gid=5")
    system.mount("shm", root / "dev/shm", "tmpfs", options="mode=1777")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd"}
    links |= {name: f"/proc/self/fd/{number}" for number, name in enumerate(("stdin", "stdout", "stderr"))}
    for name, target in links.items():
        (root / "dev" / name).symlink_to(target)


def _settings(root: Path, about: dict[str, Any]) -> None:
    (root / "etc/hostname").write_text(about["name"] + "\n")
    (root / "etc/hosts").write_text(about["hosts"])
    user, number = about["user"], about["uid"]
    _add_line(root / "etc/passwd", f"{user}:x:{number}:{number}:lab user:/home/{user}:/bin/bash")
    _add_line(root / "etc/passwd", "sshd:x:22:65534::/run/sshd:/usr/sbin/nologin")
    _add_line(root / "etc/group", f"{user}:x:{number}:")
    _add_line(root / "etc/shadow", f"{user}:*:19000:0:99999:7:::")
    _add_line(root / "etc/shadow", "root:*:19000:0:99999:7:::")
    (root / "run/sshd").mkdir(mode=0o755)
    key = root / "etc/ssh/lab_key"
    shutil.copy(about["key"], key)
    key.chmod(0o600)
    (root / "etc/ssh/lab").write_text(SSHD)
    for program in Path(about["programs"]).iterdir():
        shutil.copy(program, root / "usr/local/bin" / program.name)
        (root / "usr/local/bin" / program.name).chmod(0o755)


def _add_line(path: Path, line: str) -> None:
    text = path.read_text() if path.exists() else ""
    if not any(one.split(":")[0] == line.split(":")[0] for one in text.splitlines()):
        path.write_text(f"{text}{line}\n")


def start_sshd(root: Path, about: dict[str, Any]) -> int:
    """Start sshd in the new root; return its process id as the machine sees it."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go[1])  # else its end never comes
        try:
            _become_sshd(root, about, ready[1], go[0])
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    os.close(ready[1])
    outer = os.read(ready[0], 20)
    if not outer:
        sys.exit("the host's sshd did not start")
    if about["arm"]:
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{outer.decode()}/{name}").write_text("0 0 4294967295")
    os.close(go[1])
    return int(outer)


def _become_sshd(root: Path, about: dict[str, Any], ready: int, go: int) -> None:
    """In the child: take the new root, enter the user namespace, register the processors, become sshd."""
    outer = str(Path("/proc/self").readlink()).encode()
    if about["arm"]:
        _prepare_processors(root)
    system.unshare(system.NEWNS)
    system.change_root(root)
    if about["arm"]:
        system.unshare(system.NEWUSER | system.NEWNS)
    os.write(ready, outer)
    os.close(ready)
    os.read(go, 1)  # end of file: the ids are mapped
    if about["arm"]:
        _register_processors()
    os.execv("/usr/sbin/sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/lab"])


def _prepare_processors(root: Path) -> None:
    """Put a marked qemu and something that is no program into the host: byte 15 of an ELF head has no meaning."""
    qemu = bytearray(Path("/usr/bin/qemu-aarch64-static").read_bytes())
    qemu[15] = 0x51
    for path, data in ((QEMU, bytes(qemu)), (NOT_OURS, b"no program\0")):
        (root / path[1:]).write_bytes(data)
        (root / path[1:]).chmod(0o755)


def _register_processors() -> None:
    """aarch64 goes to qemu; x86_64 without the mark (so not qemu itself) to what cannot be executed: ENOEXEC."""
    table = "/proc/sys/fs/binfmt_misc"
    system.mount("binfmt_misc", table, "binfmt_misc")
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    mask = b"\xff" * 7 + b"\0" + b"\xff" * 8  # byte 7, the OS ABI, may be anything
    rows = [
        ("aarch64", head + b"\x02\0\xb7\0", mask + b"\xfe\xff\xff\xff", QEMU, "OPF"),
        ("x86_64", head + b"\x02\0\x3e\0", mask + b"\xfc\xff\xff\xff", NOT_OURS, ""),
    ]
    for name, magic, mask, program, flags in rows:
        line = f":{name}:M::{_escaped(magic)}:{_escaped(mask)}:{program}:{flags}"
        descriptor = os.open(f"{table}/register", os.O_WRONLY)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
