"""Indexes of wheels as they are served: files, a real HTTP server, and what is no wheel for us."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import simpleindex

PAGE = """<!DOCTYPE html><html><body>
<a href="../../files/torch-2.6.0%2Bcu126-cp312-cp312-linux_aarch64.whl#sha256=00">torch</a>
<a href="https://elsewhere.example/torch-2.7.1%2Bcu126-cp312-cp312-manylinux_2_28_x86_64.whl">torch</a>
<a href="torch-2.7.1%2Bcu126-cp312-cp312-win_amd64.whl">torch</a>
<a href="torch-2.7.1.tar.gz">torch</a><a name="top">no link</a>
</body></html>"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a real server over a folder with one index."""
    (tmp_path / "whl" / "cu126" / "torch").mkdir(parents=True)
    (tmp_path / "whl" / "cu126" / "torch" / "index.html").write_text(PAGE)
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/whl"
        server.shutdown()


def test_a_served_index_tells_versions_processors_and_pythons(served: str) -> None:
    found = simpleindex.offers(f"{served}/cu126", "torch")
    assert [(wheel["version"], wheel["arch"], wheel["python"]) for wheel in found] == [
        ("2.6.0+cu126", "aarch64", "cp312"),
        ("2.7.1+cu126", "x86_64", "cp312"),
    ]


def test_a_page_that_is_not_there_is_an_empty_index(served: str, tmp_path: Path) -> None:
    assert simpleindex.offers(f"{served}/cu130", "torch") == []
    assert simpleindex.offers(tmp_path.as_uri() + "/cu130", "torch") == []


@pytest.mark.parametrize("index", ["http://127.0.0.1:1/whl/cu126", "no address at all", "gopher://x/whl"])
def test_an_index_that_cannot_be_asked_is_an_error_of_the_system(index: str) -> None:
    with pytest.raises(OSError, match=r"127\.0\.0\.1|no address|gopher"):
        simpleindex.offers(index, "torch")


def test_a_folder_of_wheels_is_read_by_name(tmp_path: Path) -> None:
    for name in ("torch-2.6.0+cu126-cp312-cp312-linux_aarch64.whl", "numpy-2.1.0-py3-none-any.whl", "notes.txt"):
        (tmp_path / name).touch()
    assert [wheel["file"] for wheel in simpleindex.kept(str(tmp_path), "torch")] == [
        "torch-2.6.0+cu126-cp312-cp312-linux_aarch64.whl"
    ]
    assert simpleindex.kept(str(tmp_path / "absent"), "torch") == []
