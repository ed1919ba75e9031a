"""The fixed batch: the same numbers everywhere, and bounds that ordinary rounding keeps by far."""

from __future__ import annotations

import json

import pytest
import torch

from setup.parity import FIRST, LAST, Answer, judge
from trainer import commands, parity


def test_batch_and_weights_are_these_on_every_machine() -> None:
    """Pinned: made on x86_64 with torch 2.13 and numpy 2.4; any other machine must find the same bits."""
    assert parity._digest(*parity.batch()) == "02c90374ede20944"
    assert parity._digest(*parity.network().parameters()) == "72f814f03109ee7a"
    images, masks = parity.batch()
    assert (images.shape, masks.shape) == ((4, 1, 32, 32), (4, 32, 32)) and all(masks.sum((1, 2)) > 50)


def test_the_verb_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["parity"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["device"] in ("cpu", "cuda") and told["torch"] == torch.__version__ and told["threads"] >= 1
    losses = told["fp32"]["losses"]
    assert len(losses) == parity.STEPS + 1 and losses == sorted(losses, reverse=True), "it learns"
    assert len(told["fp32"]["outputs"]) == len(told["fp32"]["last"]) == parity.SHOWN
    assert (told["bf16"] is None) == ("neither" in told["bf16_reason"] or "no bf16" in told["bf16_reason"])


def test_rounding_stays_far_within_the_bounds() -> None:
    """fp64 against fp32 is more than two correct fp32 machines differ; with bf16 against fp32 the same for bf16."""
    exact, plain, rough = (parity.train("cpu", kind) for kind in (torch.float64, torch.float32, torch.bfloat16))
    about = dict.fromkeys(("format", "batch", "weights", "device", "name", "torch", "cuda", "cudnn", "python"), "x")
    about |= {"numpy": "x", "machine": "x", "bf16_reason": "x"}
    rows = judge(
        [Answer("a", {**about, "fp32": exact, "bf16": plain}), Answer("b", {**about, "fp32": plain, "bf16": rough})]
    )
    assert [row.state for row in rows["b"]] == ["ok", "ok", "ok"], rows["b"]
    for name in ("outputs", "last"):
        worst = max(abs(one - other) for one, other in zip(exact[name], plain[name], strict=True))
        assert worst < min(FIRST["fp32"], LAST["fp32"]) / 30
