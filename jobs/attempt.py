"""One attempt on disk: published whole, in one step, by whoever comes first; ended by one reserved record.

The attempt folder is filled under a temporary name and renamed: `rename` onto a folder that is not empty fails, so of
any number of keepers, agents and machines exactly one starts an attempt. It holds `job.json` (with the claim: host,
boot, token) and `exit.json`, whose full size is reserved so that a full disk cannot lose the exit status.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from typing import Any, Dict, Mapping, Optional

from . import CONTRACT, host
from .atomic import file_sha256, read_json, sync_folder, write_json
from .errors import disk_error
from .folder import HostFolder, RunFolder
from .lease import is_held
from .state import Evidence

EXIT_SIZE = 4096  # bytes reserved for exit.json: one page


def publish(folder: RunFolder, job: Mapping[str, Any], device: Mapping[str, Any]) -> bool:
    """Make the attempt's folder, unless somebody else has made it already.

    Returns
    -------
    bool
        True when this call made it: only then may the program start.

    Raises
    ------
    DiskError
        It cannot be written.
    """
    token = os.urandom(8).hex()
    parent, name = os.path.split(folder.path)
    temporary = os.path.join(parent, ".{}.{}".format(name, token))
    claim = {"token": token, "host": host.name(), "boot_id": host.boot_id(), "at": time.time(), "device": dict(device)}
    try:
        os.makedirs(parent, exist_ok=True)
        os.mkdir(temporary)
        write_plain(RunFolder(temporary).job, {**job, "attempt": folder.attempt, "claim": claim})
        _reserve(RunFolder(temporary).exit)
        os.rename(temporary, folder.path)
    except OSError as error:
        return _lost_or_won(error, temporary, folder, token)
    return True


def _lost_or_won(error: OSError, temporary: str, folder: RunFolder, token: str) -> bool:
    """Look who owns the folder: a network file system may report a failure for a rename that it did."""
    shutil.rmtree(temporary, ignore_errors=True)
    job = read_json(folder.job)
    if job is None and error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
        raise disk_error(error, folder.path) from error
    return bool(job and job.get("claim", {}).get("token") == token)


def write_plain(path: str, value: Any) -> None:
    """Write a new JSON file that nobody reads yet (no temporary file, no sync)."""
    with open(path, "x", encoding="utf-8") as handle:
        handle.write(json.dumps(value, ensure_ascii=False))


def _reserve(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.posix_fallocate(descriptor, 0, EXIT_SIZE)
    finally:
        os.close(descriptor)


def record_exit(folder: RunFolder, record: Mapping[str, Any], local: HostFolder) -> None:
    """Write the exit record into its reserved place, synced; when even that fails, into the host-local spool."""
    data = _padded({"contract": CONTRACT, **record})
    try:
        descriptor = os.open(folder.exit, os.O_WRONLY)
        try:
            os.pwrite(descriptor, data, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        os.makedirs(local.spool, 0o700, exist_ok=True)
        name = "{}-{:02d}.json".format(folder.job_id, folder.attempt)
        write_json(os.path.join(local.spool, name), {"folder": folder.path, "record": dict(record)})


def replay_spool(local: HostFolder) -> int:
    """Bring spooled exit records to their run folders; return how many arrived."""
    arrived = 0
    for name in sorted(os.listdir(local.spool)) if os.path.isdir(local.spool) else []:
        path = os.path.join(local.spool, name)
        spooled = read_json(path)
        if spooled and os.path.isdir(spooled["folder"]):
            os.unlink(path)
            record_exit(RunFolder(spooled["folder"]), spooled["record"], local)
            arrived += not os.path.exists(path)
    return arrived


def _padded(record: Dict[str, Any]) -> bytes:
    data = json.dumps(record, ensure_ascii=False).encode()
    if len(data) >= EXIT_SIZE:  # only the evidence is of free length
        record = {**record, "failure": {"kind": (record.get("failure") or {}).get("kind"), "evidence": "", "hint": ""}}
        data = json.dumps(record, ensure_ascii=False).encode()
    return data.ljust(EXIT_SIZE - 1) + b"\n"


def read_exit(folder: RunFolder) -> Optional[Dict[str, Any]]:
    """Return the exit record, or None while there is none."""
    try:
        with open(folder.exit, "rb") as handle:
            data = handle.read()
        return dict(json.loads(data)) if data[:1] == b"{" else None
    except (OSError, ValueError):
        return None


def read_result(folder: RunFolder) -> "tuple[str, Optional[Dict[str, Any]]]":
    """Return (`valid`, result), (`invalid`, None) or (`none`, None)."""
    if not os.path.exists(folder.result):
        return "none", None
    result = read_json(folder.result)
    valid = isinstance(result, dict) and result.get("contract") == CONTRACT and isinstance(result.get("values"), dict)
    return ("valid", result) if valid else ("invalid", None)


def handed_in(folder: RunFolder) -> Dict[str, str]:
    """SHA-256 of what the program handed in, by file name: later edits by hand are found out."""
    paths = (folder.result, folder.cases)
    return {os.path.basename(path): file_sha256(path) for path in paths if os.path.exists(path)}


def evidence(folder: RunFolder, job: Mapping[str, Any], local: HostFolder) -> Evidence:
    """Gather what this host can see of an attempt."""
    claim = job.get("claim", {})
    record = read_exit(folder)
    if record and not record.get("began", True):
        return Evidence(attempt=False, stop=True)
    lock, proof = ("unknown", "") if record else _lock(folder, claim, local)
    record = record or read_exit(folder)  # written between the two looks
    return Evidence(
        result=read_result(folder)[0],
        result_required=bool(job.get("result_required")),
        exit_status=record["status"] if record else None,
        lock=lock,
        proof=proof,
        stop=bool(record["stopped"]) if record else os.path.exists(folder.stop),
        failure=_words(record),
    )


def _lock(folder: RunFolder, claim: Mapping[str, Any], local: HostFolder) -> "tuple[str, str]":
    if claim.get("host") != host.name():
        return "unknown", ""
    if claim.get("boot_id") != host.boot_id():
        return "free", "the host was booted since"
    if is_held(local.attempt_lock(folder.job_id, folder.attempt)):
        return "held", ""
    return "free", "the attempt's lock is free"


def _words(record: Optional[Mapping[str, Any]]) -> str:
    failure = (record or {}).get("failure")
    return "{}: {}".format(failure["kind"].replace("_", " "), failure["evidence"]) if failure else ""


def cancel(folder: RunFolder, job: Mapping[str, Any], local: HostFolder) -> bool:
    """End an attempt before it began; False when a keeper was faster."""
    if not publish(folder, job, {}):
        return False
    now = time.time()
    record_exit(folder, {"status": None, "began": False, "stopped": True, "started": now, "ended": now}, local)
    sync_folder(os.path.dirname(folder.path))
    return True
