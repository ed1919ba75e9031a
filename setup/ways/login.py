"""Logging in with paramiko: keys of the agent, key files, then what the host asks for at the terminal, once."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import paramiko

from .target import Target

_asking = threading.Lock()  # of several hosts, one asks at the terminal after another


def log_in(transport: paramiko.Transport, target: Target, interactive: bool) -> None:
    """Offer every key; a host that wants more, or accepts none, may ask at the terminal.

    Raises
    ------
    paramiko.SSHException
        The host refuses us.
    """
    with contextlib.ExitStack() as stack:
        kinds = _show_keys(transport, target, _offered(target, _agent(target, stack)))
    if transport.is_authenticated():
        return
    if interactive and "keyboard-interactive" in kinds:
        with _asking:
            transport.auth_interactive(target.user, _ask)
        if transport.is_authenticated():
            return
    raise paramiko.AuthenticationException(f"Permission denied ({','.join(kinds)})")


def _show_keys(transport: paramiko.Transport, target: Target, offered: Iterable[paramiko.PKey]) -> list[str]:
    """Offer keys until one is taken; return what else the host takes, or wants besides."""
    for key in offered:
        try:
            rest = transport.auth_publickey(target.user, key)
        except paramiko.BadAuthenticationType as error:
            return list(error.allowed_types)
        except paramiko.AuthenticationException:
            if not transport.is_active():  # too many keys: the host hung up
                raise
            continue
        return list(rest)  # nothing, or a second factor
    return ["publickey", "keyboard-interactive"]


def _offered(target: Target, agent: Iterable[paramiko.PKey]) -> Iterator[paramiko.PKey]:
    """Keys in the order of ssh: those of the agent that a file names, the agent's others, then the files."""
    files = {name: _public(name) for name in target.keys}
    held = [key for key in agent if not target.only_these_keys or key.get_base64() in files.values()]
    yield from sorted(held, key=lambda key: key.get_base64() not in files.values())
    shown = {key.get_base64() for key in held}
    for name, public in files.items():
        if public is None or public not in shown:
            key = _read(name)
            if key is not None:
                yield key


def _agent(target: Target, stack: contextlib.ExitStack) -> tuple[paramiko.AgentKey, ...]:
    """The keys that the agent holds; paramiko knows the agent of SSH_AUTH_SOCK, and Windows' own ones."""
    if sys.platform != "win32" and (target.agent is None or target.agent != os.environ.get("SSH_AUTH_SOCK")):
        return ()  # paramiko would ask another agent than the one that the configuration names
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        return ()
    stack.callback(agent.close)
    return agent.get_keys()


def _public(name: str) -> str | None:
    """The public half beside a key file, as base64; None when it is not there."""
    try:
        return Path(name + ".pub").read_text("utf-8").split()[1]
    except (OSError, ValueError, IndexError):
        return None


def _read(name: str) -> paramiko.PKey | None:
    """A key file, or None: missing, encrypted (its passphrase is the agent's business) or not understood."""
    try:
        return paramiko.PKey.from_path(name)
    except (OSError, ValueError, TypeError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
        return None


def _ask(title: str, instructions: str, questions: list[tuple[str, bool]]) -> list[str]:
    """Put the host's questions to the person at the terminal; answers are not kept."""
    for line in filter(None, (title, instructions)):
        sys.stderr.write(line + "\n")
    return [_answer(question, visible) for question, visible in questions]


def _answer(question: str, visible: bool) -> str:
    if not visible:
        return getpass.getpass(question)
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\n")
