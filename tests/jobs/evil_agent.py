"""What takes the place of an agent and breaks a rule of the wire: `python evil_agent.py WHAT`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import count

BLOCK = b"7" * (1 << 20)


def _endless(first: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield BLOCK


def _framed(text: bytes) -> bytes:
    return b"%d\n%s" % (len(text), text)


PIECE = _framed(b'{"id": 1, "chunk": "' + BLOCK + b'"}')
WHATS: dict[str, Iterator[bytes]] = {
    "announces 100 GB": _endless(b"\n99999999999\n"),
    "a size without end": _endless(b"\n"),
    "a negative size": iter([b"\n-1\n"]),
    "a size that is a word": iter([b"\nmany\n"]),
    "a size of 5,000 digits": iter([b"\n" + b"1" * 5000 + b"\n"]),
    "nested 200,000 deep": iter([b"\n", _framed(b'{"id": 1, "ok": ' + b"[" * 200000 + b"]" * 200000 + b"}")]),
    "nested 900 deep": iter([b"\n", _framed(b'{"id": 1, "ok": ' + b"[" * 900 + b"]" * 900 + b"}")]),
    "no JSON": iter([b"\n", _framed(b'{"id": 1, "ok": nothing}')]),
    "no object": iter([b"\n", _framed(b"[1]")]),
    "an answer to nothing": iter([b"\n", _framed(b'{"id": x, "ok": {}}')]),
    "an answer that is a list": iter([b"\n", _framed(b'{"id": 1, "ok": [1]}')]),
    "an error that is a text": iter([b"\n", _framed(b'{"id": 1, "error": "no"}')]),
    "an error of odd parts": iter([b"\n", _framed(json.dumps({"id": 1, "error": {"context": [1]}}).encode())]),
    "pieces without end": (b"\n" * (not number) + PIECE for number in count()),
    "noise without end": _endless(b""),
    "a refusal without end": _endless(b"!"),
    "an identity that is a path": iter(
        [b"\n", _framed(b'{"id": 1, "ok": {"id": "../../x", "host": "a", "boot_id": "b", "home": "/h"}}')]
    ),
    "a name that is a path": iter(
        [b"\n", _framed(b'{"id": 1, "ok": {"id": "0123456789abcdef", "host": "../a", "boot_id": "b", "home": "/h"}}')]
    ),
    "an identity that lacks": iter([b"\n", _framed(b'{"id": 1, "ok": {}}')]),
}


def main() -> None:
    """Read what starts an agent, say the marker, then what was asked for; the pipe stays open for a while."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    source.read(int(source.readline()))
    marker = source.readline().split()[0]
    if sys.argv[1] != "noise without end":
        sink.write(marker + b"\n")
    try:
        for block in WHATS[sys.argv[1]]:
            sink.write(block)
            sink.flush()
        time.sleep(60)
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    main()
