"""Events: whole lines only, whatever was torn, damaged or in the middle of being written."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_host import fill

from jobs.events import EventWriter, Lines, finite, read


def write(path: Path, count: int = 3) -> None:
    writer = EventWriter(path)
    for step in range(count):
        writer.write("metrics", step=step, values={"loss": step / 7, "naïve": "é\n\u2028"})
    writer.close()


def test_every_cut_of_the_last_line_is_ignored_until_its_end_arrives(tmp_path: Path) -> None:
    """Injected: the last line cut after each of its bytes. Lost: nothing; the whole line is read later, once."""
    path = tmp_path / "events.jsonl"
    write(path)
    data = path.read_bytes()
    begin = data.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(begin, len(data)):
        path.write_bytes(data[:cut])
        first = read(path)
        assert ([event["seq"] for event in first.events], first.offset, first.damaged) == ([0, 1], begin, 0)
        path.write_bytes(data)
        assert [event["seq"] for event in read(path, first.offset).events] == [2]


def test_a_writer_goes_on_after_every_cut(tmp_path: Path) -> None:
    """Injected: a writer killed after each byte of its last line. Lost: that line only; `seq` rises."""
    path = tmp_path / "events.jsonl"
    write(path)
    data = path.read_bytes()
    begin = data.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(begin, len(data) + 1):
        path.write_bytes(data[:cut])
        writer = EventWriter(path)
        writer.write("note", text="after")
        writer.close()
        found = read(path)
        whole = cut >= len(data) - 1  # the newline alone may lack: the line counts once it has one
        assert [event["seq"] for event in found.events] == ([0, 1, 2, 3] if whole else [0, 1, 2])
        assert found.events[-1]["text"] == "after"
        assert found.damaged == (0 if whole or cut == begin else 1)


def test_damaged_lines_are_counted_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, 1)
    bad = [b"nonsense", b"[1]", b"{}", b'{"seq": "x", "kind": "note"}', b'{"seq": 1}', b"\xff\xfe", b"[" * 100_000]
    path.write_bytes(path.read_bytes() + b"\n".join(bad) + b"\n\n  \n")
    write(path, 1)
    found = read(path)
    assert [event["seq"] for event in found.events] == [0, 1]
    assert found.damaged == len(bad)


def test_seq_rises_even_when_the_last_line_was_edited(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"seq": 7, "kind": "note"}\n{"seq": 2, "kind": "note"}\n')
    write(path, 1)
    assert [event["seq"] for event in read(path).events] == [7, 2, 8]


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write("metrics", step=1, values={"a": math.nan, "b": [math.inf, 1.5], "c": -math.inf})
    writer.close()
    path.write_bytes(path.read_bytes() + b'{"seq": 1, "kind": "metrics", "values": {"a": NaN, "b": -Infinity}}\n')
    ours, theirs = read(path).events
    assert ours["values"] == {"a": None, "b": [None, 1.5], "c": None}
    assert theirs["values"] == {"a": None, "b": None}


def test_scalars_of_numeric_libraries_are_numbers(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    assert finite({"a": numpy.float32(0.5), "b": numpy.int64(3), "c": numpy.float32("nan")}) == {
        "a": 0.5,
        "b": 3,
        "c": None,
    }


def test_a_missing_file_has_no_events(tmp_path: Path) -> None:
    assert read(tmp_path / "events.jsonl", 5) == Lines([], 5, 0)


def test_a_full_disk_tears_one_line_and_spoils_no_other(small_disk: Path) -> None:
    """Injected: a full disk. Lost: the events that did not fit, each with an error; what fits later is whole."""
    path, filler = small_disk / "events.jsonl", small_disk / "filler"
    writer = EventWriter(path)
    writer.write("note", text="before")
    fill(filler)
    with pytest.raises(OSError, match="No space"):
        writer.write("note", text="x" * 8192)
    filler.unlink()
    writer.write("note", text="after")
    writer.close()
    assert [event["text"] for event in read(path).events] == ["before", "after"]
    assert read(path).events[1]["seq"] >= 1


def test_a_reader_beside_a_killed_writer_sees_whole_lines_in_order(tmp_path: Path) -> None:
    """Injected: SIGKILL to a writing program, 5 times in one file. Lost: nothing but torn last lines."""
    path = tmp_path / "events.jsonl"
    code = "import sys; from jobs.events import EventWriter; w = EventWriter(sys.argv[1])\n"
    code += "while True: w.write('note', text='x' * 50); sys.stdout.write('.'); sys.stdout.flush()"
    root = Path(__file__).resolve().parents[2]
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=root, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.read(20)
            child.send_signal(signal.SIGKILL)
    found = read(path)
    seqs = [event["seq"] for event in found.events]
    assert seqs == sorted(set(seqs))
    assert len(seqs) >= 100
    assert found.damaged <= 5


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(values, max_size=4))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, texts: list[object]) -> None:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    writer = EventWriter(path)
    for value in texts:
        writer.write("note", value=value)
    writer.close()
    found = read(path)
    encoded = [json.loads(json.dumps(finite(value)).encode("utf-8", "replace")) for value in texts]
    assert [event["seq"] for event in found.events] == list(range(len(texts)))
    assert len(encoded) == len(found.events)
    assert found.offset == path.stat().st_size
