"""The keeper's log, for keeper and watchers: no work ends because a full disk refuses a line of it."""

from __future__ import annotations

import os
import time
import traceback


def log(text: str) -> None:
    """Add a line with the time."""
    _write("{} {}\n".format(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text))


def log_trouble() -> None:
    """Add the exception that is being handled."""
    _write(traceback.format_exc())


def _write(text: str) -> None:
    try:
        os.write(2, text.encode("utf-8", "replace"))  # standard error is the log (`keeper._live`)
    except OSError:
        pass
