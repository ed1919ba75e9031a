"""The way in this process, with paramiko: where `ssh` as a child program will not do.

Hosts are resolved by `ssh -G`, never by paramiko's own parser, which applies blocks that it does not understand
(paramiko#2632). Unknown host keys are always refused. Jump hosts are opened by us, each under the same rules.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import paramiko

from jobs.errors import AccessError, OrchError, UsageError

from ..site import Host
from . import keys, remote
from .login import log_in
from .program import unresolved
from .target import Target, jump_target, resolve

Value = TypeVar("Value")
logging.getLogger("paramiko").addHandler(logging.NullHandler())  # its words reach people through our errors only

_COMPLAINTS = 8192  # bytes of the host's standard error that are kept
_CLOSE_WAIT = 5.0  # seconds for the host's shell to leave after its input was closed
_WEAK = {"ciphers": ["3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"], "macs": ["hmac-md5", "hmac-md5-96"]}


def connect(host: Host) -> ParamikoPipe:
    """Connect to a host, over its jump hosts, and start an agent there."""
    return ParamikoPipe(host, resolve(host))


class ParamikoPipe:
    """An agent behind a channel of paramiko."""

    def __init__(self, host: Host, target: Target) -> None:
        self.name, self._target = host.name, target
        self._transports: list[paramiko.Transport] = []
        self._said = b""
        try:
            self._channel = translated(target, lambda: self._start(remote.remote_command(host.home)))
        except BaseException:
            self._end()
            raise
        self.input = cast(BinaryIO, _Writer(self._channel))
        self.output = cast(BinaryIO, io.BufferedReader(_Reader(self._channel), 1 << 16))
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _start(self, command: str) -> paramiko.Channel:
        via: paramiko.Transport | None = None
        for words in self._target.jumps:
            jump = resolve(jump_target(words))
            via = translated(jump, lambda jump=jump, via=via: self._open(jump, via))  # type: ignore[misc]
        channel = self._open(self._target, via).open_session()
        channel.exec_command(command)
        return channel

    def _open(self, target: Target, via: paramiko.Transport | None) -> paramiko.Transport:
        """Connect, check the host's key, log in."""
        if target.proxy_command:
            hint = f"take your own ssh program: `way: ssh` for {self.name} in the site file"
            raise UsageError(f"{target.name} is reached with a ProxyCommand, which this way does not run", hint)
        transport = paramiko.Transport(_socket(target, via), disabled_algorithms=_WEAK)
        self._transports.append(transport)
        transport.banner_timeout = transport.auth_timeout = float(target.connect_wait)
        known = known_keys(target)
        if known:  # ask for a kind of key that we know, as ssh does
            options = transport.get_security_options()
            wanted = [kind for kind in options.key_types if _family(kind) in known]
            options.key_types = (*wanted, *(kind for kind in options.key_types if kind not in wanted))
        transport.start_client(timeout=target.connect_wait)
        check_key(target, transport.get_remote_server_key(), known)
        log_in(transport, target, sys.stdin.isatty() and sys.stderr.isatty())
        transport.set_keepalive(target.alive_every)
        return transport

    def _listen(self) -> None:
        """Take in the host's standard error all the time: a full window would hold its shell."""
        with contextlib.suppress(OSError):
            while block := self._channel.recv_stderr(4096):
                self._said = (self._said + block)[-_COMPLAINTS:]

    def complaints(self) -> str:
        """Return what the host's shell wrote on its standard error."""
        return self._said.decode("utf-8", "replace")

    def trouble(self, answered: bool, printed: str) -> OrchError | None:
        """Return what the end of the channel says."""
        if answered or not self._transports[-1].is_active():
            return remote.lost(self.name, "the other side is gone")
        if not self._channel.status_event.wait(1.0):
            return None
        self._listener.join(1.0)
        return remote.ended(self.name, self._channel.recv_exit_status(), self.complaints(), printed)

    def close(self) -> None:
        """Close the agent's input, wait for it to leave, disconnect."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()
            self._channel.status_event.wait(_CLOSE_WAIT if self._transports[-1].is_active() else 0)
        self._end()

    def _end(self) -> None:
        for transport in reversed(self._transports):
            transport.close()


class _Reader(io.RawIOBase):
    """The channel's output as a raw stream."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._channel.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Writer(io.RawIOBase):
    """The channel's input as a raw stream."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        return self._channel.send(bytes(data[: 1 << 18]))

    def close(self) -> None:
        if not self.closed:
            with contextlib.suppress(OSError, EOFError):
                self._channel.shutdown_write()
        super().close()


def _socket(target: Target, via: paramiko.Transport | None) -> socket.socket | paramiko.Channel:
    where = (target.hostname, target.port)
    if via is None:
        return socket.create_connection(where, target.connect_wait)
    return via.open_channel("direct-tcpip", where, ("127.0.0.1", 0), timeout=target.connect_wait)


def known_keys(target: Target) -> dict[str, paramiko.PKey]:
    """Return the confirmed keys of a host by kind, from the files that `ssh` itself would read."""
    hosts = paramiko.HostKeys()
    for name in target.known_hosts:
        if Path(name).is_file():
            with contextlib.suppress(paramiko.SSHException):  # a line that it does not know
                hosts.load(name)
    return dict(hosts.lookup(target.known_as) or {})


def _family(kind: str) -> str:
    return "ssh-rsa" if kind.startswith("rsa-sha2-") else kind


def check_key(target: Target, key: paramiko.PKey, known: dict[str, paramiko.PKey]) -> None:
    """Refuse a key that is unknown or another one than the confirmed one.

    Raises
    ------
    AccessError
        It names the fingerprint and what to do.
    """
    if known.get(key.get_name()) == key:
        return
    if known:
        file = next(iter(target.known_hosts), "~/.ssh/known_hosts")
        raise remote.changed_key(target.name, target.known_as, file, key.get_name(), key.fingerprint)
    raise remote.unknown_key(target.name, key.get_name(), key.fingerprint)


# The one door for what paramiko and sockets raise: kinds that are not named here are a fault of the connection.
_ACCESS = (paramiko.AuthenticationException,)
_NEGOTIATION = (paramiko.ssh_exception.IncompatiblePeer,)


def translated(target: Target, act: Callable[[], Value]) -> Value:
    """Do something with paramiko; what it raises becomes an error of ours.

    Raises
    ------
    AccessError, NotFound, Unreachable
        See `open_pipe`.
    """
    try:
        return act()
    except OrchError:
        raise
    except _ACCESS as error:
        raise keys.refused(target, str(error)) from error
    except _NEGOTIATION as error:
        raise AccessError(
            f"{target.name} speaks no protocol that is safe enough: {error}", "tell its administrator"
        ) from error
    except socket.gaierror as error:
        raise unresolved(target, error.strerror or str(error)) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise remote.unreachable(target.name, target.address, why) from error
