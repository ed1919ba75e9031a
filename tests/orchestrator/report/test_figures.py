from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from array import array

import pytest

from orchestrator.report import build, figures, png, svg
from orchestrator.store import Curve, Index


def test_the_mean_stops_where_the_first_fold_stops() -> None:
    long, short = (Curve(array("q", range(n)), array("d", [float(n)] * n)) for n in (5, 3))
    steps, values = figures.mean_curve([long, short])
    assert list(steps) == [0, 1, 2] and list(values) == [4.0, 4.0, 4.0]


def test_one_column_for_each_strategy(holed: Index) -> None:
    report = build(holed, "augmentations")
    with figures.style():
        drawn = figures.curves(report)
    assert drawn is not None
    titles = [axes.get_title("left") for axes in drawn.axes]
    assert titles == ["identity", "rotate", "rotate+noise", "", "", ""]
    assert len({axes.get_ylim() for axes in drawn.axes[:3]}) == 1  # comparable by eye


def test_panels_wrap(index: Index) -> None:
    names = [f"strategy with a long name {number}" for number in range(7)]
    cells = [
        {"id": f"{n:016x}", "label": f"{name}/0", "names": {"strategy": name, "fold": 0}}
        for n, name in enumerate(names)
    ]
    index.record_sweep({"name": "wide", "kind": "trainer", "cells": cells})
    for cell in cells[:6]:  # the last has no curve
        values = {"train_loss": 0.5, "val_loss": None, "train_dice": 0.5, "val_dice": 0.4}
        event = {"seq": 0, "t": 1.0, "kind": "metrics", "step": 1, "values": values}
        verdict = {"state": "running", "reason": "", "warning": ""}
        index.ingest(
            [{"sweep": "wide", "job": cell["id"], "attempt": 1, "verdict": verdict, "events": [event], "offset": 1}]
        )
    assert len(png.render(build(index, "wide"))["curves.png"]) > 1000


def test_nothing_to_draw(index: Index) -> None:
    index.record_sweep({"name": "new", "kind": "trainer", "cells": []})
    report = build(index, "new")
    assert figures.curves(report) is None and figures.patients(report) is None
    assert png.render(report) == {}


@pytest.mark.parametrize("name", ["whole", "grid"])
def test_svg_belongs_to_the_page(name: str, request: pytest.FixtureRequest) -> None:
    index = request.getfixturevalue(name)
    report = build(index, index.sweeps()[0].name)
    with figures.style():
        drawn = figures.curves(report)
    assert drawn is not None
    text = svg.render(drawn, "x", "A <title>", "what & why")
    root = ET.fromstring(text.replace("xlink:href", "href"))
    assert root.get("role") == "img" and root.get("aria-labelledby") == "x-title x-text"
    assert [child.text for child in root[:2]] == ["A <title>", "what & why"]
    assert all(found.startswith("x-") for found in re.findall(r'\bid="([^"]+)"', text))
    assert set(re.findall(r"#[0-9a-f]{6}", text)) <= {"#000000", "#ffffff"} and "var(--accent)" in text
    assert "DejaVu" not in text and "<metadata" not in text


def test_drawn_twice_is_drawn_the_same(whole: Index) -> None:
    report = build(whole, "augmentations")
    assert png.render(report) == png.render(report)
