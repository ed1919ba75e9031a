"""The one line that the host's shell gets: it looks for a Python that will do and starts our agent in it.

Every Python is named by its absolute path: first in PATH may stand the one of a conda for the other architecture. The
first that starts and is new enough reads the agent from its standard input; one that is too old, or cannot be executed
on this processor, leaves its input alone for the next. No start-up file is read by any of them (`-I`, `-S`).
"""

from __future__ import annotations

import shlex

from jobs.errors import AccessError, OrchError, Unreachable, WireError
from jobs.wire import BOOT

TOO_OLD = 98  # exit status of a Python below 3.9, which has read nothing
NO_PYTHON = 97  # exit status of the line when none fits
_VERSIONS = range(15, 8, -1)  # minor versions that are looked for by name, newest first
_SAID = "orch-python"  # how the line marks what it says of a Python, on standard error

_CHECK = (
    f"import sys;sys.version_info<(3,9) and (print({_SAID!r},sys.executable,sys.version.split()[0],file=sys.stderr),"
    f"sys.exit({TOO_OLD}));"
)


def remote_command(home: str | None = None) -> str:
    """Return the command line for any login shell (sh, csh or fish): one line, quoted as a whole.

    Parameters
    ----------
    home:
        Orch home on the host, as the site file names it: an environment that was provisioned there will do, too.
    """
    code = '"' + (_CHECK + BOOT).replace("'", r"\"") + '"'
    places = " ".join([*_system_pythons(), *_provisioned(home)])
    line = (
        f"for p in {places}; do"
        f' [ -x "$p" ] || continue; "$p" -I -S -B -c {code}; s=$?;'
        f" case $s in {TOO_OLD}|126|127) ;; *) exit $s;; esac;"
        f" done; exit {NO_PYTHON}"
    )
    return "exec /bin/sh -c " + shlex.quote(line)


def _system_pythons() -> list[str]:
    named = [f"{folder}/python3.{minor}" for minor in _VERSIONS for folder in ("/usr/bin", "/usr/local/bin")]
    return ["/usr/bin/python3", *named, "/usr/local/bin/python3"]


def _provisioned(home: str | None) -> list[str]:
    """Patterns for the environments of this architecture; `~` is the shell's, the rest is quoted."""
    start = '"$HOME"/.orch' if home is None else _quoted(home)
    return [start + '/envs/"$(uname -m)"/*/bin/python']


def _quoted(path: str) -> str:
    if path == "~" or path.startswith("~/"):
        return '"$HOME"' + shlex.quote(path[1:]) if path[1:] else '"$HOME"'
    return shlex.quote(path)


def ended(name: str, status: int, said: str, printed: str) -> OrchError:
    """Say why the host's shell ended before our agent spoke.

    Parameters
    ----------
    name:
        The host's.
    status:
        Exit status of the command.
    said, printed:
        Its standard error and output.
    """
    if status == NO_PYTHON:
        old = [line.split()[1:3] for line in said.splitlines() if line.startswith(_SAID + " ")]
        found = ", ".join(f"{place} is {version}" for place, version in old)
        text = f"{name} has no Python 3.9 or newer" + (f": {found}" if found else "")
        return WireError(text, f"orch setup --host {name} brings one; or ask its administrator for python3")
    words = (printed.strip() or said.strip()).splitlines()
    text = f"the shell on {name} ended with status {status} before our program started"
    if words:
        text += f"; it printed: {words[-1]}"
    hint = f"a start-up file there (~/.bashrc, ~/.cshrc) leaves early; `ssh {name} true` must end with status 0"
    return WireError(text, hint)


def lost(name: str, why: str) -> OrchError:
    """Say that a conversation broke off: nothing is known about what the agent did."""
    return Unreachable(f"the connection to {name} broke off: {why}", "orch status says what was last known")


def unreachable(name: str, address: str, why: str) -> OrchError:
    """Say that nobody answers there."""
    hint = f"is it on, and are you in its network (VPN)? Try: ssh {name}; orch status says what was last known"
    return Unreachable(f"{name} ({address}) does not answer: {why}", hint, host=name)


def unknown_key(name: str, kind: str, fingerprint: str) -> OrchError:
    """Say that the host shows a key that nobody has confirmed yet."""
    text = f"the host key of {name} is not known: {fingerprint} ({kind})"
    hint = (
        "compare it with the one that the administrator gave you; if it is the same:\n"
        f"ssh -o StrictHostKeyChecking=ask {name} exit\nand answer its question with {fingerprint}"
    )
    return AccessError(text, hint, host=name, fingerprint=fingerprint, kind=kind)


def changed_key(name: str, known_as: str, file: str, kind: str, fingerprint: str) -> OrchError:
    """Say that the host shows another key than the confirmed one."""
    text = f"the host key of {name} has CHANGED: it is now {fingerprint} ({kind}). Somebody may be listening in"
    hint = (
        "ask the administrator (a new installation changes it, too); only if they confirm this fingerprint:\n"
        f"ssh-keygen -R {shlex.quote(known_as)} -f {shlex.quote(file)}\nssh -o StrictHostKeyChecking=ask {name} exit"
    )
    return AccessError(text, hint, host=name, fingerprint=fingerprint, kind=kind)
