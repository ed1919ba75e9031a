"""Steps as values: planned, applied, interrupted at each place, gone on with, undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import OrchError, UsageError
from setup.steps import Removal, State, Step, apply, due, plan, removals, select, undo

NAMES = ("conda", "environment", "verification")


def steps(folder: Path, breaks: str = "", lies: str = "", refuses: str = "") -> list[Step]:
    """Steps that each leave a file; one may break in the middle, one may leave nothing, one may be refused."""

    def step(name: str) -> Step:
        file = folder / name

        def check() -> State:
            return State(
                file.exists(), f"{name} is there" if file.exists() else f"will make {name}", "busy" * (name == refuses)
            )

        def do(tell: object) -> str:
            if name == breaks:
                raise KeyboardInterrupt
            if name != lies:
                file.touch()
            return "made"

        def weigh() -> Removal | None:
            return Removal(str(file), file.stat().st_size) if file.exists() else None

        def take_away(tell: object) -> str:
            file.unlink()
            return f"removed {name}"

        return Step(name, "because", check, do, weigh, take_away)

    return [step(name) for name in NAMES]


def quiet(stage: str, line: str) -> None:
    """Say nothing."""


def test_a_plan_changes_nothing_and_names_what_is_due(tmp_path: Path) -> None:
    (tmp_path / "conda").touch()
    planned = plan(steps(tmp_path))
    assert [item.step.name for item in due(planned)] == ["environment", "verification"]
    assert [path.name for path in tmp_path.iterdir()] == ["conda"]
    assert planned[1].to_json() == {
        "step": "environment",
        "reason": "because",
        "done": False,
        "text": "will make environment",
        "refusal": "",
    }


def test_applied_once_nothing_is_left_to_do(tmp_path: Path) -> None:
    assert all(item.state.done for item in apply(plan(steps(tmp_path)), quiet))
    assert due(plan(steps(tmp_path))) == []


@pytest.mark.parametrize("name", NAMES)
def test_after_an_interruption_at_any_step_it_goes_on(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        apply(plan(steps(tmp_path, breaks=name)), quiet)
    assert due(plan(steps(tmp_path)))[0].step.name == name
    apply(plan(steps(tmp_path)), quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_a_step_is_believed_by_its_check_alone(tmp_path: Path) -> None:
    with pytest.raises(OrchError, match="environment: made, but afterwards: will make environment"):
        apply(plan(steps(tmp_path, lies="environment")), quiet)


def test_a_refused_step_is_left_and_the_others_are_done(tmp_path: Path) -> None:
    after = apply(plan(steps(tmp_path, refuses="conda")), quiet)
    assert [item.state.done for item in after] == [False, True, True]
    assert after[0].state.refusal == "busy"


def test_an_undo_goes_backwards_over_what_is_there(tmp_path: Path) -> None:
    apply(plan(select(steps(tmp_path), "conda,verification")), quiet)
    found = removals(steps(tmp_path))
    assert [step.name for step, _ in found] == ["verification", "conda"]
    assert undo(found, quiet) == ["removed verification", "removed conda"]
    assert removals(steps(tmp_path)) == []


def test_a_step_that_nobody_knows_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no step 'enviroment'\. Did you mean 'environment'") as caught:
        select(steps(tmp_path), "conda,enviroment")
    assert caught.value.hint == "steps are: conda, environment, verification"
