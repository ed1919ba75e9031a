"""A host that breaks the rules of the wire: it is named, in time, and the laptop's memory stays small."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from evil_agent import WHATS

from jobs import frames
from jobs.errors import WireError

EVIL = Path(__file__).with_name("evil_agent.py")
MEMORY_MB = 200  # of the laptop's process, at its peak; 30 of them are Python
ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from jobs.errors import OrchError
from jobs.pipe import ProcessPipe
from jobs.wire import Wire
from orchestrator.dispatch import _identity
try:
    with Wire(ProcessPipe("ada", [sys.executable, sys.argv[2], sys.argv[3]]), timeout=10, first=("open", {})) as wire:
        said = ["answer", repr(_identity("ada", wire.answer(wire.first)))]
except OrchError as error:
    said = [error.code, error.message]
# ru_maxrss would be that of the parent, where it is larger.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([*said, int(peak) // 1024]))
"""


@pytest.mark.parametrize("what", WHATS)
def test_a_host_that_breaks_a_rule_is_named_and_fills_nothing(what: str) -> None:
    """Injected: one broken rule a run. Read into memory: never more than one frame's limit."""
    words = [sys.executable, "-c", ASK, str(EVIL.parents[2]), str(EVIL), what]
    began = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    code, message, peak = json.loads(done.stdout)
    assert code in ("WIRE", "UNREACHABLE", "FAILED", "ERROR"), (code, message)
    assert "ada" in message or what == "an error of odd parts"
    assert peak < MEMORY_MB and time.monotonic() - began < 30


BROKEN = [b"99999999999\n{}", b"1" * 5000, b"-1\n", b"2+99999999999\n{}", b"7\n[[[[]]]", b"x\n", b"9999\n{}"]


@pytest.mark.parametrize("said", BROKEN)
def test_a_client_that_breaks_a_rule_is_not_served(said: bytes) -> None:
    """The same towards a host: its agent leaves in good order, and has not read on."""
    code = f"import sys; sys.path.insert(0, {str(EVIL.parents[2])!r}); from jobs.agent import serve;"
    words = [sys.executable, "-I", "-c", code + "serve(sys.stdin.buffer, sys.stdout.buffer)"]
    done = subprocess.run(words, input=said, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\n", b"")


def test_a_compressed_request_is_not_inflated_beyond_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "TEXT", 1000)
    big = frames.request(1, "submit", {"jobs": iter([{"n": 1}] * 1000)})
    with pytest.raises(WireError, match="more than 1000 bytes came compressed"):
        next(frames.requests(io.BytesIO(big)))
