"""What a program may leave in its run folder, by mistake or on purpose: one damaged run, all others as they were."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ground import Ground

pytestmark = pytest.mark.slow
LIMIT_S = 30  # for one command over all of them, on a loaded machine
BIG = 1 << 70


def event(**more: object) -> str:
    return json.dumps({"seq": 0, "t": 1.0, "kind": "metrics", "step": 1, "values": {"loss": 1.0}} | more) + "\n"


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: bool((folder / name).write_bytes(data)) and None


def link(name: str, target: str) -> Callable[[Path], None]:
    def place(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return place


def fifo(name: str) -> Callable[[Path], None]:
    def place(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return place


def in_its_place(name: str) -> Callable[[Path], None]:
    def place(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return place


def sparse(name: str, size: int) -> Callable[[Path], None]:
    def place(folder: Path) -> None:
        with (folder / name).open("wb") as handle:
            handle.truncate(size)

    return place


def job(**more: object) -> Callable[[Path], None]:
    def place(folder: Path) -> None:
        path = folder / "job.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **more}))

    return place


def ended(**more: object) -> Callable[[Path], None]:
    def place(folder: Path) -> None:
        path = folder / "exit.json"
        path.write_text(json.dumps({**json.loads(path.read_text().strip("\0 \n")), **more}))

    return place


FILES = ("job.json", "exit.json", "events.jsonl", "result.json", "cases.json", "log.txt", "stop", "ended.json")
CASES: dict[str, Callable[[Path], None]] = {
    "step over 64 bits": text("events.jsonl", event(step=BIG)),
    "seq over 64 bits": text("events.jsonl", event(seq=BIG)),
    "an integer of 400 digits": text("events.jsonl", event(values={"loss": int("1" * 400)})),
    "an integer of 5,000 digits": text("events.jsonl", event().replace("1.0}}", "1" * 5000 + "}}")),
    "a time that is a text": text("events.jsonl", event(t="yesterday")),
    "a time without a calendar": text("events.jsonl", event(t=1e308)),
    "values that are a list": text("events.jsonl", event(values=[1, 2])),
    "half of an emoji in a name": text("events.jsonl", event(values={"l\ud800": 1})),
    "half of an emoji in a note": text("events.jsonl", event(kind="note", text="\ud83d x")),
    "a zero byte in a name": text("events.jsonl", event(values={"a\0b": 1})),
    "nested 900 deep": text("events.jsonl", event(x=0).replace('"x": 0', f'"x": {nested(900)}')),
    "nested 5,000 deep": text("events.jsonl", event(x=0).replace('"x": 0', f'"x": {nested(5000)}')),
    "a line of 20 MB": text("events.jsonl", b'{"seq": 0, "x": "' + b"a" * 20_000_000 + b'"}\n' + event().encode()),
    "bytes of no text": text("events.jsonl", bytes(range(256)) * 50 + b"\n"),
    "100 GB of nothing, events": sparse("events.jsonl", 100 << 30),
    "100 GB of nothing, result": sparse("result.json", 100 << 30),
    "100 GB of nothing, log": sparse("log.txt", 100 << 30),
    "a result that is text": text("result.json", '{"contract": 1, "values": {"dice": "high"}}'),
    "a result over 64 bits": text("result.json", json.dumps({"contract": 1, "values": {"dice": BIG}})),
    "a result of odd names": text("result.json", '{"contract": 1, "values": {"d\\ud800": 1, "e": {"a": 1}}}'),
    "a result without number": text("result.json", '{"contract": 1, "values": {"dice": NaN, "x": 1e999}}'),
    "a result nested deep": text("result.json", f'{{"contract": 1, "values": {{"dice": 1}}, "x": {nested(970)}}}'),
    "names for a label": job(names=[1], label={"a": 1}),
    "a label of a megabyte": job(label="x" * 1_000_000),
    "a claim that is a text": job(claim="nobody"),
    "a claim of odd parts": job(claim={"host": 5, "boot_id": [], "at": "soon", "local": 7}),
    "resources that are a list": job(resources=[], provenance=3, placement="here", retry=[], policy="none"),
    "a status of 70 bits": ended(status=BIG),
    "a status that is true": ended(status=True),
    "an end that is a word": ended(ended="soon", started=None),
    "a failure of odd parts": ended(status=3, failure={"kind": ["a"], "evidence": {"b": 1}}, decision="again"),
    "files that are a list": ended(files=[1, 2], rusage="much", device=[1]),
    "no permission": lambda folder: (folder / "job.json").chmod(0),
    **{f"a folder instead of {name}": in_its_place(name) for name in FILES},
    **{f"a pipe instead of {name}": fifo(name) for name in FILES},
    **{f"endless zeros instead of {name}": link(name, "/dev/zero") for name in FILES},
}
SCORES = [{"case": 1, "group": None, "class": [], "dice": "x"}, {"case": "c", "class": "a", "dice": 1e308, "tp": BIG}]
for name, rows in (
    ("odd scores", json.dumps(SCORES)),
    ("deep scores", f'[{{"case": "c\\ud800", "x": {nested(300)}}}]'),
):
    CASES[name] = lambda folder, rows=rows: [
        text("result.json", '{"contract": 1, "values": {"dice": 1}}')(folder),
        text("cases.json", f'{{"contract": 1, "cases": {rows}}}')(folder),
    ][0]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    found = Ground(tmp_path / "ground")
    found.write("orch.yaml")
    yield found
    found.close()


def test_one_odd_folder_hides_no_other(ground: Ground) -> None:
    """Injected: every odd thing of the list, each in one run folder, all at once. Hidden or changed: nothing.

    The healthy jobs keep state and result in `status`, `sync`, `report`, a rebuilt index; each command in its time.
    """
    odd, healthy = len(CASES), 4
    last = odd + healthy - 1
    result = """echo '{{"contract": 1, "values": {{"dice": 0.5}}}}' > $ORCH_RUN/result.json"""
    ground.sweep("odd", f"echo out; test {{n}} != {last} || exit 3; {result}", f"{{n: 0..{last}}}")
    assert ground.orch("sweep", "odd", timeout=300).code == 1
    ground.settle()
    folders = {label: Path(attempts[0].path) for label, attempts in ground.folders("odd").items()}
    for number, spoil in enumerate(CASES.values()):
        spoil(folders[f"n={number}"])
    expected = {f"n={odd + number}": "done" if number < healthy - 1 else "failed" for number in range(healthy)}
    ground.index.unlink()
    for words in (
        ["sync"],
        ["status", "--refresh", "--json"],
        ["index", "rebuild"],
        ["report", "odd"],
        ["fetch", "odd", "--only", "log.txt", "--to", "here"],
        ["why", f"n={odd}"],
        ["logs", f"n={odd}"],
    ):
        began = time.monotonic()
        said = ground.orch(*words, timeout=120)
        assert time.monotonic() - began < LIMIT_S, words
        assert "orch itself failed" not in said.err and "Traceback" not in said.err, (words, said.err)
        assert said.code in (0, 1, 5, 6), (words, said)
        states = ground.states("odd")
        assert {label: states[label] for label in expected} == expected, (words, said)
        assert len(states) == odd + healthy, "each odd one is listed, too"
    for number, name in enumerate(CASES):
        began = time.monotonic()
        said = ground.orch("why", f"n={number}", timeout=120)
        assert said.code in (0, 3, 5) and "itself failed" not in said.err, (name, said)
        assert time.monotonic() - began < LIMIT_S, name
        if number % 4 == 0:
            said = ground.orch("logs", f"n={number}", timeout=LIMIT_S)
            assert "itself failed" not in said.err, (name, said)
