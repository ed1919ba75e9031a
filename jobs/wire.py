"""The wire: one connection, one helper on the host, framed JSON both ways.

Nothing is installed on the host. A length-prefixed loader goes first, then the sources of `jobs`, which are imported
from memory, unless the host has kept those very ones from the last time (`kept`); then requests and answers, each
`<bytes>\\n<JSON>`; a request may carry other bytes behind its JSON (`<bytes>+<bytes>\\n<JSON><bytes>`). The agent's
first word is a random marker, so that whatever a start-up file prints before is skipped. A reader thread takes in
answers ahead, and all of them while we write: a client that writes and reads in turn can deadlock on two full pipes.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
import time
import zlib
from functools import lru_cache
from types import TracebackType
from typing import Any, BinaryIO, Dict, Generator, List, Mapping, Optional, Tuple, Type

from . import frames
from .errors import OrchError, Unreachable, WireError, from_json
from .pipe import Pipe

# Read by whatever Python the host has, so in the syntax of 3.6; old ones get a clear word. It reads what `Wire` writes:
# marker, SHA-256 of the sources, bytes that are asked ahead; those; and the sources, if it answers `?`.
LOADER = """
import hashlib, json, os, sys, zlib
from importlib.machinery import ModuleSpec
source, sink = sys.stdin.buffer, sys.stdout.buffer
marker, digest, ahead = source.readline().decode().split()
ahead = source.read(int(ahead))
sink.write((marker + "\\n").encode())
if sys.version_info < (3, 9):
    sink.write(("!Python %s at %s is too old; orch needs 3.9 or newer on the host\\n"
                % (sys.version.split()[0], sys.executable)).encode())
    sink.flush()
    sys.exit(0)
