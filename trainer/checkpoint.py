"""`best.pt` and `last.pt`: tensors and plain values only, written in one step, with their SHA-256 beside them.

The sidecar (`best.json`, `last.json`) goes first and names both the new and the former file's hash. So at every moment,
a power cut included, the file that is there is one that its sidecar vouches for.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from jobs.atomic import file_sha256, read_json, sync_folder, write_json
from jobs.errors import ContractError, disk_error
from jobs.folder import RunFolder

FORMAT = 1  # version of the content; a reader refuses a newer one


def save(folder: RunFolder, which: str, content: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Replace a checkpoint.

    Parameters
    ----------
    which:
        `best` or `last`.
    content:
        Tensors, numbers, texts, and dicts and lists of them: what `torch.load(weights_only=True)` reads back.
    about:
        JSON values for the sidecar.

    Raises
    ------
    DiskError
        The disk is full or not writable; the former checkpoint is still there.
    """
    path = Path(folder.checkpoint(which))
    temporary = path.with_suffix(f".tmp-{os.getpid()}")
    former = read_json(_sidecar(path)) or {}
    try:
        _write(temporary, {"format": FORMAT, **content})
        sha256 = file_sha256(temporary)
        write_json(_sidecar(path), {"contract": 1, "sha256": sha256, "former": former.get("sha256"), **about})
        temporary.replace(path)
        sync_folder(str(path.parent))
    except OSError as error:
        raise disk_error(error, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    try:
        with path.open("wb") as handle:
            torch.save(content, handle)
            handle.flush()
            os.fsync(handle.fileno())
    except RuntimeError as error:  # torch closes its archive after a full disk, and fails again
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def load(folder: RunFolder, which: str, device: str = "cpu") -> dict[str, Any] | None:
    """Read a checkpoint back; None when there is none.

    Raises
    ------
    ContractError
        It is not the file that its sidecar vouches for, or not one of ours.
    """
    path = Path(folder.checkpoint(which))
    if not path.exists():
        return None
    about = read_json(_sidecar(path)) or {}
    if file_sha256(path) not in (about.get("sha256"), about.get("former")):
        raise ContractError(
            f"{path} is damaged: its SHA-256 is not the one in {path.stem}.json",
            "delete both files and start the job again: orch retry",
        )
    try:
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ContractError(f"{path} is no checkpoint: {error}", "delete it and start the job again") from error
    if content.get("format") != FORMAT:
        raise ContractError(
            f"{path} has format {content.get('format')}, this trainer reads {FORMAT}", "use the version that wrote it"
        )
    return content


def inherit(source: RunFolder, target: RunFolder, which: str) -> None:
    """Copy a checkpoint of a former attempt, if it has one, into this attempt's own folder.

    Raises
    ------
    DiskError
        The disk is full or not writable.
    """
    old, new = Path(source.checkpoint(which)), Path(target.checkpoint(which))
    about = read_json(_sidecar(old))
    if not old.exists() or about is None:
        return
    temporary = new.with_suffix(f".tmp-{os.getpid()}")
    try:
        shutil.copyfile(old, temporary)
        write_json(_sidecar(new), about)
        temporary.replace(new)
    except OSError as error:
        raise disk_error(error, str(new)) from error
    finally:
        temporary.unlink(missing_ok=True)


def drop(folder: RunFolder, which: str) -> None:
    """Delete a checkpoint and its sidecar."""
    path = Path(folder.checkpoint(which))
    path.unlink(missing_ok=True)
    _sidecar(path).unlink(missing_ok=True)


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")
