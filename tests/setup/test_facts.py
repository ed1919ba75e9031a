"""Facts of this machine and of others, read from what the probe tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.errors import ContractError
from jobs.gpu import Card
from jobs.probe import probe
from setup.facts import Found, HostFacts


def told() -> dict[str, Any]:
    """What this machine's probe tells, after the wire."""
    value: dict[str, Any] = json.loads(json.dumps(probe()))
    return value


def test_this_machine_is_read_whole() -> None:
    value = told()
    facts = HostFacts.from_json(value)
    assert (facts.hostname, facts.cpus.value, facts.boot_id) == (value["hostname"], value["cpus"], value["boot_id"])
    assert facts.home.free_bytes == value["disks"]["home"]["free_bytes"]
    assert facts.cpus.reason and facts.memory_mb.reason and facts.cards_reason


def test_a_card_and_its_driver_are_kept() -> None:
    card = Card(0, "GPU-1", "NVIDIA A10", "545.23.08", 23028, 100, 0, "8.6")
    facts = HostFacts.from_json({**told(), "gpus": [card.to_json()]})
    assert facts.cards == (card,)
    assert facts.driver == "545.23.08"
    assert facts.describe().endswith("NVIDIA A10")


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", "x86_64"), ("AMD64", "x86_64"), ("aarch64", "aarch64"), ("arm64", "aarch64"), ("ppc64le", "ppc64le")],
)
def test_one_processor_has_one_name(machine: str, architecture: str) -> None:
    assert HostFacts.from_json({**told(), "machine": machine}).architecture == architecture


def test_a_host_without_a_card_says_why() -> None:
    value = told()
    value.update(gpus=[], reasons={**value["reasons"], "gpus": "no nvidia-smi in PATH"})
    assert HostFacts.from_json(value).describe().endswith("no GPU (no nvidia-smi in PATH)")
    assert HostFacts.from_json(value).driver is None


def test_a_number_shows_its_reason() -> None:
    assert str(Found(2, "all of the machine")) == "2 (all of the machine)"
    assert str(Found(None, "this system does not tell")) == "unknown (this system does not tell)"


def test_facts_of_another_contract_are_refused() -> None:
    with pytest.raises(ContractError, match="contract 2"):
        HostFacts.from_json({**told(), "contract": 2})


def test_facts_that_lack_something_are_refused() -> None:
    value = told()
    del value["glibc"]
    with pytest.raises(ContractError, match="glibc"):
        HostFacts.from_json(value)
