"""Changes one line of the user's settings file and leaves all others, comments too, as they are."""

from __future__ import annotations

from pathlib import Path

from jobs.atomic import write_bytes
from jobs.errors import UsageError, disk_error

from .config import SCALARS, Settings, check_file, check_key, checked_value
from .yamlfile import Document, load, parse


def set_value(settings: Settings, key: str, value: str | None) -> Path:
    """Write `key: value` to the user's file (None takes the line away); return the file.

    Raises
    ------
    UsageError
        The key cannot be set here, or the value has the wrong type.
    SpecError
        The file that is there cannot be understood.
    DiskError
        It cannot be written.
    """
    check_key(key)
    if key not in SCALARS:
        raise UsageError(f"{key} is not one value", "write it in orch.yaml, or use: orch data add NAME IMAGES LABELS")
    path = settings.user_file
    document = load(path) if path.is_file() else parse("", str(path))
    check_file(document)
    text = _edited(path.read_text("utf-8-sig") if path.is_file() else "", document, key, value)
    checked = check_file(parse(text, str(path)))
    if value is not None:
        checked_value(key, checked.value[key], path.parent, "orch config")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_bytes(path, text.encode())
    except OSError as error:
        raise disk_error(error, str(path)) from error
    return path


def _edited(text: str, document: Document, key: str, value: str | None) -> str:
    lines = text.splitlines()
    number = document.lines.get((key,))
    new = [] if value is None else [f"{key}: {_quoted(value)}"]
    if number is None:
        lines += new
    else:
        lines[number - 1 : number] = new
    return "".join(line + "\n" for line in lines)


def _quoted(value: str) -> str:
    return value if value.isdecimal() else quoted(value)


def quoted(text: str) -> str:
    """Return a text as YAML in single quotes: nothing in it means anything else."""
    return "'" + text.replace("'", "''") + "'"
