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
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from . import CONTRACT, begun, host, host_identity, liveness, ownership, queueing_shell, slurm
from .aside import aside
from .atomic import exists, move, patiently, read_bytes, read_json, sync_file, sync_folder, write_json
from .documents import moment, parse
from .errors import HomeMismatch, HomeMissing, disk_error
from .folder import Home, HostFolder, RunFolder
from .home_identity import check, make_folder
from .lease import is_held
from .policy import AGAIN
from .results import EXIT, FAILURE, JOB, LARGEST, read_document, read_result, shaped
from .state import Evidence
from .transient import may_pass, retried

SYNCS = 32  # records that are made safe side by side
LOOK_LIMIT = 20.0  # seconds for which it is asked whether a rename that failed was done all the same
_unsure: Dict[str, str] = {}  # run folder -> token of ours, where that could not be told
EXIT_SIZE = 4096  # bytes reserved for exit.json: one page


def publish(
    folder: RunFolder,
    job: Mapping[str, Any],
    device: Mapping[str, Any],
    local: HostFolder,
    processes: Optional[Mapping[str, Any]] = None,
) -> bool:
    """Make the attempt's folder, unless somebody else has made it already.

    Parameters
    ----------
    processes:
        Who watches it (`liveness`), for looks after the lock file was cleaned away.

    Returns
    -------
    bool
        True when this call made it: only then may the program start.

    Raises
    ------
    DiskError
        It cannot be written.
    HomeMissing, HomeMismatch
        The home of `local` does not stand there: nothing was made.
    """
    token = os.urandom(8).hex()
    temporary = aside(folder.path)
    place = {"host": host.name(), "machine": host_identity.machine(), "boot_id": host.boot_id(), "local": local.path}
    claim = {"token": token, **place, "at": time.time(), "device": dict(device)}
    if processes:
        claim["processes"] = dict(processes)
    try:
        patiently(lambda: _fill(RunFolder(temporary), {**job, "attempt": folder.attempt, "claim": claim}, local))
        begun.note(folder, local.home_id)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise disk_error(error, folder.path) from error
    try:
        patiently(lambda: move(temporary, folder.path))
    except OSError as error:
        return _lost_or_won(error, temporary, folder, token)
    return True


def _fill(folder: RunFolder, job: Mapping[str, Any], local: HostFolder) -> None:
    """Its name is ours alone: whatever is there, we have made."""
    make_folder(folder.home, folder.path, local.home_id)
    write_plain(folder.job, job)
    _reserve(folder.exit)
    os.close(os.open(folder.log, os.O_WRONLY | os.O_CREAT, 0o666))  # a full disk may refuse it later


def _lost_or_won(error: OSError, temporary: str, folder: RunFolder, token: str) -> bool:
    """Look who owns the folder: a network file system may report a failure for a rename that it did.

    Where even this look fails it is made the next time: the token is kept in mind.
    """
    shutil.rmtree(temporary, ignore_errors=True)
    ours = {token, _unsure.pop(folder.path, token)}
    try:
        job = retried(lambda: read_json(folder.job), LOOK_LIMIT)
    except OSError as silent:
        _unsure[folder.path] = token
        raise disk_error(silent, folder.path) from error
    if job is None and error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
        raise disk_error(error, folder.path) from error
    return claim_of(job).get("token") in ours


