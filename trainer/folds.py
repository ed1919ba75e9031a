"""Folds by patient: deterministic from a seed, each patient tested once, the tested fold used for nothing else.

The order of patients comes from hashes of (seed, contents), not from a random generator: the same data and seed give
the same folds on every machine, whatever the files are called and in whatever order they are listed. Patients are
dealt to the fold with the fewest patients, and among those the fewest scans; those with the most scans come first and
those without any label last: folds have equal size, and none is without reference while that can be avoided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jobs import CONTRACT
from jobs.atomic import digest
from jobs.errors import DataError, UsageError

PARTS = ("train", "validation", "test")


class Patient(NamedTuple):
    """One group: its pseudonym, its cases, what its images are, and whether any mask has a label."""

    group: str
    cases: tuple[str, ...]
    content: str
    labelled: bool


def split(manifest: Mapping[str, Any], folds: int = 5, inner: float = 0.2, seed: int = 0) -> dict[str, Any]:
    """Return the split document of a manifest.

    Parameters
    ----------
    folds:
        Number of folds, at least 2; each patient is in the test part of exactly one.
    inner:
        Share of a fold's other patients that become its validation part (early stopping, choice of checkpoint), at
        least one patient; the tested fold serves neither.
    seed:
        Another seed gives other folds.

    Raises
    ------
    UsageError
        `folds` or `inner` is out of range.
    DataError
        There are fewer patients than folds, or a part would have no labelled patient.
    """
    if folds < 2:
        raise UsageError(f"{folds} folds cannot test what was not trained on", "use at least 2; 5 is usual")
    if not 0 < inner < 1:
        raise UsageError(f"inner is {inner}; it is the share of patients for validation", "use 0.2")
    patients = _patients(manifest)
    if folds > len(patients):
        raise DataError(
            f"{folds} folds need at least {folds} patients, the data set has {len(patients)}",
            f"use folds: {len(patients)} or fewer" if len(patients) > 1 else "add patients",
        )
    tested = _deal(_shuffled(patients, seed, "test"), folds)
    parts = [_fold(number, tested, inner, seed) for number in range(folds)]
    document: dict[str, Any] = {"contract": CONTRACT, "data": manifest["hash"], "unit": "group", "seed": seed}
    document |= {
        "inner": inner,
        "folds": [{name: _cases(part) for name, part in parts_of.items()} for parts_of in parts],
    }
    document["hash"] = fingerprint(document, manifest)
    check_leakage(document, manifest)
    return document


def fingerprint(document: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Return the hash of who is in which part, by content: equal on two machines whose pseudonyms differ."""
    content = {case["case"]: [case["image_sha256"], case["label_sha256"]] for case in manifest["cases"]}
    try:
        folds = [{name: sorted(content[case] for case in part[name]) for name in PARTS} for part in document["folds"]]
    except KeyError as error:
        raise DataError(
            f"the split names {error}, which the data set does not have", "make the split again: orch data split"
        ) from error
    return digest({"data": manifest["hash"], "folds": folds})


