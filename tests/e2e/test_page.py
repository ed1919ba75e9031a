"""The report page in a real browser: quiet console, no request to anywhere, readable without JavaScript."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ground import Ground

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium in PATH: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page(trained: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    said = trained.orch("report", "tiny", "--json", "--out", str(folder))
    return next(Path(path) for path in said.json["files"] if path.endswith(".html"))


def browse(page: Path, folder: Path, *options: str) -> tuple[str, str]:
    """Open the page headless; return the document as the browser has it at last, and what it logged."""
    command = [str(BROWSER), "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command += ["--disable-component-update", "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"]
    command += ["--no-sandbox"] if os.getuid() == 0 else []  # chromium refuses root otherwise
    command += ["--enable-logging=stderr", "--virtual-time-budget=3000", *options, "--dump-dom", page.as_uri()]
    done = subprocess.run(
        command, env={**os.environ, "HOME": str(folder)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def requests(log: Path) -> list[str]:
    """Addresses that the page (and not the browser itself) asked for, from the browser's network log."""
    text = log.read_text(encoding="utf-8", errors="replace").rstrip().rstrip(",")
    events = json.loads(text if text.endswith("}") else text + "]}")["events"]
    params = [event.get("params", {}) for event in events]
    return [str(one["url"]) for one in params if "url" in one and one.get("initiator") not in (None, "not an origin")]


def test_quiet_and_alone(page: Path, tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    document, said = browse(page, tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" not in said
    assert [address for address in requests(log) if not address.startswith(("file:", "data:", "blob:"))] == []
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", document)
    assert len(re.findall("<svg", document)) >= 2


def test_the_instruments_see_what_they_should(tmp_path: Path) -> None:
    page, log = tmp_path / "bad.html", tmp_path / "net.json"
    page.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("oh")</script>')
    _, said = browse(page, tmp_path, f"--log-net-log={log}")
    assert "CONSOLE" in said
    assert "http://127.0.0.1:9/x.png" in requests(log)


def test_the_table_is_readable_without_javascript(page: Path, tmp_path: Path) -> None:
    """All scripts are taken out; one of ours, at the end, says which text of the first table is shown (innerText)."""
    bare = tmp_path / "bare.html"
    text = re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    bare.write_text(text + "<script>document.body.title = document.querySelector('table').innerText</script>")
    document, _ = browse(bare, tmp_path)
    shown = re.search(r'<body[^>]*title="([^"]*)"', document)
    assert shown
    assert "strategy" in shown[1] and "identity" in shown[1] and "rotate" in shown[1]
