"""Where a user's host-local folders lie on this machine: a folder that is theirs, whoever has taken its name."""

from __future__ import annotations

import os
import stat


def own_root(root: str) -> str:
    """Return this user's folder on a local disk that all may write to: `orch-<user id>`, made or to be made by us.

    A name that another user has taken, or made a link, is passed over for one that nobody could know; it is found again
    for as long as it is there.

    Raises
    ------
    OSError
        No other one can be made.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    first = os.path.join(root, "orch-{}".format(user))
    try:
        about = os.lstat(first)
    except OSError:
        about = None
    if os.name != "posix" or (about and _is_own_folder(about)):
        return first
    names = sorted(os.listdir(root)) if os.path.isdir(root) else []
    others = [os.path.join(root, name) for name in names if name.startswith("orch-{}.".format(user))]
    own = next((path for path in others if _is_own_folder(os.lstat(path))), "")
    if own or about is None:
        return own or first
    fresh = "{}.{}".format(first, os.urandom(8).hex())
    os.mkdir(fresh, 0o700)
    return fresh


def _is_own_folder(about: os.stat_result) -> bool:
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()


def temporary_folder() -> str:
    """Return the system's own folder for such files, where there is no /var/tmp."""
    import tempfile  # not needed on hosts, and slow to import there

    return tempfile.gettempdir()