user = "orch-%d" % (os.getuid() if hasattr(os, "getuid") else 0)
kept = os.path.join(os.environ.get("ORCH_LOCAL") or "/var/tmp", user, "agent-" + digest)  # see `jobs.kept`
packed = b""
try:  # another user may have made it: a pipe, a link, a file without end
    with open(kept, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
        about = os.fstat(file.fileno())
        if about.st_mode >> 12 == 8 and about.st_uid == os.getuid():
            packed = file.read(1 << 24)
except (OSError, AttributeError):  # it is not there; or Windows, which has none of these words
    pass
came = hashlib.sha256(packed).hexdigest() != digest
if came:
    sink.write(b"?\\n")
    sink.flush()
    packed = source.read(int(source.readline()))
modules = json.loads(zlib.decompress(packed).decode())
class Memory:  # of no base class: `importlib.abc` brings half of the standard library with it
    sources = modules  # `arrays` hands them on to compute nodes
    fresh = packed if came else None
    def find_spec(self, name, path=None, target=None):
        if name in modules:
            return ModuleSpec(name, self, is_package=name == "jobs")
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        exec(self.get_code(module.__name__), module.__dict__)
    def get_source(self, name):
        return modules[name]
    def get_code(self, name):
        return compile(self.get_source(name), "<orch>/%s.py" % name.replace(".", "/"), "exec", dont_inherit=True)
sys.meta_path.insert(0, Memory())
from jobs.agent import serve
serve(source, sink, ahead)
"""

# All that stands on the host's command line: it reads the loader's length and the loader.
BOOT = "import sys;i=sys.stdin.buffer;n=int(i.readline());exec(i.read(n))"

AHEAD = 8  # answers that are read before somebody wants them, unless we write: of many, most wait on the host
LOCAL = "this machine"  # name of the way to it, whose agent is our own program; no host of a site file can have it
NOISE_LIMIT = 1 << 20  # bytes that start-up files may print before the marker
REFUSAL_LIMIT = 500  # bytes of why a host cannot run our agent


class Wire:
    """A conversation with the agent on one host.

    Parameters
    ----------
    pipe:
        The bytes' way; closed with the wire.
    timeout:
        Seconds without any answer after which the host counts as unreachable.
    first:
        A verb and its arguments that are sent along with the agent, without waiting for it: `answer(wire.first)`.

    Raises
    ------
    Unreachable
        The host does not answer.
    WireError
        Something else answers, or a Python that is too old.
    """

    def __init__(
        self, pipe: Pipe, timeout: float = 60.0, first: Optional[Tuple[str, Mapping[str, Any]]] = None
    ) -> None:
        self._pipe, self._timeout, self._number = pipe, timeout, 0
        self._frames: "queue.Queue[Optional[bytes]]" = queue.Queue()
        self._came = self._taken = 0  # bytes of frames, as the reader and whoever reads answers have counted them
        self._awaited: Dict[int, List[bytes]] = {}  # frames that came while another answer was read
        marker = os.urandom(16).hex()
        self._hello, self._answered = threading.Event(), False
        self._lacks_sources = False
        self._writer: Optional[threading.Thread] = None
        self._closed = False
        self._refusal = self._printed = ""
        self._fault: Optional[WireError] = None  # the other end broke a limit
        self._reader = threading.Thread(target=self._read, args=(pipe.output, marker), daemon=True)
        self._reader.start()
        asked, self.first = self._frame(*first) if first else (b"", 0)
        try:
            self._start(marker, asked)
        except BaseException:
            self._close_pipe()
            raise

    def _start(self, marker: str, asked: bytes) -> None:
        """Start the agent: from what the host has kept of its sources, else from ours."""
        sources = _sources()
        digest = hashlib.sha256(sources).hexdigest()
        loader = LOADER.encode()
        head = "{} {} {}\n".format(marker, digest, len(asked)).encode()
        self._send(b"%d\n%s%s%s" % (len(loader), loader, head, asked))
        self._hello.wait(self._timeout)
        if self._lacks_sources:
            self._hello.clear()
            self._send(b"%d\n%s" % (len(sources), sources))
            self._hello.wait(self._timeout)
        if not self._answered:
            raise self._silence()

    def call(self, verb: str, **arguments: Any) -> Dict[str, Any]:
        """Ask and wait for the answer; chunks of a verb that streams are thrown away.

        Raises
        ------
        OrchError
            Whatever the agent says went wrong.
        Unreachable
            The connection broke: nothing is known about what the agent did.
        """
        return self.answer(self.post(verb, **arguments))

    def stream(self, verb: str, **arguments: Any) -> Generator[Any, None, Dict[str, Any]]:
        """Ask and yield the chunks as they come; the generator's return value is the final answer."""
        return (yield from self._answers(self.post(verb, **arguments)))

    def post(self, verb: str, **arguments: Any) -> int:
        """Ask without waiting, which saves a round trip; the number is for `answer`. Answers come in this order.

        An argument that is an iterator arrives as a list (`frames.request`).
        """
        data, number = self._frame(verb, arguments)
        self._send(data)
        return number

    def post_bytes(self, verb: str, data: bytes, **arguments: Any) -> int:
        """Ask without waiting; the verb gets the bytes as its argument `data`. See `post`."""
        asked, number = self._frame(verb, arguments, data)
        self._send(asked)
        return number

    def answer(self, number: int) -> Dict[str, Any]:
        """Wait for the answer to what was posted; raises what `call` raises."""
        answers, begun = self._answers(number), self._taken
        while True:
            try:
                next(answers)
            except StopIteration as stop:
                return dict(stop.value)
            if self._taken - begun > frames.QUEUED:
                answers.close()
                raise self._nonsense("more than {} bytes before an answer".format(frames.QUEUED))

    def _frame(self, verb: str, arguments: Mapping[str, Any], data: Optional[bytes] = None) -> Tuple[bytes, int]:
        self._number += 1
        self._awaited[self._number] = []
        return frames.request(self._number, verb, arguments, data), self._number

    def _answers(self, number: int) -> Generator[Any, None, Dict[str, Any]]:
        try:
            while True:
                frame = self._frame_of(number)
                if "chunk" in frame:
                    yield frame["chunk"]
                elif isinstance(frame.get("error"), dict):
                    error = from_json(frame["error"])
                    error.said_by = "" if self._pipe.name == LOCAL else self._pipe.name
                    raise error
                elif isinstance(frame.get("ok"), dict):
                    return dict(frame["ok"])
                else:
                    raise self._nonsense("neither an answer nor an error")
        finally:
            del self._awaited[number]  # what still comes of a stream that is not read to its end is thrown away

    def _frame_of(self, number: int) -> Dict[str, Any]:
        try:
            if self._awaited[number]:
                return frames.parsed(self._awaited[number].pop(0))
            while True:
                frame = self._next_frame()
                of = frames.answers(frame)
                if of == number:
                    return frames.parsed(frame)
                kept = self._awaited.get(of)
                if kept is not None:
                    kept.append(frame)
                    if sum(map(len, kept)) > frames.QUEUED:
                        raise self._nonsense("more than {} bytes before their turn".format(frames.QUEUED))
        except ValueError as error:
            raise self._nonsense(str(error)) from error

    def _nonsense(self, why: str) -> WireError:
        text = "{} sent what is no answer of orch: {}".format(self._pipe.name, why[:200])
        return WireError(text, "is it orch that answers there? look at the host")

    def close(self) -> None:
        """Close the connection; the agent leaves, keepers and watchers stay."""
        self._close_pipe()
        self._reader.join(timeout=5)

    def _close_pipe(self) -> None:
        """Close it once nobody is about to write: the descriptor's number may be another wire's a moment later.

        A writer that is still there after half a second waits inside the system call, which has looked the number up.
        """
        self._closed = True
        if self._writer:
            self._writer.join(timeout=0.5)
        self._pipe.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _send(self, data: bytes) -> None:
        """Write in a thread of its own: an end that reads nothing must not hold us for ever."""
        failures: List[Exception] = []
        self._writer = writer = threading.Thread(target=self._write, args=(data, failures), daemon=True)
        writer.start()
        deadline = time.monotonic() + self._timeout
        while writer.is_alive() and self._reader.is_alive() and time.monotonic() < deadline:
            writer.join(0.1)
        if writer.is_alive() or failures:
            self._hello.wait(1.0)  # it may have said why before it left
            raise self._silence() from next(iter(failures), None)

    def _write(self, data: bytes, failures: List[Exception]) -> None:
        try:
            rest = memoryview(data)
            while rest:
                written: Optional[int] = self._pipe.input.write(rest)
                rest = rest[len(rest) if written is None else written :]
            self._pipe.input.flush()
        except (OSError, ValueError) as error:
            failures.append(error)

    def _next_frame(self) -> bytes:
        try:
            frame = self._frames.get(timeout=self._timeout)
        except queue.Empty:
            frame = None
        if frame is None:
            raise self._silence()
        self._taken += len(frame)
        return frame

    def _silence(self) -> OrchError:
        if self._fault:
            return WireError("{}: {}".format(self._pipe.name, self._fault.message), self._fault.hint)
        if self._refusal:
            return WireError("{}: {}".format(self._pipe.name, self._refusal), "install a newer Python on the host")
        known = self._pipe.trouble(self._answered, self._printed)
        if known:
            return known
        if self._printed and not self._answered:
            text = "{}: it did not start our agent, it printed: {}".format(self._pipe.name, self._printed.strip())
            return WireError(text, "look at the start-up files of its shell")
        said = self._pipe.complaints().strip().splitlines()
        why = said[-1] if said else "no answer within {:.0f} s".format(self._timeout)
        return Unreachable(
            "{} does not answer: {}".format(self._pipe.name, why), "orch status says what was last known"
        )

    def _read(self, source: BinaryIO, marker: str) -> None:
        """In the reader thread: skip noise up to the marker, then queue frames; None at the end."""
        try:
            if self._skip_noise(source, marker.encode()):
                for head in iter(lambda: self._head(source), b""):
                    if head.startswith(b"!"):
                        break
                    self._lacks_sources = head == b"?\n"
                    self._answered = not self._lacks_sources
                    self._hello.set()
                    self._let_wait()
                    if self._answered and head.strip():
                        length = frames.size(head, frames.ANSWER, "an answer")
                        frame = source.read(length)
                        if len(frame) < length:
                            break
                        self._came += length
                        if not self._closed:  # else it is only read so that the other end can leave
                            self._frames.put(frame)
        except WireError as error:
            self._fault = error
        except (OSError, ValueError):
            pass  # the connection broke in the middle of a frame
        self._frames.put(None)
        self._hello.set()

    def _let_wait(self) -> None:
        """In the reader thread: wait while enough was read ahead. While we write, all must be taken in, up to a limit.

        Raises
        ------
        WireError
            More has come than we keep.
        """
        while not self._closed and (self._frames.qsize() >= AHEAD or self._came - self._taken >= frames.ANSWER):
            if self._writer and self._writer.is_alive():
                if self._came - self._taken > frames.QUEUED:
                    text = "it sends answers of more than {} bytes and reads nothing".format(frames.QUEUED)
                    raise WireError(text, "run the same command again; is it orch that answers there?")
                return
            time.sleep(0.005)

    def _head(self, source: BinaryIO) -> bytes:
        """The line that announces what comes; why the host cannot run our agent, in `_refusal`, when it says so."""
        first = source.read(1)
        if first == b"!":
            self._refusal = source.readline(REFUSAL_LIMIT).decode("utf-8", "replace").strip()
        return first if first in (b"!", b"\n", b"") else first + frames.head_line(source)

    def _skip_noise(self, source: BinaryIO, marker: bytes) -> bool:
        seen, window = 0, b""
        while seen < NOISE_LIMIT:
            line = source.readline(65536)
            window = (window + line)[-len(marker) - 1 :]
            if window == marker + b"\n":
                return True
            if not line:
                return False
            seen += len(line)
            self._printed = (self._printed + line.decode("utf-8", "replace"))[-300:]
        self._refusal = "it did not start our agent and prints without end"
        return False


@lru_cache(maxsize=1)  # the same for all hosts
def _sources() -> bytes:
    folder = os.path.dirname(os.path.abspath(__file__))
    modules = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), encoding="utf-8") as handle:
                modules["jobs" if name == "__init__.py" else "jobs." + name[:-3]] = handle.read()
    return zlib.compress(json.dumps(modules).encode(), 6)


def boot_arguments(python: str) -> List[str]:
    """Return the command that turns a Python on a host into our agent: isolated, nothing read, nothing written.

    Without `site` (`-S`): the standard library is all that it needs, and what a host hangs into its start-up stays out.
    """
    return [python, "-I", "-S", "-B", "-c", BOOT]
