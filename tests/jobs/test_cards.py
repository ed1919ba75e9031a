"""Cards leased across users: real locks, real users, an nvidia-smi that tells what a file says."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_host import until
from standins.cards import Cards as Stand

from jobs import cards, gpu, host
from jobs.cards import Cards, make_common, neighbours
from jobs.folder import HostFolder
from jobs.waits import InUse

ALICE, BOB = 5001, 5002
needs_root = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="two users need root")


@pytest.fixture
def stand(program: Callable[[str, str], Path], tmp_path: Path) -> Stand:
    return Stand(program, tmp_path, count=2)


@pytest.fixture
def open_stand(open_program: Callable[[str, str], Path], open_ground: Path) -> Stand:
    """Two cards that every user sees."""
    return Stand(open_program, open_ground, count=2)


def folder_of(root: Path, user: int, home: str = "home") -> HostFolder:
    path = root / f"orch-{user}" / home
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, user, user)
    return HostFolder(str(path))


@contextlib.contextmanager
def as_user(user: int, work: Callable[[], None]) -> Iterator[int]:
    """Run something in a process of another user; its id. It is ended afterwards."""
    child = os.fork()
    if child == 0:
        try:
            os.umask(0o077)
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            work()
        finally:
            os._exit(1)
    try:
        yield child
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_card_has_one_lease_and_the_preferred_card_goes_first(stand: Stand, local: HostFolder) -> None:
    Path(local.wishes).write_text(json.dumps({"prefer": [1]}))
    first, second = Cards(local).take(1), Cards(local).take(1)
    assert first is not None
    assert second is not None
    assert [first.cards[0].index, second.cards[0].index] == [1, 0]
    assert Cards(local).take(1) is None, "held by jobs of our own: no reason is needed"
    cards.close(set(first.descriptors))
    again = Cards(local).take(1)
    assert again is not None
    assert again.cards[0].index == 1
    cards.close({*second.descriptors, *again.descriptors})


def test_a_card_in_use_is_passed_over_and_two_are_too_many(stand: Stand, local: HostFolder) -> None:
    stand.come(os.getppid())
    taken = Cards(local).take(1)
    assert taken is not None
    assert taken.cards[0].index == 1
    cards.close(set(taken.descriptors))
    with pytest.raises(InUse, match=r"GPU 0 is used by you, outside of orch, \(9.1 GB, standard, pid \d+\) since "):
        Cards(local).take(2)
    stand.go(os.getppid())
    both = Cards(local).take(2)
    assert both is not None
    cards.close(set(both.descriptors))


def test_memory_of_nobody_and_a_driver_that_does_not_answer_are_reasons(stand: Stand, local: HostFolder) -> None:
    found = Cards(local)
    stand.hide(9000, 0)
    stand.hide(9000, 1)
    with pytest.raises(InUse, match=r"GPU 0 has 8.8 GB in use by processes that nvidia-smi does not name"):
        found.take(1)
    stand.fault("driver")
    with pytest.raises(InUse, match="the cards cannot be seen: nvidia-smi ended with 18 and said: Failed to init"):
        found.take(1)


def test_small_jobs_share_a_card_up_to_its_memory(stand: Stand, local: HostFolder) -> None:
    """22 parts of 1 GiB on each of two cards (500 MB are left for others): 4 jobs of 5 GiB each, then none."""
    taken = [Cards(local).take(1, 5 * 1024) for _ in range(9)]
    assert [one.cards[0].index if one else None for one in taken] == [0, 0, 0, 0, 1, 1, 1, 1, None]
    small = Cards(local).take(1, 2 * 1024)
    assert small is not None, "what is left of a card is used"
    assert Cards(local).take(1) is None, "no card is whole"
    for one in [*taken, small]:
        cards.close(set(one.descriptors) if one else set())
    whole = Cards(local).take(2)
    assert whole is not None
    assert Cards(local).take(1, 1024) is None, "a job with a card of its own shares it with nobody"
    cards.close(set(whole.descriptors))


def test_memory_that_others_hold_is_not_given_to_small_jobs(stand: Stand, local: HostFolder) -> None:
    Path(local.wishes).write_text(json.dumps({"foreign_mb": 12000, "prefer": [0]}))
    stand.come(os.getppid(), 10000, card=0)
    taken = Cards(local).take(1, 14 * 1024)
    assert taken is not None
    assert taken.cards[0].index == 1, "card 0 has 12.7 GiB free"
    cards.close(set(taken.descriptors))


def test_what_descends_from_a_living_holder_is_a_job(stand: Stand, local: HostFolder) -> None:
    taken = Cards(local).take(1)
    assert taken is not None
    app = gpu.App("GPU-0", os.getpid(), "python", 900)
    assert [one.pid for one in neighbours(local.cards, "GPU-0", [app])] == [os.getpid()]
    cards.sign(taken.signs)
    assert neighbours(local.cards, "GPU-0", [app]) == []
    assert [one.pid for one in neighbours(local.cards, "GPU-0", [app._replace(pid=os.getppid())])] == [os.getppid()]
    assert neighbours(local.cards, "GPU-1", [app]) == []
    other_start = {"user": 0, "pid": os.getpid(), "start": 1}
    Path(local.cards, "GPU-0").write_text(json.dumps(other_start))
    assert neighbours(local.cards, "GPU-0", [app]) != [], "a process id that was used again is nobody"
    cards.close(set(taken.descriptors))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"user": "x", "pid": 1, "start": 1}', '{"pid": 1}', "\0" * 128])
def test_a_damaged_signature_counts_as_none(stand: Stand, local: HostFolder, text: str) -> None:
    make_common(local.cards)
    Path(local.cards, "GPU-0").write_text(text)
    Path(local.cards, "GPU-0.000.tmp").mkdir()
    app = gpu.App("GPU-0", os.getpid(), "python", 900)
    assert len(neighbours(local.cards, "GPU-0", [app])) == 1


@pytest.mark.parametrize("kind", ["file", "private", "link"])
def test_a_folder_that_is_not_for_all_is_a_reason(stand: Stand, local: HostFolder, tmp_path: Path, kind: str) -> None:
    path = Path(local.cards)
    if kind == "file":
        path.touch()
    elif kind == "private":
        path.mkdir(0o700)
    else:
        path.symlink_to(tmp_path)
    with pytest.raises(InUse, match=r"cards cannot be leased: .* is no folder for all users"):
        Cards(local).take(1)


@needs_root
def test_a_lease_that_is_a_link_into_somebodys_files_is_refused(
    stand: Stand, local: HostFolder, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    make_common(local.cards)
    Path(local.cards, "GPU-0").symlink_to(victim)
    with pytest.raises(InUse, match="cards cannot be leased"):
        Cards(local).take(1)
    assert victim.read_text() == "mine"


@needs_root
def test_two_users_try_at_once_and_no_card_is_leased_twice(open_stand: Stand, open_ground: Path) -> None:
    """8 processes of two users race for 2 cards until each had one 25 times; a holder makes a file that must be new."""
    held = open_ground / "held"
    held.mkdir()
    held.chmod(0o777)

    def race(user: int) -> None:
        mine, won = folder_of(open_ground, user), 0
        while True:
            with contextlib.suppress(InUse):
                taken = Cards(mine).take(1)
                if taken:
                    proof = held / taken.cards[0].uuid
                    try:
                        os.close(os.open(proof, os.O_CREAT | os.O_EXCL))
                    except FileExistsError:
                        (held / "DOUBLE").touch()
                    time.sleep(0.002)
                    proof.unlink()
                    won += 1
                    (held / f"won-{user}-{os.getpid()}").write_text(str(won))
                    cards.close(set(taken.descriptors))

    for user in (ALICE, BOB):
        folder_of(open_ground, user)
    with contextlib.ExitStack() as racers:
        for number in range(8):
            user = (ALICE, BOB)[number % 2]
            racers.enter_context(as_user(user, lambda user=user: race(user)))  # type: ignore[misc]
        until(lambda: min(_won(held, ALICE), _won(held, BOB)) >= 25, 120, "both users had a card 25 times")
    assert not (held / "DOUBLE").exists()
    assert {path.stat().st_mode & 0o7777 for path in (open_ground / "orch-cards").glob("GPU-*")} == {0o666}


def _won(held: Path, user: int) -> int:
    texts = [path.read_text() for path in held.glob(f"won-{user}-*")]
    return sum(int(text or 0) for text in texts)


@needs_root
def test_who_holds_a_card_is_named_to_the_other_user(open_stand: Stand, open_ground: Path) -> None:
    def hold() -> None:
        taken = Cards(folder_of(open_ground, BOB)).take(2)
        assert taken
        cards.sign(taken.signs)
        (open_ground / "orch-5002" / "home" / "holds").touch()
        time.sleep(600)

    folder_of(open_ground, BOB)
    mine = folder_of(open_ground, os.getuid())
    with as_user(BOB, hold) as bob:
        until((open_ground / "orch-5002" / "home" / "holds").exists, what="bob holds both cards")
        open_stand.come(bob)
        with pytest.raises(InUse, match="GPU 0 is leased by a job of 5002"):
            Cards(mine).take(1)
        assert neighbours(mine.cards, "GPU-0", gpu.apps() or []) == [], "another user's job of orch is no stranger"
    open_stand.go(bob)
    taken = Cards(mine).take(2)
    assert taken is not None, "a holder that was killed holds nothing"
    cards.close(set(taken.descriptors))


@needs_root
def test_a_lease_file_that_is_a_pipe_is_refused(stand: Stand, local: HostFolder) -> None:
    make_common(local.cards)
    os.mkfifo(Path(local.cards, "GPU-0"))
    with pytest.raises(InUse, match="GPU-0 is no plain file"):
        Cards(local).take(1)


@needs_root
def test_who_locks_a_card_without_a_job_is_named(open_stand: Stand, open_ground: Path) -> None:
    """Injected: another user locks both cards' files and signs nothing."""
    mine = folder_of(open_ground, os.getuid())
    taken = Cards(mine).take(2)
    assert taken is not None
    cards.close(set(taken.descriptors))

    def hold() -> None:
        for number in range(2):
            descriptor = os.open(Path(mine.cards, f"GPU-{number}"), os.O_RDWR)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.set_inheritable(descriptor, True)
        (open_ground / "holds").touch()
        time.sleep(600)

    with as_user(BOB, hold) as bob:
        until((open_ground / "holds").exists, what="bob holds both cards")
        with pytest.raises(InUse, match=rf"GPU 0 has its lease file locked by {BOB} \(pid {bob}\), which is no job"):
            Cards(mine).take(1)