def write_plain(path: str, value: Any) -> None:
    """Write a new JSON file that nobody reads yet (no temporary file, no sync); its owner's alone to write."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w", encoding="utf-8") as handle:
        handle.write(json.dumps(value, ensure_ascii=False))


def _reserve(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, EXIT_SIZE)
    finally:
        os.close(descriptor)


def record_exit(folder: RunFolder, record: Mapping[str, Any], local: HostFolder, sync: bool = True) -> bool:
    """Write the exit record into its reserved place; when even that fails, into the host-local spool.

    Parameters
    ----------
    sync:
        False: the caller sees to it that it outlives a power cut.

    Raises
    ------
    OSError
        Neither takes it.
    """
    try:
        check(folder.home, local.home_id)
        _write_exit(folder, record, sync)
    except (OSError, HomeMissing, HomeMismatch):
        os.makedirs(local.spool, 0o750, exist_ok=True)
        as_recorded = json.loads(_padded(record))  # whoever reads it here sees what will stand in the run folder
        write_json(local.spooled(folder), {"folder": folder.path, "record": as_recorded})
    return True


def _write_exit(folder: RunFolder, record: Mapping[str, Any], sync: bool = True) -> None:
    data = _padded(record)
    descriptor = os.open(folder.exit, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        if os.pwrite(descriptor, data, 0) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder.exit)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replay_spool(local: HostFolder, home: Home) -> int:
    """Bring spooled exit records to their run folders, in the home where it stands now; return how many arrived."""
    arrived = 0
    for name in sorted(os.listdir(local.spool)) if os.path.isdir(local.spool) else []:
        path = os.path.join(local.spool, name)
        try:
            spooled = dict(read_document(path) or {})
            named = RunFolder(spooled["folder"])
            check(home, local.home_id)
            _write_exit(home.attempt(named.sweep, named.job_id, named.attempt), spooled["record"])
            os.unlink(path)
            arrived += 1
        except (OSError, HomeMissing, HomeMismatch, TypeError, ValueError, KeyError):
            continue  # the disk is still full, its folder is away, or it is half written
    return arrived


def _padded(record: Mapping[str, Any]) -> bytes:
    record = {"contract": CONTRACT, **record}
    data = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")
    if len(data) >= EXIT_SIZE:  # only the evidence is of free length
        short = {"kind": (record.get("failure") or {}).get("kind"), "evidence": "", "hint": ""}
        record = {**record, "failure": short}
        data = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")
    return data.ljust(EXIT_SIZE - 1) + b"\n"


def read_exit(folder: RunFolder, local: Optional[HostFolder] = None) -> Optional[Dict[str, Any]]:
    """Return the exit record, or None while there is none, or none that can be believed.

    Parameters
    ----------
    local:
        Where to look for one that the run folder could not take.
    """
    record = _sound(_read_decisive(folder, folder.exit))
    if record is None and local is not None:
        spooled = read_document(local.spooled(folder))
        record = _sound(spooled.get("record")) if isinstance(spooled, dict) else None
    return record


def _read_decisive(folder: RunFolder, path: str) -> Optional[Any]:
    """A file by which an attempt is judged or run again: believed of the run folder's owner and of root only.

    In a group's home a colleague can put one there: an end that did not happen would let a second attempt begin.

    Raises
    ------
    OSError
        The disk does not say at the moment: that is no proof of anything.
    """
    try:
        read, owner = patiently(lambda: (ownership.read(path, LARGEST), os.stat(folder.path).st_uid))
        return parse(read.data) if read.uid in (0, owner) else None
    except ValueError:
        return None
    except OSError as error:
        if may_pass(error):
            raise
        return None


def _brought(folder: RunFolder) -> Optional[Dict[str, Any]]:
    """The proof of an end that came along by `orch handover`, or None."""
    told = _read_decisive(folder, folder.ended)
    return told if isinstance(told, dict) else None


def _sound(record: Any) -> Optional[Dict[str, Any]]:
    """The record, when it has all that is judged by; else None."""
    if not isinstance(record, dict) or not isinstance(record.get("stopped"), bool):
        return None
    failure = record.get("failure")
    sound = _is_status(record.get("status")) or record.get("began") is False
    sound = sound and all(moment(record.get(key, 0)) is not None for key in ("started", "ended"))
    if not sound or not (failure is None or isinstance(failure, dict)):
        return None
    words = {"failure": shaped(failure, FAILURE)} if failure else {}
    return {**shaped(record, EXIT), **words}


def _is_status(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31


def read_job(folder: RunFolder) -> Optional[Dict[str, Any]]:
    """Return `job.json`, or None when it is missing or damaged.

    Raises
    ------
    OSError
        The disk does not say at the moment.
    """
    job = _read_decisive(folder, folder.job)
    return shaped(job, JOB) if isinstance(job, dict) else None


def claim_of(job: Any) -> Dict[str, Any]:
    """Return a job's claim (who began it, and where), or an empty one."""
    claim = job.get("claim") if isinstance(job, dict) else None
    return claim if isinstance(claim, dict) else {}


def teller_of(job: Any) -> str:
    """Return the host that can tell of an attempt: the one that ran it, or from which Slurm was given it."""
    return slurm.login_of(job) or str(claim_of(job).get("host") or "")


def place_of(job: Any, local: HostFolder) -> HostFolder:
    """Return the host-local folder in which an attempt has its lock, whatever `ORCH_LOCAL` says today."""
    return HostFolder(str(claim_of(job).get("local") or local.path))


