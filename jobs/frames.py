"""Requests and answers on the wire: their bytes, and how they are read.

A request is `<bytes>\\n<JSON>`; one of many items is `z<bytes>\\n<JSON, compressed>`; other bytes may follow behind its
JSON: `<bytes>+<bytes>\\n<JSON><bytes>`.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, BinaryIO, Dict, Iterator, Mapping, Optional

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
    return _encode(value).encode()


def answer(number: int, said: Mapping[str, Any]) -> bytes:
    """Return the bytes of an answer, or of a piece of one: `<bytes>\\n<JSON>`."""
    text = _text({"id": number, **said})
    return b"%d\n%s" % (len(text), text)


def answers(text: bytes) -> int:
    """Return the number of the request that an answer is for, without parsing all of it."""
    return int(text[len(b'{"id": ') : text.index(b",")])


def requests(source: BinaryIO) -> Iterator[Dict[str, Any]]:
    """Yield requests until the other end closes the connection."""
    for head in iter(source.readline, b""):
        size, _, more = head.lstrip(b"z").partition(b"+")
        text = source.read(int(size))
        found = json.loads(zlib.decompress(text) if head.startswith(b"z") else text)
        if more:
            found["args"]["data"] = source.read(int(more))
        yield found
