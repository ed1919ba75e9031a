"""What `orch setup` does with hosts: looks at all, chooses for all in one go, plans, asks once, works side by side."""

from __future__ import annotations

import contextlib
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.errors import Findings, NotFound, OrchError

from ..config import Settings
from ..inventory import connect, load_site
from ..neighbours import neighbours_of
from ..words import counted
from .asking import agreed, may_ask
from .output import Output
from .steplines import StepLines
from .undoing import purge, undo

if TYPE_CHECKING:
    from setup.deciding import Look, Target
    from setup.site import Host
    from setup.steps import Planned, Step
    from setup.visits import Visit, Visits
    from setup.wheels import Wish

VSCODE_STEPS = {"vscode", "vscode-local"}  # they need no environment, and run where there can be none
HOME = "~/.orch"  # orch home on a host for which the site file names none
Answers = dict[str, dict[str, Any]]  # what is told of each host, by name


class Plan(NamedTuple):
    """What one host shall have (None: nobody asks for an environment), and the state of each step towards it."""

    host: str
    look: Look
    target: Target | None
    planned: list[Planned]

    @property
    def waiting(self) -> bool:
        """Something is to be done."""
        from setup.steps import due

        return bool(due(self.planned))

    def to_json(self, changed: bool = False) -> dict[str, Any]:
        """Return the JSON form."""
        refused = [item.step.name for item in self.planned if item.state.refusal]
        steps = [item.to_json() for item in self.planned]
        torch = str(self.target.build) if self.target else None
        notes = [*self.target.notes, *self.target.about_all] if self.target else []
        told = {"host": self.host, "steps": steps, "refused": refused, "changed": changed}
        return {**told, "torch": torch, "notes": notes}


def prepare(hosts: Sequence[Host], args: Namespace, settings: Settings, out: Output) -> int:
    """Prepare hosts (or undo, or purge); return the exit code.

    Raises
    ------
    OrchError
        There is one host only, and it cannot be prepared.
    """
    from setup.visits import Visits

    if out.progress and len(hosts) > 1:  # nothing that moves: ssh may ask at the terminal
        out.note(f"connects to {', '.join(host.name for host in hosts)} …")
    with Visits(hosts, connect) as visits:
        if args.purge is not None:
            answers = _in_turn(visits, lambda visit: purge(visit, args, out))
        else:
            answers = _Preparation(visits, args, settings, out).run()
    return _conclude(visits, answers, out)


def _in_turn(visits: Visits, act: Callable[[Visit], dict[str, Any]]) -> Answers:
    """Do what asks people with one host after the other; one that fails does not stop the others."""
    answers = {}
    for visit in visits.alive:
        try:
            answers[visit.name] = act(visit)
        except OrchError as error:
            visit.end(error)
    return answers


def _conclude(visits: Visits, answers: Answers, out: Output) -> int:
    """Tell what failed; the exit code is that of the failures if they are of one kind, else 1."""
    errors = visits.errors
    if errors and len(visits.all) == 1:
        raise next(iter(errors.values()))
    for name, error in errors.items():
        fix = f"\n  fix: {error.hint}" if error.hint else ""
        out.warning(f"{name}: {error.message}{fix}")
        answers[name] = {"host": name, "error": error.to_json()}
    listed = [answers[visit.name] for visit in visits.all if visit.name in answers]
    out.json(listed[0] if len(visits.all) == 1 else listed)
    codes = {error.exit_code for error in errors.values()}
    if codes:
        return codes.pop() if len(codes) == 1 else OrchError.exit_code
    return Findings.exit_code if any(answer.get("refused") for answer in listed) else 0