def check_leakage(document: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Refuse a split that would test on what was trained on, or that does not test every patient once.

    Raises
    ------
    DataError
        The split belongs to other data, a patient or an image stands in two parts of a fold or is tested twice, a case
        is missing or unknown, a part is empty, or a test part has no label at all.
    """
    if document.get("data") != manifest["hash"]:
        raise _refusal(f"the split was made for data {document.get('data')}, not {manifest['hash']}")
    cases = {case["case"]: case for case in manifest["cases"]}
    for number, fold in enumerate(document["folds"]):
        _check_fold(number, fold, cases)
    tested = [group for fold in document["folds"] for group in {cases[case]["group"] for case in fold["test"]}]
    twice = sorted(group for group in set(tested) if tested.count(group) > 1)
    if twice:
        raise _refusal(f"patient {twice[0]} is tested in two folds")
    if len(tested) < len({case["group"] for case in cases.values()}):
        raise _refusal("some patients are tested in no fold")
    if document.get("hash") != fingerprint(document, manifest):
        raise _refusal("it was edited, its fingerprint is another")


def _check_fold(number: int, fold: Mapping[str, Sequence[str]], cases: Mapping[str, Mapping[str, Any]]) -> None:
    listed = [case for name in PARTS for case in fold[name]]
    unknown = sorted(set(listed) - set(cases))
    missing = sorted(set(cases) - set(listed))
    if unknown or missing:
        what = f"knows no case {unknown[0]}" if unknown else f"lacks the case {missing[0]}"
        raise _refusal(f"{'the data set' if unknown else f'fold {number}'} {what}")
    for key, noun in (("case", "case"), ("group", "patient"), ("image_sha256", "image")):
        _check_apart(number, fold, cases, key, noun)
    empty = [name for name in PARTS if not fold[name]]
    if empty:
        raise _refusal(f"fold {number} has no {empty[0]} part")
    if not any(_labelled(cases[case]) for case in fold["test"]):
        raise DataError(
            f"all masks in the test part of fold {number} are empty: no Dice can be computed",
            "use fewer folds or another split seed, or add labelled patients",
        )


def _check_apart(
    number: int, fold: Mapping[str, Sequence[str]], cases: Mapping[str, Mapping[str, Any]], key: str, noun: str
) -> None:
    home: dict[str, str] = {}
    for name in PARTS:
        for case in fold[name]:
            value = cases[case][key]
            if home.setdefault(value, name) != name:
                which = f"{noun} {value}" if key != "image_sha256" else f"the image of {case}"
                raise _refusal(f"{which} stands in the {home[value]} part and the {name} part of fold {number}")


def _refusal(message: str) -> DataError:
    return DataError(f"split refused: {message}", "let orch make the split: it keeps all scans of a patient together")


def _patients(manifest: Mapping[str, Any]) -> list[Patient]:
    members: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for case in manifest["cases"]:
        members[case["group"]].append(case)
    return [
        Patient(
            group,
            tuple(sorted(case["case"] for case in cases)),
            digest(sorted([case["image_sha256"], case["label_sha256"]] for case in cases), 64),
            any(_labelled(case) for case in cases),
        )
        for group, cases in members.items()
    ]


def _labelled(case: Mapping[str, Any]) -> bool:
    return any(label > 0 for label in case["labels"])


def _shuffled(patients: Iterable[Patient], *salt: int | str) -> list[Patient]:
    return sorted(patients, key=lambda patient: (digest([*salt, patient.content], 64), patient.group))


def _deal(patients: Sequence[Patient], folds: int) -> list[list[Patient]]:
    tested: list[list[Patient]] = [[] for _ in range(folds)]
    for patient in sorted(patients, key=lambda patient: (not patient.labelled, -len(patient.cases))):
        min(tested, key=lambda fold: (len(fold), len(_cases(fold)))).append(patient)
    return tested


def _fold(number: int, tested: Sequence[Sequence[Patient]], inner: float, seed: int) -> dict[str, list[Patient]]:
    others = [patient for index, fold in enumerate(tested) if index != number for patient in fold]
    others = _shuffled(others, seed, "inner", number)
    labelled = [patient for patient in others if patient.labelled]
    if len(labelled) < 2:
        raise DataError(
            f"fold {number} leaves {len(labelled)} labelled patients besides its test part; training and validation "
            "need one each",
            "use more folds, or add labelled patients",
        )
    count = min(max(1, round(inner * len(others))), len(others) - 1)
    # One labelled patient leads each part, so that neither is without reference.
    rest = [patient for patient in others if patient not in labelled[:2]]
    validation = [labelled[0], *rest[: count - 1]]
    return {"train": [labelled[1], *rest[count - 1 :]], "validation": validation, "test": list(tested[number])}


def _cases(patients: Iterable[Patient]) -> list[str]:
    return sorted(case for patient in patients for case in patient.cases)
