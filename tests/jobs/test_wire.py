"""What stands on the wire, whatever the way."""

from __future__ import annotations

import ast
import json
import zlib

from jobs.wire import BOOT, LOADER, _sources, boot_arguments


def test_the_loader_is_written_for_python_3_6() -> None:
    ast.parse(LOADER, feature_version=(3, 6))
    ast.parse(BOOT, feature_version=(3, 6))
    assert "f'" not in LOADER and 'f"' not in LOADER


def test_all_of_jobs_is_sent_and_nothing_else() -> None:
    data = _sources()
    sent = json.loads(zlib.decompress(data))
    assert {name.partition(".")[0] for name in sent} == {"jobs"}
    assert "jobs.agent" in sent
    assert len(data) < 400_000


def test_the_agent_is_isolated_and_writes_nothing_beside_our_sources() -> None:
    assert boot_arguments("/usr/bin/python3")[:5] == ["/usr/bin/python3", "-I", "-S", "-B", "-c"]