class _Preparation:
    """Looks at the hosts, decides for all of them, plans, applies or takes away."""

    def __init__(self, visits: Visits, args: Namespace, settings: Settings, out: Output) -> None:
        self.visits, self.args, self.settings, self.out = visits, args, settings, out
        self.only = {word.strip() for word in (args.only or "").split(",") if word.strip()}
        self.looks: Mapping[str, Look] = {}
        self.targets: Mapping[str, Target] = {}

    def run(self) -> Answers:
        """Do it; return what is told of each host that nothing has ended."""
        self._look_at_all()
        link = self._accepts_link()
        steps = self.visits.each(lambda visit: self._steps(visit, link))
        if self.args.undo:
            return _in_turn(self.visits, lambda visit: undo(visit, steps[visit.name], self.args, self.out))
        from setup.steps import plan

        states = self.visits.each(lambda visit: plan(steps[visit.name]))
        plans = {name: Plan(name, self.looks[name], self.targets.get(name), state) for name, state in states.items()}
        self._show(plans)
        waiting = [name for name, one in plans.items() if one.waiting]
        answers = {name: one.to_json() for name, one in plans.items()}
        if not waiting:
            return answers
        if self.args.dry_run:
            self.out.next(self._again())
            return answers
        if not agreed("Go on?", self.args.yes, self.out):
            raise OrchError("nothing was changed", f"{self._again()} --yes goes on without asking")
        return {**answers, **self._apply({name: plans[name] for name in waiting})}

    def _again(self) -> str:
        named = " ".join(f"--host {visit.name}" for visit in self.visits.all)
        return f"orch setup {'--all' if self.args.all else named}"

    # --- Looking and choosing ----------------------------------------------------------------------------------------

    def _look_at_all(self) -> None:
        """Look at all hosts; then decide for all of them, if an environment is asked for."""
        from setup.deciding import decide

        neighbours = neighbours_of(self.visits, self.settings, self.out, self.args.cpu)
        archs = {other.facts.architecture for other in neighbours(False).known.values()}
        self.looks = self.visits.each(lambda visit: self._look(visit, archs))
        if self.only and self.only <= VSCODE_STEPS:
            return
        self.targets, errors = decide(self.looks, _wish(self.args), neighbours, self._survey)
        for visit in self.visits.alive:
            if visit.name in errors:
                visit.end(errors[visit.name])

    def _look(self, visit: Visit, archs: set[str]) -> Look:
        from setup.deciding import Place, Sources, look
        from setup.known import remember_facts, told_of

        args, host = self.args, visit.host
        home = host.home or HOME
        with contextlib.suppress(*([NotFound] if args.dry_run else [])):  # one that is only looked at is not made
            visit.wire.call("open", home=home, create=not (args.dry_run or args.undo))
        sources = Sources(args.wheels, args.channel, args.wheelhouse, args.miniforge)
        needs_card = not (args.cpu or (self.only and self.only <= VSCODE_STEPS))
        place = Place(home, sources, host.shared_home, host.orders if needs_card else (), host.scheduler)
        told = (told_of(self.settings.state, host.name) or {}).get("truths", {}).get("machine") or {}
        found = look(visit.wire, host.name, place, args.arch, archs, told.get("value"))
        remember_facts(self.settings.state, host.name, found.machine)
        return found

    def _survey(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        from setup.deciding import Sources, indexes

        told = {"indexes": indexes(Sources(self.args.wheels), self.args.cpu), "wheelhouse": self.args.wheelhouse}

        if self.out.progress:
            self.out.note(f"asks {', '.join(names)} for a conda, and the indexes for wheels …")

        def ask(visit: Visit) -> Mapping[str, Any]:
            return visit.wire.call("survey", **told, home=visit.host.home or HOME)

        return self.visits.each(ask, names)

    # --- Steps -------------------------------------------------------------------------------------------------------

    def _base(self, host: Host) -> str:
        from setup.vscode_local import base_of

        return base_of(host, load_site(self.settings).hosts.values())

    def _accepts_link(self) -> bool:
        """Offer the permanent cure where hosts share a home: only to a person at a terminal, never by `--yes`."""
        from setup import vscode_local

        args = self.args
        sharing = [visit.name for visit in self.visits.alive if visit.host.shared_home]
        silent = args.yes or args.dry_run or args.undo or self.only or args.vscode_local or not sharing
        if silent or not may_ask():
            return False
        there = self.visits.each(lambda visit: vscode_local.is_wanted(visit.wire, self._base(visit.host)), sharing)
        question = f"Let VS Code's server lie on each host's own disk ({', '.join(sharing)}; --vscode-local)?"
        return not all(there.values()) and agreed(f"{question} It cures it for good.", False, self.out)

    def _steps(self, visit: Visit, link: bool) -> list[Step]:
        from setup import provision, vscode, vscode_local
        from setup.steps import select

        base, wire, target = self._base(visit.host), visit.wire, self.targets.get(visit.name)
        steps = provision.steps(wire, target) if target else []
        asked = (link and bool(visit.host.shared_home)) or self.args.vscode_local or vscode_local.NAME in self.only
        linked = asked or vscode_local.is_wanted(wire, base)
        if linked or "vscode" in self.only or self.args.reset_vscode or not self._mixed(visit):
            steps.append(vscode.step(wire, force=self.args.reset_vscode))
        if linked:
            steps.append(vscode_local.step(wire, base))
        return select(steps, self.args.only)

    def _mixed(self, visit: Visit) -> bool:
        """Tell whether hosts of another processor are prepared with it in the same home: VS Code cannot fit all."""
        shared = visit.host.shared_home
        same = [one.name for one in self.visits.alive if shared and one.host.shared_home == shared]
        return len({self.looks[name].facts.architecture for name in same}) > 1

    def _show(self, plans: Mapping[str, Plan]) -> None:
        seconds = {visit.name: visit.seconds for visit in self.visits.all}
        explained = [one for one in plans.values() if one.waiting or self.args.dry_run]
        for one in explained:
            _show_plan(one, _alike(one, explained), self.out)
        for text in dict.fromkeys(text for one in explained if one.target for text in one.target.about_all):
            self.out.warning(text)
        left_out = not self.only and not any(_has_vscode(one) for one in plans.values())
        if explained and left_out and any(map(self._mixed, self.visits.alive)):
            self.out.note("VS Code cannot fit both processors in one home: --vscode-local, or --host at each change")
        for name, one in plans.items():
            if not one.waiting:
                checked = f"checked {counted(len(one.planned), 'step')}, {seconds[name]:.1f} s"
                self.out.result(f"{name}: nothing to do ({checked})")

    def _apply(self, plans: Mapping[str, Plan]) -> Answers:
        from setup.steps import apply

        began, ready = time.monotonic(), dict[str, str]()

        def work(visit: Visit) -> dict[str, Any]:
            after = apply(plans[visit.name].planned, lines.of(visit.name))
            ready[visit.name] = f"ready ({time.monotonic() - began:.0f} s)"
            lines.end(visit.name, ready[visit.name])
            return plans[visit.name]._replace(planned=after).to_json(changed=True)

        with StepLines(self.out, list(plans)) as lines:
            done = self.visits.each(work, plans)
        for name in done:
            self.out.result(f"{name} is {ready[name]}. Undo: orch setup --host {name} --undo")
        hosts = ",".join(visit.name for visit in self.visits.alive if not visit.host.is_local)
        if done:
            self.out.next("orch sweep augmentations" + (f" --hosts {hosts}" if hosts else ""))
        return done


def _wish(args: Namespace) -> Wish:
    from setup.wheels import PYTHON, Wish

    return Wish(args.python_version or PYTHON, args.cpu, args.torch)


def _alike(plan: Plan, plans: Sequence[Plan]) -> list[str]:
    """Hosts that use the very environment of this one: they share a home and a processor."""

    def key(one: Plan) -> tuple[str | None, str, str]:
        target = one.target
        return (one.look.place.shared, target.lock["arch"], target.name) if target else (None, one.host, "")

    names = [one.host for one in plans if key(one) == key(plan)]
    return names if plan.look.place.shared and len(names) > 1 else []


def _has_vscode(plan: Plan) -> bool:
    return any(item.step.name in VSCODE_STEPS for item in plan.planned)


def _show_plan(one: Plan, alike: Sequence[str], out: Output) -> None:
    out.note(f"{one.host}  {one.look.facts.describe()}")
    for number, (step, state) in enumerate(one.planned, 1):
        text = f"refused: {state.refusal}" if state.refusal else state.text
        if alike and step.name == "environment" and not state.done:
            text += f", once for {' and '.join(alike)} (one home)"
        out.note(f"  {number} {step.name:<13} {text}")
        if not state.done:
            out.note(f"    {'':<13} why: {step.reason}")
    for note in one.target.notes if one.target else ():
        out.warning(f"{one.host}: {note}")
