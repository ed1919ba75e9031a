from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.report import build
from orchestrator.report.markdown import render
from orchestrator.store import Index


def test_every_table_is_whole(holed: Index) -> None:
    blocks = [block.splitlines() for block in render(build(holed, "augmentations")).split("\n\n") if block[0] == "|"]
    assert len(blocks) == 5
    for lines in blocks:
        assert len({line.count("|") for line in lines}) == 1
    assert "| failed |" in "\n".join(map("\n".join, blocks))


def test_signs_stay_signs(index: Index, finished: Callable[..., dict[str, Any]]) -> None:
    report = finished("rotate", 0)
    report["spec"] |= {"label": "a|b", "names": {"strategy": "a|b\n*c*", "fold": 0}}
    index.ingest([report])
    assert "| a\\|b \\*c\\* |" in render(build(index, "augmentations"))


def test_any_program(grid: Index) -> None:
    text = render(build(grid, "grid"))
    assert "| 0.001 | 3/3 | 0.6 | 3 |" in text and "Methods" not in text and "curves.png" in text
