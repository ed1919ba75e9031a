"""Requests and answers on the wire: their bytes, and how they are read.

A request is `<bytes>\\n<JSON>`; one of many items is `z<bytes>\\n<JSON, compressed>`; other bytes may follow behind its
JSON: `<bytes>+<bytes>\\n<JSON><bytes>`.

What the other end announces is believed up to a limit (`HEAD`, `ANSWER`, ...): neither end can be made to read, or
to keep, without end.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, BinaryIO, Dict, Iterator, Mapping, Optional

from .errors import WireError

MIB = 1 << 20
HEAD = 64  # bytes of the line that announces a frame: three numbers of 20 digits
ANSWER = 64 * MIB  # bytes of one frame of an answer; what has more comes in several (`Agent.collect`)
QUEUED = 128 * MIB  # bytes of answers that wait on the laptop for somebody to read them
REQUEST = 256 * MIB  # bytes of a request: 100,000 jobs are compressed to a tenth of it
TEXT = 1024 * MIB  # bytes of a compressed request's JSON
DATA = 64 * MIB  # bytes that follow a request: pieces of files are 1 MiB
_encode = json.JSONEncoder(ensure_ascii=False).encode


def request(number: int, verb: str, arguments: Mapping[str, Any], data: Optional[bytes] = None) -> bytes:
    """Return the bytes of a request; `data` arrives as the argument of that name.

    An argument that is an iterator arrives as a list: of many items there is never more than one beside their
    compressed text.
    """
    pieces = _pieces({"id": number, "verb": verb}, arguments)
    if any(isinstance(value, Iterator) for value in arguments.values()):
        return _compressed(pieces)
    text = b"".join(pieces)
    if data is None:
        return b"%d\n%s" % (len(text), text)
    return b"%d+%d\n%s%s" % (len(text), len(data), text, data)


def _compressed(pieces: Iterator[bytes]) -> bytes:
    packer, text = zlib.compressobj(1), bytearray()
    for piece in pieces:
        text += packer.compress(piece)
    text += packer.flush()
    return b"z%d\n%s" % (len(text), text)


def _pieces(head: Mapping[str, Any], arguments: Mapping[str, Any]) -> Iterator[bytes]:
    yield _text(head)[:-1] + b', "args": {'
    for count, (name, value) in enumerate(arguments.items()):
        yield (b", " if count else b"") + _text(name) + b": "
        if isinstance(value, Iterator):
            yield from _listed(value)
        else:
            yield _text(value)
    yield b"}}"


def _listed(items: Iterator[Any]) -> Iterator[bytes]:
    yield b"["
    for count, item in enumerate(items):
        yield (b", " if count else b"") + _text(item)
    yield b"]"


def _text(value: Any) -> bytes:
    return _encode(value).encode("utf-8", "replace")  # half of an emoji, in the name of a file


def answer(number: int, said: Mapping[str, Any]) -> bytes:
    """Return the bytes of an answer, or of a piece of one: `<bytes>\\n<JSON>`."""
    text = _text({"id": number, **said})
    return b"%d\n%s" % (len(text), text)


def answers(text: bytes) -> int:
    """Return the number of the request that an answer is for, without parsing all of it.

    Raises
    ------
    ValueError
        It is no answer.
    """
    return int(text[len(b'{"id": ') : text.index(b",", 0, HEAD)])


def parsed(text: bytes) -> Dict[str, Any]:
    """Return what stands in a frame.

    Raises
    ------
    ValueError
        It is no JSON object, or is nested too deeply.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def size(digits: bytes, most: int, what: str) -> int:
    """Return a number of bytes that the other end announces.

    Raises
    ------
    WireError
        It is no number, or more than `most`.
    """
    text = digits.strip()
    if not text.isdigit() or int(text) > most:
        shown = text[:HEAD].decode("ascii", "backslashreplace")
        raise WireError("{} of {!r} bytes was announced; at most {} are read".format(what, shown, most), _HINT)
    return int(text)


_HINT = "is it orch that answers there? look at what starts with your shell, and at the host itself"


def head_line(source: BinaryIO) -> bytes:
    """Return the line that announces the next frame; empty at the end.

    Raises
    ------
    WireError
        It is longer than one can be.
    """
    line = source.readline(HEAD + 1)
    if len(line) > HEAD:
        raise WireError("a line of more than {} bytes stands where a size is due".format(HEAD), _HINT)
    return line


def _inflated(text: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(text, TEXT)
    if unpacker.unconsumed_tail:
        raise WireError("a request of more than {} bytes came compressed".format(TEXT), "send fewer jobs at once")
    return found


def requests(source: BinaryIO) -> Iterator[Dict[str, Any]]:
    """Yield requests until the other end closes the connection."""
    for head in iter(lambda: head_line(source), b""):
        digits, _, more = head[head.startswith(b"z") :].partition(b"+")
        length = size(digits, REQUEST, "a request")
        text = source.read(length)
        if len(text) < length:
            return  # the connection was cut
        found = parsed(_inflated(text) if head.startswith(b"z") else text)
        if more:
            found["args"]["data"] = source.read(size(more, DATA, "data behind a request"))
        yield found
