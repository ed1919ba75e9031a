"""The protocols of NODAL and of GRACE, followed to the letter: every block is run, in order, in two terminals."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.cluster import ADDRESSES, CARDS, USER, Lab, until

from orchestrator.cli.table import COMMANDS
from orchestrator.inventory import read_site
from setup.protocols import documents, guides
from setup.protocols.blocks import FILE, HOST, Code

from .test_setup_lab import programs, words  # noqa: F401  (fixtures: a conda, an index and wheels without internet)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_arm")]
LACKING = {"VS Code", "TurboVNC", "the sources of orch and a package index", "data"}  # not in the lab
PASSPHRASE = "correct horse"
SITE = """site: lab
hosts:
  grace: {{ssh: grace, address: {grace}, user: {user}, fingerprint: "{key_grace}", family: grace-ada,
    shared_home: lab, quota: 200 GB, expect: {{architecture: aarch64, gpu: NVIDIA GH200 480GB, driver: 550.54.15}}}}
  nodal: {{ssh: nodal, address: {nodal}, user: {user}, fingerprint: "{key_nodal}", shared_home: lab, quota: 200 GB,
    expect: {{architecture: x86_64, gpu: NVIDIA A10, driver: 545.23.08}},
    shared_with: {{en: the structures group, fr: le groupe structures}}}}
"""


class Terminal:
    """A shell that stays open, as a person's terminal does."""

    def __init__(self, *argv: str, environment: dict[str, str], folder: Path) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._shell = subprocess.Popen(argv, env=environment, cwd=folder, text=True, start_new_session=True, **pipes)

    def type(self, text: str) -> tuple[int, str]:
        """Run lines; return the last one's exit status and all that was printed."""
        assert self._shell.stdin and self._shell.stdout
        self._shell.stdin.write(f"{{ {text}\n}} </dev/null\necho; echo =$?=\n".replace("echo; echo =$?=", _ENDED))
        self._shell.stdin.flush()
        printed = ""
        for line in self._shell.stdout:
            end = re.fullmatch(r"=(\d+)=\n", line)
            if end:
                return int(end[1]), printed.removesuffix("\n")
            printed += line
        raise AssertionError(f"the terminal was closed: {printed}")

    def close(self) -> None:
        assert self._shell.stdin and self._shell.stdout
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.kill()
        self._shell.wait()


_ENDED = "status=$?; echo; echo =$status="


@pytest.fixture(params=["nodal", "grace"])
def name(request: pytest.FixtureRequest) -> str:
    """The host whose protocol is followed."""
    return str(request.param)


@pytest.fixture
def desk(lab: Lab, words: list[str], tmp_path: Path, name: str) -> Iterator[dict[str, str]]:  # noqa: F811
    """A laptop with nothing but programs: no key, no configuration; its variables."""
    folder = tmp_path / "desk"
    scripts = {
        "ssh": '/usr/bin/ssh -F "$HOME/.ssh/config" -o UserKnownHostsFile="$HOME/.ssh/known_hosts"'
        ' -o GlobalKnownHostsFile=/dev/null "$@"',
        "scp": f'/usr/bin/scp -S "{folder}/bin/ssh" -F "$HOME/.ssh/config" "$@"',
        "orch": f'{shlex.join(_orch())} "$@" $([ "$1" = setup ] && echo {shlex.join([*words[1:], "--yes"])})',
    }
    (folder / "bin").mkdir(parents=True)
    (folder / ".ssh").mkdir()
    for program, line in scripts.items():
        _program(folder / "bin" / program, f"exec {line}")
    fingerprint = _fingerprint(lab, name)
    _program(folder / "asked", f'case $1 in *fingerprint*) echo "{fingerprint}";; *) echo "{PASSPHRASE}";; esac')
    kept = {name: value for name, value in os.environ.items() if name.startswith(("ORCH_", "LANG"))}
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    yield kept | {"HOME": str(folder), "PATH": path, "SSH_ASKPASS": f"{folder}/asked", "SSH_ASKPASS_REQUIRE": "force"}


def _orch() -> list[str]:
    return [sys.executable, "-c", "import sys; from orchestrator.cli import main; sys.exit(main())"]


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _fingerprint(lab: Lab, name: str) -> str:
    told = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(lab.keys / f"host_{name}.pub")], capture_output=True, text=True, check=True
    )
    return told.stdout.split()[1]


@pytest.fixture
def codes(lab: Lab, tmp_path: Path, name: str) -> list[Code]:
    """The blocks of the protocol, written for the lab as its site file describes it."""
    keys = {f"key_{host}": _fingerprint(lab, host) for host in ("nodal", "grace")}
    (tmp_path / "site.yaml").write_text(SITE.format(**ADDRESSES, **keys, user=USER))
    pages = documents(guides(read_site(tmp_path / "site.yaml"), {}, COMMANDS), "2026-02-03", "1")
    return next(page for page in pages if page.name in (name, f"{name}-ada")).codes()


def test_the_protocol_works_word_for_word(
    lab: Lab, desk: dict[str, str], codes: list[Code], tmp_path: Path, name: str
) -> None:
    """Windows, macOS and what the lab lacks is left out; of the rest nothing. The administrator enters the key."""
    laptop = Terminal("bash", "--noprofile", "--norc", environment=desk, folder=tmp_path)
    host: Terminal | None = None
    ran, left_out = 0, set()
    try:
        for code in codes:
            if code.needs in LACKING or (code.where not in (HOST, FILE) and "linux" not in code.where):
                left_out.add(code.needs or code.where)
                continue
            if code.where == FILE:
                _write(code, Path(desk["HOME"]))
                continue
            if code.where == HOST and host is None:
                socket = laptop.type("echo $SSH_AUTH_SOCK")[1].strip()
                host = Terminal("ssh", name, "bash", environment=desk | {"SSH_AUTH_SOCK": socket}, folder=tmp_path)
            status, printed = (host if host and code.where == HOST else laptop).type(code.text)
            assert status in ((0, 6) if "orch doctor" in code.text else (0,)), f"{code.text}\n{printed}"
            assert matches(code.expected, printed), f"{code.text}\n{printed}"
            ran += 1
            if "ssh-keygen" in code.text:
                _administrator_enters(lab, Path(desk["HOME"]) / ".ssh" / "id_ed25519.pub")
    finally:
        laptop.type("ssh-agent -k")
        for terminal in filter(None, (laptop, host)):
            terminal.close()
    assert left_out == LACKING | {("windows",), ("macos",)}
    assert ran >= 15
    assert (tmp_path / "log.txt").read_text().startswith(f"{CARDS[name]['name']}\nstep 1\n")
    pid = (lab.user_home / "first-job" / "pid").read_text().strip()
    until(lambda: lab[name].run("kill", "-0", pid, check=False).returncode != 0, "the first job has ended", 10)


def matches(expected: str, printed: str) -> bool:
    """Tell whether the lines that a reader should see were printed; `…` stands for anything."""
    return re.search(re.escape(expected).replace("…", ".*"), printed, re.DOTALL) is not None


def _write(code: Code, home: Path) -> None:
    """Put the ssh configuration where the protocol says; other files are for programs that the lab lacks."""
    if code.place.en == "~/.ssh/config":
        (home / ".ssh" / "config").write_text(code.text + "\n")


def _administrator_enters(lab: Lab, public: Path) -> None:
    authorized = lab.user_home / ".ssh" / "authorized_keys"
    with authorized.open("a") as handle:
        handle.write(public.read_text())
