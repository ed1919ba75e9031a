"""Steps of a preparation: each says whether it is due and why, does it, proves that it is done, and can be undone.

A plan is made by looking only. Applying it does what is due, in order; what is done stays done, so that whoever was
interrupted anywhere plans again and goes on.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobs.errors import OrchError, UsageError

Tell = Callable[[str, str], None]  # gets a step's name and a line of its progress; an empty line says that it lives


class State(NamedTuple):
    """What a look found.

    Attributes
    ----------
    done:
        Nothing is to be done.
    text:
        The evidence if it is done, else what will be done.
    refusal:
        Why it cannot be done now, or an empty text.
    """

    done: bool
    text: str
    refusal: str = ""


class Removal(NamedTuple):
    """What an undo would take away: in words, and how many bytes; None where there is nothing to undo."""

    text: str
    bytes: int = 0


@dataclass(frozen=True)
class Step:
    """One thing that a host needs.

    Attributes
    ----------
    name:
        One word, for `--only`.
    reason:
        Why it is as it is planned.
    check:
        Looks; changes nothing.
    do:
        Does it; may be interrupted anywhere and called again; returns what it did.
    weigh, undo:
        What an undo would take away, and the undo; None: it cannot be undone.
    """

    name: str
    reason: str
    check: Callable[[], State]
    do: Callable[[Tell], str]
    weigh: Callable[[], Removal | None] | None = None
    undo: Callable[[Tell], str] | None = None


class Planned(NamedTuple):
    """A step and what its check found."""

    step: Step
    state: State

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"step": self.step.name, "reason": self.step.reason, **self.state._asdict()}


def select(steps: Sequence[Step], only: str | None) -> list[Step]:
    """Return the steps that `--only` names (separated by commas), or all.

    Raises
    ------
    UsageError
        There is no such step; the nearest one is named.
    """
    if not only:
        return list(steps)
    known = [step.name for step in steps]
    wanted = [word.strip() for word in only.split(",")]
    for word in wanted:
        if word not in known:
            near = difflib.get_close_matches(word, known, 1, 0.5)
            text = f"there is no step '{word}'" + (f". Did you mean '{near[0]}'?" if near else "")
            raise UsageError(text, f"steps are: {', '.join(known)}")
    return [step for step in steps if step.name in wanted]


def plan(steps: Iterable[Step]) -> list[Planned]:
    """Look at each step; nothing is changed."""
    return [Planned(step, step.check()) for step in steps]


def due(planned: Iterable[Planned]) -> list[Planned]:
    """Return what an apply would do."""
    return [item for item in planned if not item.state.done and not item.state.refusal]


def apply(planned: Iterable[Planned], tell: Tell) -> list[Planned]:
    """Do what is due, in order; return each step with the state after it.

    Raises
    ------
    OrchError
        A step failed, or its own check does not find it done: those before it stay done.
    """
    after = []
    for item in planned:
        if item.state.done or item.state.refusal:
            after.append(item)
            continue
        text = item.step.do(tell)
        state = item.step.check()
        if not state.done:
            raise OrchError(
                f"{item.step.name}: {text or 'it ran'}, but afterwards: {state.refusal or state.text}",
                "run the same command again; if it stays so, please report it",
            )
        after.append(Planned(item.step, state))
    return after


def removals(steps: Iterable[Step]) -> list[tuple[Step, Removal]]:
    """Return what an undo of these steps would take away, the last step first."""
    found = ((step, step.weigh() if step.weigh else None) for step in reversed(list(steps)))
    return [(step, removal) for step, removal in found if removal]


def undo(steps: Iterable[tuple[Step, Removal]], tell: Tell) -> list[str]:
    """Undo them in the given order; return what each did."""
    return [step.undo(tell) for step, _ in steps if step.undo]