@needs_root
@pytest.mark.parametrize("name", ["GPU-0", "GPU-0.000", "GPU-0.999", "GPU-0.planted"])
@pytest.mark.parametrize(("locked", "need_mb"), [(False, 0), (True, 0), (False, 2048)])
def test_a_planted_signature_makes_nobody_a_job(
    open_stand: Stand, open_ground: Path, name: str, locked: bool, need_mb: int
) -> None:
    """Injected: bob, who computes on a card that he does not hold, signs a lease file. Jobs beside him: none."""
    mine = folder_of(open_ground, os.getuid())
    make_common(mine.cards)

    def plant() -> None:
        cards._make(f"{mine.cards}/{name}")
        descriptor = os.open(f"{mine.cards}/{name}", os.O_RDWR)
        cards.sign([descriptor])
        if locked and name != "GPU-0":
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        (open_ground / "planted").touch()
        time.sleep(600)

    with as_user(BOB, plant) as bob:
        until((open_ground / "planted").exists, what="bob has planted it")
        open_stand.come(bob)
        with pytest.raises(InUse, match=f"GPU 0 is used by {BOB}"):
            Cards(mine).take(2, need_mb)


@needs_root
def test_a_signature_of_another_users_process_counts_as_none(open_stand: Stand, open_ground: Path) -> None:
    """Injected: bob signs with a number of ours, or with our process."""
    mine = folder_of(open_ground, os.getuid())
    make_common(mine.cards)
    with as_user(BOB, lambda: time.sleep(600)) as bob:
        open_stand.come(bob)
        start = host.start_time(bob)
        Path(mine.cards, "GPU-0").write_text(json.dumps({"user": os.getuid(), "pid": bob, "start": start}))
        Path(mine.cards, "GPU-0").chmod(0o666)
        with pytest.raises(InUse, match=f"GPU 0 is used by {BOB}"):
            Cards(mine).take(2)
