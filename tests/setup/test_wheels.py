"""The wheel advisor against the lab's three hosts, against hosts that cannot be served, and against its own table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from jobs.errors import OrchError, UsageError
from jobs.gpu import Card
from jobs.probe import probe
from setup.facts import HostFacts
from setup.wheels import Wish, choose
from setup.wheeltable import Build, Wheel, runs_on, table, version

HERE = HostFacts.from_json(json.loads(json.dumps(probe())))
CU126, CU130 = "cu126", "cu130"


def host(
    arch: str, driver: str | None, capability: str | None = "8.6", name: str = "NVIDIA A10", **more: Any
) -> HostFacts:
    cards = (Card(0, "GPU-1", name, driver, 23028, 0, 0, capability),) if driver else ()
    more = {"glibc": "2.34", "cards_reason": "no nvidia-smi in PATH", **more}
    return replace(HERE, architecture=arch, cards=cards, **more)


NODAL = host("x86_64", "545.23.08")
GRACE = host("aarch64", "550.54.15", "9.0", "NVIDIA GH200 480GB")
NEW = host("aarch64", "580.65.06", "9.0", "NVIDIA GH200 480GB")


def wheels(*versions: str, arch: str = "x86_64", python: str = "cp312") -> list[Wheel]:
    return [Wheel(text, arch, python) for text in versions]


def both(*versions: str) -> list[Wheel]:
    return wheels(*versions) + wheels(*versions, arch="aarch64")


# --- The lab ---------------------------------------------------------------------------------------------------------


def test_the_lab_gets_one_version_for_all_its_hosts() -> None:
    offers = {CU126: both("2.6.0+cu126") + wheels("2.7.1+cu126"), CU130: both("2.13.0+cu130")}
    found = choose({"nodal": NODAL, "grace": GRACE, "ada": GRACE}, table(), offers=offers)
    assert dict(found.builds) == dict.fromkeys(("nodal", "grace", "ada"), Build("2.6.0", CU126))
    assert found.reason == "the newest build that fits all of ada, grace, nodal"


def test_an_old_driver_refuses_cuda_13_and_says_so() -> None:
    offers = {CU126: both("2.6.0+cu126"), CU130: both("2.13.0+cu130")}
    found = choose({"nodal": NODAL, "grace": NEW}, table(), offers=offers)
    assert str(found.builds["grace"]) == "2.6.0+cu126"  # for nodal's sake
    assert "cu130 refused (nodal: driver 545.23.08 < 580)" in found.refused


def test_without_an_index_only_files_that_were_seen_count() -> None:
    found = choose({"nodal": NODAL, "grace": GRACE}, table())
    assert set(map(str, found.builds.values())) == {"2.6.0+cu126"}


def test_a_new_driver_may_have_cuda_13() -> None:
    found = choose({"ada": NEW}, table(), offers={CU126: both("2.13.0+cu126"), CU130: both("2.13.0+cu130")})
    assert found.builds["ada"] == Build("2.13.0", CU130)
    assert found.warnings == ()


def test_cu126_ends_and_the_warning_names_the_driver_to_ask_for() -> None:
    found = choose({"nodal": NODAL}, table(), offers={CU126: both("2.14.0+cu126")})
    assert found.builds["nodal"] == Build("2.14.0", CU126)
    assert "cu126 ends with torch 2.14; ask for driver >= 580 (nodal 545.23.08)" in found.warnings


def test_the_first_arm_build_has_no_triton() -> None:
    found = choose({"grace": GRACE}, table(), offers={CU126: both("2.6.0+cu126")})
    assert "no triton in this build (grace): torch.compile stays off" in found.warnings
    assert not any("triton" in text for text in choose({"nodal": NODAL}, table()).warnings)


def test_the_first_arm_build_holds_code_for_sm_90_alone() -> None:
    a100 = host("aarch64", "550.1", "8.0", "NVIDIA A100")
    with pytest.raises(OrchError, match="it holds no code for NVIDIA A100 \\(sm_80\\), only for sm_90"):
        choose({"arm": a100}, table(), offers={CU126: both("2.6.0+cu126")})
    found = choose({"arm": a100}, table(), offers={CU126: both("2.6.0+cu126", "2.11.0+cu126")})
    assert found.builds["arm"].torch == "2.11.0"


def test_later_versions_of_a_known_line_count_as_that_line() -> None:
    assert (
        choose({"n": NODAL}, table(), offers={CU126: both("2.12.0+cu126", "2.12.1+cu126")}).builds["n"].torch
        == "2.12.1"
    )


def test_an_unknown_line_is_not_chosen() -> None:
    assert (
        choose({"n": NODAL}, table(), offers={CU126: both("2.6.0+cu126", "3.1.0+cu126")}).builds["n"].torch == "2.6.0"
    )


# --- Nothing is fallen back to ---------------------------------------------------------------------------------------


def test_without_a_gpu_nothing_is_chosen_silently() -> None:
    with pytest.raises(OrchError, match=r"no GPU seen .no nvidia-smi in PATH") as caught:
        choose({"grace": host("aarch64", None)}, table())
    assert caught.value.hint.endswith("orch setup --host grace --cpu")


def test_a_build_for_the_processor_is_made_when_asked_and_says_so() -> None:
    found = choose({"x": host("x86_64", None)}, table(), Wish(cpu=True))
    assert found.builds["x"] == Build("2.13.0", "cpu")
    assert "a build for the processor alone, as asked: no GPU will be used" in found.warnings


def test_a_driver_too_old_for_all_is_refused_with_the_one_to_ask_for() -> None:
    with pytest.raises(OrchError, match=r"driver 470.1 < 525.60.13") as caught:
        choose({"old": host("x86_64", "470.1")}, table())
    assert "driver >= 580" in caught.value.hint


def test_an_old_c_library_is_refused() -> None:
    with pytest.raises(OrchError, match=r"it needs glibc 2.28, the host has 2.17"):
        choose({"centos": host("x86_64", "550", glibc="2.17")}, table())
    with pytest.raises(OrchError, match="another C library"):
        choose({"alpine": host("x86_64", "550", glibc=None)}, table())


def test_another_architecture_is_refused() -> None:
    with pytest.raises(OrchError, match="no row for it") as caught:
        choose({"power": host("ppc64le", "550")}, table())
    assert "setup/wheels.json" in caught.value.hint


def test_an_index_without_the_version_is_named() -> None:
    with pytest.raises(OrchError, match="the index has none for aarch64"):
        choose({"grace": GRACE}, table(), offers={CU126: wheels("2.6.0+cu126"), CU130: []})


def test_a_python_that_no_build_knows_is_refused() -> None:
    with pytest.raises(OrchError, match=r"built for Python 3.9-3.13, not 3.8"):
        choose({"n": NODAL}, table(), Wish(python="3.8"), {CU126: both("2.6.0+cu126")})


def test_a_driver_that_tells_nothing_is_not_believed_in() -> None:
    with pytest.raises(OrchError, match="does not tell its version"):
        choose({"n": host("x86_64", "[N/A]")}, table())


def test_an_unknown_capability_is_a_warning() -> None:
    found = choose({"n": host("x86_64", "545", None)}, table())
    assert any("does not tell the card's capability (n)" in text for text in found.warnings)


def test_no_host_is_a_question_of_usage() -> None:
    with pytest.raises(UsageError):
        choose({}, table())


# --- Sites -----------------------------------------------------------------------------------------------------------


def test_when_nothing_fits_all_each_gets_its_best_and_the_mix_is_named() -> None:
    offers = {CU126: wheels("2.7.0+cu126") + wheels("2.6.0+cu126", arch="aarch64")}
    found = choose({"nodal": NODAL, "grace": GRACE}, table(), offers=offers)
    assert {name: build.torch for name, build in found.builds.items()} == {"nodal": "2.7.0", "grace": "2.6.0"}
    assert "do not mix them" in found.warnings[0]


def test_equal_versions_of_two_backends_are_better_than_two_versions() -> None:
    offers = {CU126: wheels("2.13.0+cu126"), CU130: wheels("2.13.0+cu130", "2.14.0+cu130", arch="aarch64")}
    found = choose({"nodal": NODAL, "ada": NEW}, table(), offers=offers)
    assert {str(build) for build in found.builds.values()} == {"2.13.0+cu126", "2.13.0+cu130"}
    assert found.warnings[0].startswith("different backends: ")


def test_what_is_installed_is_kept_while_it_fits() -> None:
    offers = {CU126: both("2.6.0+cu126", "2.12.0+cu126")}
    hosts, have = {"nodal": NODAL, "grace": GRACE}, {"nodal": Build("2.6.0", CU126)}
    assert choose(hosts, table(), offers=offers, installed=have).builds["grace"].torch == "2.6.0"
    assert choose(hosts, table(), offers=offers).builds["grace"].torch == "2.12.0"


def test_what_is_installed_needs_no_index() -> None:
    have = {"nodal": Build("2.12.1", CU126)}
    assert choose({"nodal": NODAL}, table(), installed=have).builds["nodal"].torch == "2.12.1"


def test_a_version_asked_for_wins_over_what_is_installed() -> None:
    offers = {CU126: both("2.6.0+cu126", "2.12.0+cu126")}
    found = choose({"n": NODAL}, table(), Wish(torch="2.6.0"), offers, {"n": Build("2.12.0", CU126)})
    assert found.builds["n"].torch == "2.6.0"
    with pytest.raises(OrchError, match=r"2.99.0 was asked for") as caught:
        choose({"n": NODAL}, table(), Wish(torch="2.99.0"), offers)
    assert "--torch" in caught.value.hint


def test_a_host_that_has_only_a_say_stops_nobody() -> None:
    found = choose({"nodal": NODAL, "broken": host("aarch64", None)}, table(), wanted=["nodal"])
    assert set(found.builds) == {"nodal"}
    assert "no GPU seen" in found.left_out["broken"]


# --- The table and the rules -----------------------------------------------------------------------------------------


def test_every_row_can_be_read_and_has_a_source() -> None:
    for row in table().rows:
        assert row.source and row.seen in ("file", "matrix")
        assert version(row.torch) and (row.min_driver is None) == (row.backend == "cpu")
        assert bool(row.sass) == (row.backend != "cpu")
    assert len({row[:3] for row in table().rows}) == len(table().rows)


def test_the_rows_that_the_lab_rests_on() -> None:
    rows = {row[:3]: row for row in table().rows}
    arm = rows["2.6.0", "cu126", "aarch64"]
    assert (arm.sass, arm.triton, arm.seen, arm.until) == (("9.0",), False, "file", "2.14")
    assert ("2.7.0", "cu126", "aarch64") not in rows
    assert rows["2.13.0", "cu130", "x86_64"].min_driver == "580"


@pytest.mark.parametrize(
    ("capability", "sass", "runs"),
    [
        ("8.6", ["8.0"], True),
        ("8.0", ["8.6"], False),
        ("9.0", ["8.6"], False),
        ("12.0", ["12.0"], True),
        ("8.9", [], False),
    ],
)
def test_machine_code_runs_within_its_major_version(capability: str, sass: list[str], runs: bool) -> None:
    assert runs_on(capability, sass) is runs


@given(
    some.dictionaries(
        some.sampled_from("abcd"),
        some.builds(
            host,
            some.sampled_from(["x86_64", "aarch64"]),
            some.sampled_from([None, "470", "545.23.08", "580.1"]),
            some.sampled_from(["7.5", "8.6", "9.0", "12.0", None]),
        ),
        min_size=1,
    ),
    some.booleans(),
)
def test_whatever_is_chosen_fits(hosts: dict[str, HostFacts], cpu: bool) -> None:
    try:
        found = choose(hosts, table(), Wish(cpu=cpu), wanted=[])
    except (OrchError, ValueError):
        return
    for name, row in found.rows.items():
        facts = hosts[name]
        assert row.arch == facts.architecture and (row.backend == "cpu") == cpu
        if not cpu:
            assert version(facts.driver or "") >= version(row.min_driver or "")
            assert all(card.capability is None or runs_on(card.capability, row.sass) for card in facts.cards)
