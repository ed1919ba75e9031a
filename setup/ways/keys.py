"""What this machine could show to a host that refuses it: key files, whether they are encrypted, the agent. No secret
is read beyond the head of a file, and nothing is ever written."""

from __future__ import annotations

import base64
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import AccessError, OrchError

from .target import Target

_AGENT_WAIT = 3.0  # seconds for the agent to say how many keys it holds
_LIST, _LISTED = 11, 12  # SSH_AGENTC_REQUEST_IDENTITIES and its answer (draft-miller-ssh-agent, section 3.5)
_MAGIC = b"openssh-key-v1\0"  # OpenSSH's PROTOCOL.key: then the cipher's name, length first

_ASKS = re.compile(r"\((?!.*publickey).*keyboard-interactive.*\)")  # no key would do, or the key was the first of two


@dataclass(frozen=True)
class Keys:
    """Keys at hand: files that exist, those that need a passphrase, and how many the agent holds (None: no agent)."""

    files: tuple[str, ...]
    encrypted: tuple[str, ...]
    in_agent: int | None


def look(target: Target) -> Keys:
    """Return what could be offered to a host."""
    files = tuple(name for name in target.keys if Path(name).is_file())
    return Keys(files, tuple(name for name in files if is_encrypted(Path(name))), agent_keys(target.agent))


def is_encrypted(path: Path) -> bool:
    """Tell whether a private key needs a passphrase; False for what cannot be read."""
    try:
        text = path.read_text("ascii")
    except (OSError, ValueError):
        return False
    if "BEGIN OPENSSH" not in text:
        return "ENCRYPTED" in text
    try:
        body = base64.b64decode("".join(line for line in text.splitlines() if not line.startswith("-")))
    except ValueError:
        return False
    return body.startswith(_MAGIC) and not body[len(_MAGIC) + 4 :].startswith(b"none")


def agent_keys(path: str | None) -> int | None:
    """Return how many keys the agent behind a socket holds; None when nobody answers there."""
    family = getattr(socket, "AF_UNIX", None)
    if not path or family is None:
        return None
    try:
        with socket.socket(family, socket.SOCK_STREAM) as agent:
            agent.settimeout(_AGENT_WAIT)
            agent.connect(path)
            agent.sendall(struct.pack(">IB", 1, _LIST))
            kind, count = struct.unpack(">xxxxBI", _exactly(agent, 9))
    except (OSError, struct.error):
        return None
    return int(count) if kind == _LISTED else None


def _exactly(agent: socket.socket, number: int) -> bytes:
    data = b""
    while len(data) < number and (block := agent.recv(number - len(data))):
        data += block
    return data


def refused(target: Target, said: str) -> OrchError:
    """Say why a host may have refused us, from what this machine could show it.

    Parameters
    ----------
    target:
        The host.
    said:
        Its own words.
    """
    keys = look(target)
    user = f"'{target.user}' ({target.user_origin})"
    text, hint = _questions() if _ASKS.search(said) else _story(target, keys)
    context = {"host": target.name, "user": target.user, "agent": keys.in_agent is not None}
    return AccessError(f"{target.name} refuses us as user {user}: {text} [{said}]", hint, **context)


def _questions() -> tuple[str, str]:
    text = "it wants answers (a password, a code); they were wrong, or there was no terminal to give them at"
    often = "so that it asks once for many commands, ControlMaster and ControlPersist in ~/.ssh/config (not on Windows)"
    return text, f"run the same command at a terminal; {often}"


def _story(target: Target, keys: Keys) -> tuple[str, str]:
    if keys.files and keys.encrypted == keys.files and not keys.in_agent:
        who = "no ssh agent runs" if keys.in_agent is None else "the ssh agent does not hold it"
        start = 'eval "$(ssh-agent)" && ' if keys.in_agent is None else ""
        return f"the key {keys.files[0]} is encrypted, and {who}", f"{start}ssh-add {keys.files[0]}"
    if not keys.files and not keys.in_agent:
        who = "no ssh agent runs" if keys.in_agent is None else "the ssh agent is empty"
        make = f"make one: ssh-keygen -t ed25519; send the file that ends in .pub to the administrator of {target.name}"
        return f"there is no key to show: {who}, and no key file is there ({_named(target)})", make
    shown = [*keys.files] + ([f"{keys.in_agent} of the agent"] if keys.in_agent else [])
    hint = (
        f"is that your user name there? Else put `user: NAME` beside {target.name} in the site file; "
        f"is the key accepted there? ssh-copy-id {target.name}, or send its .pub to the administrator"
    )
    return f"it accepts none of the keys {', '.join(shown)}", hint


def _named(target: Target) -> str:
    return ", ".join(target.keys[:3]) + (", …" if len(target.keys) > 3 else "")
