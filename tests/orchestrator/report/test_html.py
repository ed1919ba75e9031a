from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from orchestrator.report import build
from orchestrator.report.html import render
from orchestrator.store import Index

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Balanced(HTMLParser):
    """Fails when a tag is closed that is not open; collects ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["whole", "holed", "grid"])
def test_a_page_on_its_own(name: str, request: pytest.FixtureRequest) -> None:
    index = request.getfixturevalue(name)
    page = render(build(index, index.sweeps()[0].name))
    parsed = Balanced()
    parsed.feed(page)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(address.startswith("#") for address in addresses), addresses
    assert not re.search(r"url\((?!#)|@import", page)
    assert page.count("<svg") == (1 if name == "grid" else 2)
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_holes_are_shown_and_named(holed: Index) -> None:
    page = render(build(holed, "augmentations"))
    assert "Cells without a result" in page and "out of memory (line 812 of log.txt)" in page
    assert '<span class="tag">incomplete</span>' in page
    assert '<td class="number">failed</td>' in page


def test_names_are_text_and_never_markup(index: Index, finished: Callable[..., dict[str, Any]]) -> None:
    evil = "<script>alert(1)</script>$x_1$"
    report = finished("rotate", 0)
    report["spec"] |= {"label": evil, "names": {"strategy": evil, "fold": 0}}
    report["verdict"]["warning"] = evil
    index.ingest([report])
    page = render(build(index, "augmentations"))
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_a_sweep_without_cells(index: Index) -> None:
    index.record_sweep({"name": "new", "kind": "command", "cells": []})
    assert "The sweep has no cells" in render(build(index, "new"))


def test_a_page_of_35_runs_stays_small(whole: Index) -> None:
    assert len(render(build(whole, "augmentations"))) < 400_000
