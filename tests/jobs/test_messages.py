"""The conversation of keeper and watcher: any cut of the stream, any full buffer, any watcher that is gone."""

from __future__ import annotations

import itertools
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_host import sh

from jobs import messages
from jobs.folder import Home, HostFolder
from jobs.keeper import Keeper
from jobs.messages import DONE, FREE, REFUSED, STARTED, TAKEN, Channel, pair
from jobs.queue import Queue
from jobs.stall import WorkerSlot


@pytest.fixture(autouse=True)
def ends() -> Iterator[list[Channel]]:
    """All ends that a test has, closed afterwards."""
    made: list[Channel] = []
    yield made
    for end in made:
        end.close()


def framed(*said: bytes) -> bytes:
    return b"".join(struct.pack("!I", len(one)) + one for one in said)


@pytest.fixture
def keeper(tmp_path: Path, local: HostFolder) -> Iterator[Keeper]:
    """A keeper with six entries due; no watcher of its own is forked."""
    os.mkfifo(local.wake)
    home = Home(str(tmp_path / "home"))
    Path(home.path).mkdir()
    Path(home.identity).write_text('{"contract": 1, "id": "home-id", "secret": "00"}')
    jobs = [
        {"sweep": "s", "id": f"{n:016x}", "attempt": 1, "argv": sh(":"), "resources": {"cpus": 1}} for n in range(6)
    ]
    made = Keeper(home, local, lambda: None)
    made.queue.add(jobs)
    made._read_batches()
    yield made
    made.let_go()


def worker(keeper: Keeper, ends: list[Channel]) -> tuple[WorkerSlot, Channel]:
    """A slot that has been given the first entry, and the watcher's end, which the test speaks for."""
    ours, theirs = pair()
    ends += [ours, theirs]
    slot = keeper.workers[ours.fileno()] = WorkerSlot(ours, os.getpid(), {"cpus": 1}, 0)
    keeper._give(slot)
    assert theirs.next()
    return slot, theirs


def test_every_pair_of_messages_however_it_is_cut_or_glued_reaches_the_keeper(
    keeper: Keeper, ends: list[Channel]
) -> None:
    """Injected: each pair of what a watcher may say, cut at each byte, so that it comes in one read or in two.

    Lost: nothing. After the answer that is due the watcher has the next entry, and each entry is served or due, once.
    """
    everything = list(keeper.due)
    for first, second in itertools.product((STARTED, TAKEN, REFUSED + b"full", DONE), repeat=2):
        stream = framed(first, second)
        for cut in range(len(stream)):
            keeper.due.clear()
            keeper.due.extend(everything)
            keeper.open = {everything[0].batch: {entry.key for entry in everything}}
            keeper.refused_until = 0.0
            slot, theirs = worker(keeper, ends)
            theirs._connection.sendall(stream[:cut])
            keeper._hear(slot)
            theirs._connection.sendall(stream[cut:])
            keeper._hear(slot)
            answers = sum(kind[:1] in (TAKEN, REFUSED, DONE) for kind in (first, second))
            assert len(theirs.receive()) == answers, (first, second, cut)
            waiting = [entry.key for entry in keeper.due] + ([slot.entry.key] if slot.entry and not slot.begun else [])
            assert len(waiting) == len(set(waiting))
            if first in (STARTED, TAKEN):
                assert everything[0].key not in waiting, "it has begun"
            if STARTED not in (first, second) and TAKEN not in (first, second) and DONE not in (first, second):
                assert set(waiting) == {entry.key for entry in everything}  # refused twice: all of it waits
            slot.channel.close()
            keeper.workers.clear()


@pytest.mark.parametrize("said", [b"", STARTED, TAKEN, REFUSED + b"x", DONE, FREE, b"?", STARTED + b" and more"])
def test_a_watcher_that_ends_after_any_message_leaves_no_slot_and_loses_no_entry(
    keeper: Keeper, ends: list[Channel], said: bytes
) -> None:
    """Injected: the watcher's end closed within and after each message, cut at each byte. Lost: no entry, no slot."""
    everything = list(keeper.due)
    stream = framed(said) if said else b""
    for cut in range(len(stream) + 1):
        keeper.due.clear()
        keeper.due.extend(everything)
        keeper.open = {everything[0].batch: {entry.key for entry in everything}}
        keeper.refused_until = 0.0
        slot, theirs = worker(keeper, ends)
        theirs._connection.sendall(stream[:cut])
        theirs.close()
        for _ in range(3):
            if keeper.workers:
                keeper._hear(slot)
        assert keeper.workers == {}
        begun = cut == len(stream) and said[:1] in (STARTED, TAKEN)
        open_ = keeper.open.get(everything[0].batch, set())
        assert (everything[0].key in open_) is not begun
        if not begun and said[:1] != DONE:
            assert {entry.key for entry in keeper.due} == {entry.key for entry in everything}


def test_a_long_message_does_not_make_the_keeper_wait_for_a_watcher_that_does_not_read(ends: list[Channel]) -> None:
    """Injected: 8 MiB for a watcher that reads nothing yet. The sender goes on; all of it arrives later, whole."""
    ours, theirs = pair()
    ends += [ours, theirs]
    message = os.urandom(1 << 23)
    assert ours.send(message)
    assert ours.unsent
    found: list[bytes | None] = []
    reader = threading.Thread(target=lambda: found.append(theirs.next()))
    reader.start()
    while ours.unsent:
        assert ours.flush()
    reader.join()
    assert found == [message]


def test_an_end_that_is_closed_is_known_at_once_on_both_sides(ends: list[Channel]) -> None:
    """Injected: the other end closed before a send, a read, and in the middle of a message. Nobody waits."""
    ours, theirs = pair()
    ends += [ours, theirs]
    theirs.close()
    assert not ours.send(b"x" * 100)
    ours, theirs = pair()
    ends += [ours, theirs]
    ours.close()
    assert theirs.next() is None
    assert not theirs.say(DONE)
    ours, theirs = pair()
    ends += [ours, theirs]
    ours._connection.sendall(framed(b"whole") + framed(b"cut")[:5])
    ours.close()
    assert theirs.next() == b"whole"
    assert theirs.next() is None


def test_a_length_that_no_message_has_ends_the_conversation(ends: list[Channel]) -> None:
    ours, theirs = pair()
    ends += [ours, theirs]
    theirs._connection.sendall(struct.pack("!I", messages.LIMIT + 1) + b"x")
    assert ours.receive() == []
    assert ours.gone


def test_a_batch_of_the_queue_is_still_there_when_no_watcher_lives(keeper: Keeper, ends: list[Channel]) -> None:
    """A watcher that vanished before it said anything: its entry stands in the queue's file as before."""
    slot, theirs = worker(keeper, ends)
    theirs.close()
    keeper._hear(slot)
    assert len(list(Queue(keeper.home, Path(keeper.queue.folder).name).waiting())) == 6