def evidence(folder: RunFolder, job: Mapping[str, Any], local: HostFolder) -> Evidence:
    """Gather what this host can see of an attempt."""
    local = place_of(job, local)
    record = read_exit(folder, local)
    if record and not record.get("began", True):
        return Evidence(attempt=False, stop=True, proof=str(record.get("why") or ""), record=record)
    if record and goes_on(record) and _brought(folder) is None and _is_at_work(folder, local):
        record = None  # its watcher is about to queue the next attempt: until then it counts as running
    lock, proof = ("unknown", "") if record else _lock(folder, job, local)
    if lock != "held":
        record = record or read_exit(folder, local)  # written between the two looks
    if record is None and lock == "free" and _silence(folder):
        lock, proof = "unknown", _silence(folder)
    return Evidence(
        result=read_result(folder)[0],
        result_required=bool(job.get("result_required")),
        exit_status=record["status"] if record else None,
        lock=lock,
        proof=proof,
        stop=bool(record["stopped"]) if record else exists(folder.stop),
        failure=_words(record),
        record=record,
    )


def _silence(folder: RunFolder) -> str:
    """Why it cannot be told at the moment whether a record or a result is there; empty when it can."""
    for path in (folder.exit, folder.result):
        try:
            read_bytes(path)
        except OSError as error:
            if may_pass(error):
                return "{} cannot be read: {}".format(os.path.basename(path), error.strerror)
    return ""


def is_told(folder: RunFolder) -> bool:
    """Tell whether the run folder alone says how the attempt ended: no lock and no host need be asked."""
    record = read_exit(folder)
    return _brought(folder) is not None or (record is not None and not goes_on(record))


def _is_at_work(folder: RunFolder, local: HostFolder) -> bool:
    try:
        return is_held(local.attempt_lock(folder))
    except PermissionError:  # another user's
        return False


def goes_on(record: Optional[Mapping[str, Any]]) -> bool:
    """Tell whether an exit record was decided to be followed by another attempt."""
    decision = (record or {}).get("decision")
    return isinstance(decision, dict) and decision.get("action") in AGAIN


def _lock(folder: RunFolder, job: Mapping[str, Any], local: HostFolder) -> "tuple[str, str]":
    claim = claim_of(job)
    brought = _brought(folder)
    if brought is not None:
        return "free", str(brought.get("proof"))
    if slurm.task_of(job):
        return slurm.look(slurm.handle(job, queueing_shell.of(folder.home, job)), local)
    if claim.get("host") != host.name():
        return _declared(folder, claim)
    if "" not in (claim.get("boot_id"), host.boot_id()) and claim.get("boot_id") != host.boot_id():
        return host_identity.of_another_boot(folder, claim, local)
    return liveness.proof(folder, claim, local)


def _declared(folder: RunFolder, claim: Mapping[str, Any]) -> "tuple[str, str]":
    """Only the host that ran an attempt can tell, unless a person has declared it dead since."""
    told = host_identity.declaration(folder.home, str(claim.get("host")))
    if told and host_identity.concerns(told, folder, claim):
        return "free", "{} was declared dead by {}".format(claim.get("host"), told.get("by"))
    return "unknown", ""


def _words(record: Optional[Mapping[str, Any]]) -> str:
    failure = (record or {}).get("failure")
    if not failure:
        return ""
    return "{}: {}".format(str(failure.get("kind")).replace("_", " "), failure.get("evidence"))


def cancel(folder: RunFolder, job: Mapping[str, Any], local: HostFolder, why: str = "") -> bool:
    """End an attempt before it began, for a reason; False when a keeper was faster."""
    return cancel_all([(folder, job)], local, why)[0]


def cancel_all(due: Sequence[Tuple[RunFolder, Mapping[str, Any]]], local: HostFolder, why: str = "") -> List[bool]:
    """End attempts before they began; tell for each whether we were faster than a keeper.

    All are written, one after the other, then all are synced side by side: that is where the time goes.
    """
    now = time.time()
    record = {"status": None, "began": False, "stopped": True, "why": why, "started": now, "ended": now}
    won: List[bool] = []
    ours: List[RunFolder] = []
    try:
        for folder, job in due:
            won.append(publish(folder, job, {}, local))
            if won[-1]:
                record_exit(folder, record, local, sync=False)
                ours.append(folder)
    finally:
        _side_by_side(lambda folder: _make_safe(folder, record, local), ours)
    return won


def _make_safe(folder: RunFolder, record: Mapping[str, Any], local: HostFolder) -> None:
    try:
        sync_file(folder.exit)
    except OSError:  # the disk did not keep what it had taken
        record_exit(folder, record, local)
    sync_folder(os.path.dirname(folder.path))


def _side_by_side(work: Callable[[RunFolder], None], folders: List[RunFolder]) -> None:
    """A disk that is asked for many things at once does them with few of its slow steps. No thread outlives this."""
    if len(folders) < 2:
        for folder in folders:
            work(folder)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(SYNCS) as pool:
        list(pool.map(work, folders))
