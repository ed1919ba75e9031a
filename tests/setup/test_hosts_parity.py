"""What is said of hosts that computed: bounds, reasons, bf16 on one side only, numbers that are not finite."""

from __future__ import annotations

import copy
from typing import Any

from jobs.errors import OrchError, Unreachable
from setup.parity import FIRST, LAST, Answer, judge
from setup.rows import Row


def told(**changes: Any) -> dict[str, Any]:
    """A document as a host with a card tells it."""
    part = {"losses": [0.8, 0.7, 0.6], "outputs": [1.0, -2.0], "last": [0.5, 0.25], "gradient": 0.6}
    about = {"format": 1, "batch": "b", "weights": "w", "device": "cuda", "name": "A card", "torch": "2.6.0+cu126"}
    about |= {"cuda": "12.6", "cudnn": 90100, "numpy": "2.0", "python": "3.12.1", "machine": "x86_64"}
    return {**about, "fp32": copy.deepcopy(part), "bf16": copy.deepcopy(part), "bf16_reason": "it has", **changes}


def second(document: dict[str, Any]) -> dict[str, Row]:
    """Rows of a host beside one that told the usual."""
    return {row.check: row for row in judge([Answer("one", told()), Answer("two", document)])["two"]}


def test_bounds_before_and_after_the_steps() -> None:
    for key, place, bounds in (("outputs", 1, FIRST), ("losses", 0, FIRST), ("last", 0, LAST), ("losses", 2, LAST)):
        for factor, state in ((0.5, "ok"), (2.0, "found")):
            document = told()
            document["fp32"][key][place] *= 1 + factor * bounds["fp32"]
            rows = second(document)
            assert (rows["agreement fp32"].state, rows["agreement bf16"].state) == (state, "ok"), (key, factor)


def test_reasons_name_what_differs() -> None:
    document = told(torch="2.13.0+cu126", cudnn=91000, device="cpu", name="A processor")
    document["fp32"]["gradient"] = 0.7
    row = second(document)["agreement fp32"]
    assert row.state == "found" and row.repair == "give all hosts one torch: orch setup --all"
    for text in (
        "device: cpu, not cuda",
        "card or CPU: A processor, not A card",
        "torch: 2.13.0+cu126, not 2.6.0+cu126",
    ):
        assert text in row.evidence


def test_bf16_on_one_side_is_worth_a_note() -> None:
    row = second(told(bf16=None, bf16_reason="T4 has no bf16 units"))["agreement bf16"]
    assert row.state == "note" and row.evidence.startswith("two computes in fp32") and "T4" in row.evidence
    answers = [Answer("one", told(bf16=None, bf16_reason="T4")), Answer("two", told())]
    assert judge(answers)["two"][-1].evidence.startswith("one computes in fp32")
    answers = [Answer(name, told(bf16=None, bf16_reason="T4")) for name in ("one", "two")]
    assert judge(answers)["two"][-1].state == "ok"


def test_what_is_not_finite_never_agrees() -> None:
    document = told()
    document["fp32"]["losses"][2] = None
    rows = judge([Answer("one", document), Answer("two", copy.deepcopy(document))])["two"]
    assert rows[1].state == "found" and "-> not finite" in rows[0].evidence


def test_hosts_without_an_answer_keep_their_place() -> None:
    answers = [
        Answer("dead", error=Unreachable("it does not answer", "look"), reached=False),
        Answer("empty", error=OrchError("no torch", "orch setup")),
        Answer("one", told()),
        Answer("two", told()),
    ]
    found = judge(answers)
    assert list(found) == ["dead", "empty", "one", "two"]
    assert [found[name][0].check for name in found] == ["reachable", "parity", "parity", "parity"]
    assert found["one"][1].evidence == "the others are compared with this host"
    assert "differs from one by 0.0e+00" in found["two"][1].evidence
