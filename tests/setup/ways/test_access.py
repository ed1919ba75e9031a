"""Who may come in: host keys, users, keys and agents, against real sshd, by both ways; refusals name their repair."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from lab.cluster import Lab, make_key

from jobs.errors import AccessError, NotFound, OrchError, Unreachable
from jobs.wire import Wire
from setup.site import Host
from setup.ways import open_pipe
from setup.ways.inprocess import translated
from setup.ways.keys import agent_keys, is_encrypted
from setup.ways.program import explain
from setup.ways.target import Target, expand, jump_target, resolve

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["ssh", "paramiko"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def contact(alias: str, way: str, **more: str) -> str:
    """Open a wire; return the host's name."""
    with Wire(open_pipe(Host(alias, ssh=alias, way=way, **more)), timeout=60) as wire:  # type: ignore[arg-type]
        return str(wire.call("probe")["hostname"])


def refusal(alias: str, way: str, **more: str) -> AccessError:
    with pytest.raises(AccessError) as caught:
        contact(alias, way, **more)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value


def configure(lab: Lab, alias: str = "nodal", **options: str) -> None:
    """Let the laptop know nodal only, under these options."""
    Path(lab.ssh_config).write_text(lab.block(alias, lab["nodal"].address, **options))


def answer_at_terminal(command: str, question: bytes, answer: str) -> bytes:
    """Run a command that asks at a terminal, and answer once it has asked; return all that it said."""
    words = ["script", "-qec", command, "/dev/null"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin and process.stdout
        said = b""
        while question not in said and (block := process.stdout.read(1)):
            said += block
        time.sleep(0.2)  # it asks, then throws away what was typed before
        process.stdin.write(answer.encode() + b"\n")
        said += process.stdout.read()
        assert process.wait(30) == 0, said
    return said


def fingerprint(lab: Lab, name: str) -> str:
    told = subprocess.run(
        ["ssh-keygen", "-lf", lab.keys / f"host_{name}.pub"], capture_output=True, text=True, check=True
    )
    return told.stdout.split()[1]


# --- Host keys


def test_an_unknown_host_key_is_refused_with_fingerprint_and_the_accepting_command(
    lab: Lab, way: str, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    configure(lab, UserKnownHostsFile=str(known))
    error = refusal("nodal", way)
    assert error.message == f"the host key of nodal is not known: {fingerprint(lab, 'nodal')} (ssh-ed25519)"
    assert not known.exists(), "nothing is accepted by itself"
    (command,) = re.findall(r"^ssh .*$", error.hint, re.MULTILINE)
    answer_at_terminal(command, b"[fingerprint])?", fingerprint(lab, "nodal"))
    assert contact("nodal", way) == "nodal"


def test_a_changed_host_key_is_refused_loudly(lab: Lab, way: str, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    known = tmp_path / "known_hosts"
    known.write_text(f"{lab['nodal'].address} {(tmp_path / 'other.pub').read_text()}")
    configure(lab, UserKnownHostsFile=str(known))
    error = refusal("nodal", way)
    assert "has CHANGED" in error.message
    assert fingerprint(lab, "nodal") in error.message
    repair = next(line for line in error.hint.splitlines() if line.startswith("ssh-keygen -R"))
    subprocess.run(["/bin/sh", "-c", repair], check=True, capture_output=True)
    assert "is not known" in refusal("nodal", way).message


def test_an_unknown_key_of_the_jump_host_is_its_own(lab: Lab, way: str, tmp_path: Path) -> None:
    configure(lab, "gate", UserKnownHostsFile=str(tmp_path / "none"))
    text = lab.block("behind", "10.78.0.11", ProxyJump="gate")
    Path(lab.ssh_config).write_text(text + "\n" + Path(lab.ssh_config).read_text())
    error = refusal("behind", way)
    assert error.message.startswith(f"the host key of gate is not known: {fingerprint(lab, 'nodal')}")
    assert "ask gate exit" in error.hint


def test_a_jump_host_that_is_off_is_named(lab: Lab, way: str) -> None:
    configure(lab, "gate", ConnectTimeout="1")
    text = lab.block("behind", "10.78.0.11", ProxyJump="gate")
    Path(lab.ssh_config).write_text(text + "\n" + Path(lab.ssh_config).read_text())
    lab["nodal"].refuse()
    with pytest.raises(Unreachable, match=r"gate \(alice@10\.77\.0\.11\) does not answer: Connection refused"):
        contact("behind", way)


# --- Users and keys


def test_a_wrong_user_is_named_with_where_it_comes_from(lab: Lab, way: str) -> None:
    error = refusal("nodal", way, user="mallory")
    assert error.message.startswith("nodal refuses us as user 'mallory' (the site file says so): it accepts none")
    assert "user: NAME" in error.hint


def test_a_key_that_is_not_accepted_is_named(lab: Lab, way: str, tmp_path: Path) -> None:
    make_key(tmp_path / "mine")
    configure(lab, IdentityFile=str(tmp_path / "mine"))
    error = refusal("nodal", way)
    assert "'alice' (your ssh configuration says so)" in error.message
    assert str(tmp_path / "mine") in error.message
    assert "ssh-copy-id nodal" in error.hint


def test_no_key_and_no_agent(lab: Lab, way: str, tmp_path: Path) -> None:
    configure(lab, IdentityFile=str(tmp_path / "none"), IdentityAgent="SSH_AUTH_SOCK")
    error = refusal("nodal", way)
    assert "no ssh agent runs, and no key file is there" in error.message
    assert "ssh-keygen -t ed25519" in error.hint


@pytest.fixture
def locked(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """A key with a passphrase that nodal accepts."""
    key = tmp_path / "locked"
    make_key(key, "a secret")
    authorized = lab.user_home / ".ssh/authorized_keys"
    before = authorized.read_text()
    authorized.write_text(before + (tmp_path / "locked.pub").read_text())
    configure(lab, IdentityFile=str(key), IdentityAgent="SSH_AUTH_SOCK")
    yield key
    authorized.write_text(before)


def test_an_encrypted_key_needs_an_agent(lab: Lab, way: str, locked: Path) -> None:
    error = refusal("nodal", way)
    assert f"the key {locked} is encrypted, and no ssh agent runs" in error.message
    assert error.hint == f'eval "$(ssh-agent)" && ssh-add {locked}'


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real agent, empty."""
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    told = dict(re.findall(r"(SSH_\w+)=([^;]+);", started))
    monkeypatch.setenv("SSH_AUTH_SOCK", told["SSH_AUTH_SOCK"])
    yield told["SSH_AUTH_SOCK"]
    os.kill(int(told["SSH_AGENT_PID"]), 15)


def test_an_encrypted_key_in_the_agent_opens(lab: Lab, way: str, locked: Path, agent: str, tmp_path: Path) -> None:
    assert agent_keys(agent) == 0
    assert "the ssh agent does not hold it" in refusal("nodal", way).message
    answer = tmp_path / "answer"
    answer.write_text("#!/bin/sh\necho a secret\n")
    answer.chmod(0o755)
    asking = {**os.environ, "SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", locked], env=asking, check=True, stdin=subprocess.DEVNULL)
    assert agent_keys(agent) == 1
    assert contact("nodal", way) == "nodal"


ASK = """import sys
from jobs.wire import Wire
from setup.site import Host
from setup.ways import open_pipe
with Wire(open_pipe(Host("nodal", ssh="nodal", way=sys.argv[1])), timeout=60) as wire:
    print(wire.call("probe")["hostname"], "opened", wire.call("survived")["state"])
"""


def ask_program(tmp_path: Path, way: str, text: str = ASK) -> str:
    """The command of a program that opens a wire and asks twice."""
    program = tmp_path / "ask.py"
    program.write_text(text)
    words = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-B", str(program), way]
    return shlex.join(words)


@pytest.mark.usefixtures("locked")
def test_ssh_may_ask_at_a_terminal(tmp_path: Path) -> None:
    said = answer_at_terminal(ask_program(tmp_path, "ssh"), b"Enter passphrase for key", "a secret")
    assert b"nodal opened" in said


# --- What a host asks itself

TWO = "AuthenticationMethods publickey,keyboard-interactive:pam"
FACTORS = {"a password": ["PubkeyAuthentication no"], "a key, then a code": [TWO]}


@pytest.fixture(params=FACTORS)
def door(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Path]:
    """nodal asks at another port through PAM; its log."""
    log = lab["nodal"].door(2222, "open sesame", *FACTORS[request.param])
    configure(lab, Port="2222", UserKnownHostsFile=str(lab.keys / "door_hosts"))
    key = (lab.keys / "host_nodal.pub").read_text()
    (lab.keys / "door_hosts").write_text(f"[{lab['nodal'].address}]:2222 {key}")
    yield log
    lab["nodal"].close_door()


def test_what_the_host_asks_is_answered_at_the_terminal_once(door: Path, way: str, tmp_path: Path) -> None:
    """One connection, one question; the answer serves every request of the command."""
    said = answer_at_terminal(ask_program(tmp_path, way), b"assword: ", "open sesame")
    assert b"nodal opened" in said and b"open sesame" not in said
    log = door.read_text()
    assert log.count("Connection from ") == 1 and log.count("Accepted keyboard-interactive/pam for") == 1


ASK_TWO = """import sys
from jobs.wire import Wire
from setup.site import Host
from setup.visits import Visits
from setup.ways import open_pipe
hosts = [Host(name, ssh=name, way=sys.argv[1]) for name in ("nodal", "again")]
with Visits(hosts, lambda host: Wire(open_pipe(host))) as visits:
    print(sorted(visits.each(lambda visit: visit.wire.call("probe")["hostname"]).items()))
"""


def test_of_two_hosts_that_ask_one_waits_for_the_other(door: Path, way: str, lab: Lab, tmp_path: Path) -> None:
    """Both are contacted at once; the second question comes when the first has its answer."""
    config = Path(lab.ssh_config)
    config.write_text(config.read_text().replace("Host nodal\n", "Host nodal again\n"))
    said, questions = b"", []
    words = ["script", "-qec", ask_program(tmp_path, way, ASK_TWO), "/dev/null"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin and process.stdout
        while block := process.stdout.read(1):
            said += block
            if said.count(b"assword: ") > len(questions):
                time.sleep(0.5)  # it asks, then throws away what was typed before; another one would ask by now
                questions.append(door.read_text().count("Postponed keyboard-interactive for"))
                process.stdin.write(b"open sesame\n")
        assert process.wait(30) == 0, said
    assert b"[('again', 'nodal'), ('nodal', 'nodal')]" in said
    assert questions == [1, 2]


def test_without_a_terminal_nobody_is_asked(door: Path, way: str) -> None:
    error = refusal("nodal", way)
    assert "it wants answers (a password, a code)" in error.message and "at a terminal" in error.hint
    assert "Accepted keyboard-interactive" not in door.read_text()


def test_encryption_is_seen_in_every_format_of_key(tmp_path: Path) -> None:
    for name, options in {"new": [], "old": ["-m", "PEM"]}.items():
        for passphrase in ("", "a secret"):
            path = tmp_path / f"{name}{len(passphrase)}"
            command = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", *options, "-N", passphrase, "-f", str(path)]
            subprocess.run(command, check=True)
            assert is_encrypted(path) == bool(passphrase), path.name
    assert not is_encrypted(tmp_path / "missing")


def test_an_agent_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert agent_keys(None) is None
    assert agent_keys(str(tmp_path / "socket")) is None


# --- The doors


def target(**more: object) -> Target:
    base: dict[str, object] = {"name": "gpu", "hostname": "10.0.0.9", "port": 22, "user": "me", "user_origin": "so"}
    base |= {"jumps": (), "proxy_command": None, "keys": (), "only_these_keys": False, "agent": None}
    base |= {"known_hosts": ("/k",), "known_as": "10.0.0.9", "strict": "ask", "connect_wait": 9, "alive_every": 9}
    return Target(**{**base, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("ssh: connect to host 10.0.0.9 port 22: No route to host\r", Unreachable),
        (
            "kex_exchange_identification: Connection closed by remote host\nConnection closed by 10.0.0.9 port 22",
            Unreachable,
        ),
        ("Connection timed out during banner exchange", Unreachable),
        ("ssh: Could not resolve hostname gpu: Name or service not known", NotFound),
        ("ssh: Could not resolve hostname gpu: Temporary failure in name resolution", Unreachable),
        (
            "Unable to negotiate with 10.0.0.9 port 22: no matching host key type found. Their offer: ssh-dss",
            AccessError,
        ),
        ("Received disconnect from 10.0.0.9 port 22:2: Too many authentication failures", AccessError),
        ("debug1: Server host key: ssh-ed25519 SHA256:x\nHost key verification failed.", AccessError),
        ("me@gpu: Permission denied (publickey,password).", AccessError),
    ],
)
def test_words_of_ssh_become_errors(log: str, kind: type[OrchError]) -> None:
    error = explain(target(), log, "Permission denied (a word of the host's own)", 255, answered=False, printed="")
    assert type(error) is kind
    assert error.hint


def test_what_a_host_prints_is_never_taken_for_words_of_ssh() -> None:
    log = 'Authenticated to 10.0.0.9 ([10.0.0.9]:22) using "publickey".'
    error = explain(target(), log, "Host key verification failed.", 255, answered=False, printed="")
    assert type(error) is Unreachable


def foreign_errors() -> list[Exception]:
    module = paramiko.ssh_exception
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    made: dict[str, tuple[object, ...]] = {
        "BadHostKeyException": ("gpu", paramiko.RSAKey.generate(1024), paramiko.RSAKey.generate(1024)),
        "ChannelException": (1, "refused"),
        "NoValidConnectionsError": ({("10.0.0.9", 22): OSError("refused")},),
        "BadAuthenticationType": ("bad", ["password"]),
        "PartialAuthentication": (["password"],),
        "ProxyCommandFailure": ("nc", "gone"),
        "CouldNotCanonicalize": ("name",),
    }
    errors = [kind(*made.get(kind.__name__, ("why",))) for kind in kinds if kind.__module__ == module.__name__]
    return [*errors, EOFError(), TimeoutError("late"), ConnectionResetError(104, "reset"), OSError(101, "no route")]


@pytest.mark.parametrize("error", foreign_errors(), ids=lambda error: type(error).__name__)
def test_every_error_of_paramiko_passes_the_door(error: Exception) -> None:
    def act() -> None:
        raise error

    with pytest.raises((AccessError, Unreachable)) as caught:
        translated(target(), act)
    assert caught.value.hint


# --- Where an alias leads


def test_the_configuration_is_read_by_ssh_itself(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "more").write_text("Host odd\n  HostName 10.9.8.7\n  Port 2222\n  User eve\n  ProxyJump a,me@b:7\n")
    Path(lab.ssh_config).write_text(f"Include {tmp_path / 'more'}\nMatch host=other\n  User nobody\n")
    found = resolve(Host("o", ssh="odd"))
    assert (found.address, found.jumps, found.known_as) == ("eve@10.9.8.7:2222", ("a", "me@b:7"), "[10.9.8.7]:2222")
    assert (found.strict, found.connect_wait, found.alive_every) == ("ask", 15, 15)
    assert resolve(Host("o", ssh="odd", user="x", port=22, jump="c")).jumps == ("c",)
    assert all(not key.startswith("~") for key in found.keys)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gate", ("gate", None, None)),
        ("me@gate:77", ("gate", "me", 77)),
        ("ssh://me@gate", ("gate", "me", None)),
        ("[::1]:7", ("::1", None, 7)),
    ],
)
def test_jump_hosts_are_written_in_many_ways(words: str, expected: tuple[str, str | None, int | None]) -> None:
    found = jump_target(words)
    assert (found.ssh, found.user, found.port) == expected


def test_a_jump_host_that_is_none_is_refused() -> None:
    with pytest.raises(NotFound, match="cannot understand"):
        jump_target("me@:port")


def test_home_is_that_of_the_user_database() -> None:
    assert expand("/x") == "/x"
    assert expand("~/x").endswith("/x")
