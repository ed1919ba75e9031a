"""Folds: by patient, deterministic, and refused when they leak."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jobs.errors import DataError, UsageError
from trainer.folds import PARTS, check_leakage, split

Make = Callable[..., dict[str, Any]]
QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def patients(sizes: list[int]) -> dict[str, list[str]]:
    return {f"p{number}": [f"c{number}.{scan}" for scan in range(size)] for number, size in enumerate(sizes)}


sets_of_patients = st.lists(st.integers(1, 4), min_size=5, max_size=30)


@QUICK
@given(sizes=sets_of_patients, folds=st.integers(2, 5), seed=st.integers(0, 2**40), inner=st.floats(0.05, 0.9))
def test_every_fold_is_sound(manifest_of: Make, sizes: list[int], folds: int, seed: int, inner: float) -> None:
    manifest = manifest_of(patients(sizes))
    group_of = {case["case"]: case["group"] for case in manifest["cases"]}
    document = split(manifest, folds, inner, seed)
    tested: list[str] = []
    for fold in document["folds"]:
        listed = [case for name in PARTS for case in fold[name]]
        assert sorted(listed) == sorted(group_of), "each case stands in one part"
        groups = [{group_of[case] for case in fold[name]} for name in PARTS]
        assert sum(map(len, groups)) == len(sizes), "no patient stands in two parts"
        assert all(groups)
        tested += fold["test"]
    assert sorted(tested) == sorted(group_of), "each case is tested once"
    check_leakage(document, manifest)


@QUICK
@given(sizes=sets_of_patients, seed=st.integers(0, 9), data=st.data())
def test_the_order_of_cases_changes_nothing(
    manifest_of: Make, sizes: list[int], seed: int, data: st.DataObject
) -> None:
    manifest = manifest_of(patients(sizes))
    mixed = {**manifest, "cases": data.draw(st.permutations(manifest["cases"]))}
    assert split(mixed, 4, 0.2, seed) == split(manifest, 4, 0.2, seed)


@QUICK
@given(sizes=sets_of_patients, seed=st.integers(0, 9))
def test_pseudonyms_change_nothing(manifest_of: Make, sizes: list[int], seed: int) -> None:
    """Two homes have other secrets; their folds hold the same patients and the split has the same fingerprint."""
    manifest = manifest_of(patients(sizes))
    renamed = copy.deepcopy(manifest)
    for case in renamed["cases"]:
        case["case"], case["group"] = case["case"][::-1], case["group"][::-1]
    here, there = split(manifest, 3, 0.2, seed), split(renamed, 3, 0.2, seed)
    assert here["hash"] == there["hash"]
    for fold, other in zip(here["folds"], there["folds"], strict=True):
        assert {name: sorted(case[::-1] for case in other[name]) for name in PARTS} == fold


@QUICK
@given(sizes=st.lists(st.integers(1, 3), min_size=10, max_size=40), folds=st.integers(2, 10))
def test_folds_have_equal_size(manifest_of: Make, sizes: list[int], folds: int) -> None:
    tested = [fold["test"] for fold in split(manifest_of(patients(sizes)), folds)["folds"]]
    people = [len({case.partition(".")[0] for case in cases}) for cases in tested]
    assert max(people) - min(people) <= 1
    assert max(map(len, tested)) - min(map(len, tested)) <= 3


@QUICK
@given(full=st.integers(5, 12), empty=st.integers(0, 12), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_empty_masks_are_spread(manifest_of: Make, full: int, empty: int, folds: int, seed: int) -> None:
    """As long as enough patients are labelled, no part of any fold is without reference."""
    assume(full >= folds + 3)
    groups = patients([1] * (full + empty))
    blank = frozenset(f"c{number}.0" for number in range(full, full + empty))
    document = split(manifest_of(groups, empty=blank), folds, 0.2, seed)
    assert all(set(fold[name]) - blank for fold in document["folds"] for name in PARTS)


def test_the_seed_decides(manifest_of: Make) -> None:
    manifest = manifest_of(patients([1] * 20))
    assert split(manifest, seed=1) == split(manifest, seed=1)
    assert len({split(manifest, seed=seed)["hash"] for seed in range(8)}) == 8


def test_the_split_of_a_seed_never_changes(manifest_of: Make) -> None:
    """A new release must not shuffle the patients of a running study: this fingerprint was written down once."""
    assert split(manifest_of(patients([1, 2, 1, 1, 3, 1, 1])), 3, 0.2, 7)["hash"] == "0fbaa7b96394b766"


def test_the_usual_numbers(manifest_of: Make) -> None:
    document = split(manifest_of(patients([1] * 40)))
    assert [[len(fold[name]) for name in PARTS] for fold in document["folds"]] == [[26, 6, 8]] * 5
    assert (document["unit"], document["inner"], document["seed"], document["data"]) == ("group", 0.2, 0, "d" * 16)


@pytest.mark.parametrize(
    ("sizes", "folds", "inner", "kind", "words"),
    [
        ([1] * 4, 5, 0.2, DataError, "5 folds need at least 5 patients, the data set has 4"),
        ([9, 9], 5, 0.2, DataError, "5 folds need at least 5 patients, the data set has 2"),
        ([1] * 4, 1, 0.2, UsageError, "1 folds cannot test"),
        ([1] * 4, 2, 0.0, UsageError, "inner is 0.0"),
        ([1] * 4, 2, 1.0, UsageError, "inner is 1.0"),
        ([1, 1], 2, 0.2, DataError, "leaves 1 labelled patients"),
    ],
)
def test_impossible_splits_are_told(
    manifest_of: Make, sizes: list[int], folds: int, inner: float, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        split(manifest_of(patients(sizes)), folds, inner)
    assert caught.value.hint  # type: ignore[attr-defined]


def test_a_test_fold_without_any_label_is_refused(manifest_of: Make) -> None:
    manifest = manifest_of(patients([1] * 8), empty=frozenset(f"c{number}.0" for number in range(4)))
    with pytest.raises(DataError, match="all masks in the test part of fold 4 are empty"):
        split(manifest, 5)


def moved(fold: dict[str, list[str]], case: str, part: str) -> None:
    for name in PARTS:
        fold[name] = [other for other in fold[name] if other != case]
    fold[part].append(case)


def leak_into(part: str) -> Callable[[dict[str, Any]], None]:
    """Move one of the two scans of p0 out of the test part it stands in."""

    def spoil(document: dict[str, Any]) -> None:
        moved(next(fold for fold in document["folds"] if "c0.0" in fold["test"]), "c0.0", part)

    return spoil


def set_folds(change: Callable[[list[dict[str, list[str]]]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda document: change(document["folds"])


SPOILS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "patient in train and test": (leak_into("train"), "patient p0 stands in the train part and the test part"),
    "patient in validation and test": (
        leak_into("validation"),
        "patient p0 stands in the validation part and the test",
    ),
    "case in two parts": (set_folds(lambda f: f[0]["train"].append(f[0]["test"][0])), "stands in the train part"),
    "case missing": (set_folds(lambda f: f[1]["train"].pop()), "fold 1 lacks the case"),
    "case unknown": (set_folds(lambda f: f[1]["train"].append("c-new")), "the data set knows no case c-new"),
    "tested twice": (set_folds(lambda f: f.append(f[0])), "is tested in two folds"),
    "never tested": (set_folds(lambda f: f.pop()), "tested in no fold"),
    "no validation": (
        set_folds(lambda f: [moved(f[0], case, "train") for case in list(f[0]["validation"])]),
        "fold 0 has no validation part",
    ),
    "other data": (lambda document: document.update(data="e" * 16), "made for data e"),
    "edited": (lambda document: document.update(hash="0" * 16), "was edited"),
}


@pytest.mark.parametrize("what", SPOILS)
def test_a_spoiled_split_is_refused(manifest_of: Make, what: str) -> None:
    manifest = manifest_of(patients([2] * 8))
    document = split(manifest, 4)
    check_leakage(document, manifest)
    spoil, words = SPOILS[what]
    spoil(document)
    with pytest.raises(DataError, match=words) as caught:
        check_leakage(document, manifest)
    assert caught.value.hint


def test_one_image_under_two_names_leaks(manifest_of: Make) -> None:
    manifest = manifest_of(patients([1] * 8))
    document = split(manifest, 4)
    by_name = {case["case"]: case for case in manifest["cases"]}
    fold = document["folds"][0]
    by_name[fold["train"][0]]["image_sha256"] = by_name[fold["test"][0]]["image_sha256"]
    with pytest.raises(DataError, match=f"the image of {fold['test'][0]} stands in the train part and the test part"):
        check_leakage(document, manifest)


def test_a_split_by_scan_leaks_once_the_patients_are_known(manifest_of: Make) -> None:
    """The phantom's case: P03_a and P03_b look like two patients until somebody says that they are one."""
    by_scan = manifest_of({name: [name] for name in ("P1_a", "P2_a", "P3_a", "P3_b", "P4_a", "P5_a", "P6_a")})
    by_patient = copy.deepcopy(by_scan)
    for case in by_patient["cases"]:
        case["group"] = case["case"].partition("_")[0]
    leaks = 0
    for seed in range(10):
        document = split(by_scan, 3, 0.2, seed)
        try:
            check_leakage(document, by_patient)
        except DataError:
            leaks += 1
    assert leaks > 0
    check_leakage(split(by_patient, 3), by_patient)
