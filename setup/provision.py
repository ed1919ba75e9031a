"""The steps towards the environment of one host, and their undo (`jobs.provision` does them)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from jobs.envs import VERIFIED
from jobs.wire import Wire

from .deciding import LEAST_FREE, Target, indexes
from .steps import Removal, State, Step, Tell

CHANNEL = "conda-forge"
STAGES = ("python", "torch", "rest")


def steps(wire: Wire, wanted: Target) -> list[Step]:
    """Return the steps that make the environment of a host: conda, environment, verification."""
    work = _Work(wire, wanted)
    why = "; ".join([f"{wanted.build}: {wanted.choice.reason}", *wanted.choice.refused[:2]])
    device = "the processor, as asked" if wanted.device == "cpu" else wanted.facts.cards[0].name
    proof = f"a convolution forward and backward on {device}, by the environment's own Python"
    return [
        Step("conda", f"an environment for {wanted.facts.architecture} is made by a conda of that architecture",
             work.check_conda, work.do_conda, work.weigh_conda, work.undo_conda),
        Step("environment", why, work.check_environment, work.do_environment, work.weigh, work.undo),
        Step("verification", proof, work.check_verification, work.do_verification),
    ]  # fmt: skip


class _Work:
    """The checks and deeds of the steps, over one wire."""

    def __init__(self, wire: Wire, wanted: Target) -> None:
        self.wire, self.wanted = wire, wanted
        self._survey = wanted.survey
        self._listed: Sequence[Mapping[str, Any]] | None = wanted.listing

    def _env(self) -> Mapping[str, Any]:
        if self._listed is None:  # something was done since
            self._listed = self.wire.call("environments", home=self.wanted.place.home)["environments"]
        absent: dict[str, Any] = {"state": "absent", "stages": [], "begun": None, "here": None, "reason": ""}
        return next((env for env in self._listed if env["lock"] == self.wanted.name), absent)

    def _looked(self) -> Mapping[str, Any]:
        if self._survey is None:
            self._survey = self.wire.call("survey", indexes={}, home=self.wanted.place.home)
        return self._survey

    def check_conda(self) -> State:
        """conda is needed only while Python has to be installed."""
        env = self._env()
        if env["state"] == VERIFIED or ("python" in env["stages"] and not env["begun"]):
            return State(True, "not needed: Python is installed")
        found = self._looked()["conda"]
        if found:
            return State(True, "{kind} {version} at {path}".format(**found))
        refused = self._looked()["refused"]
        why = f" ({'; '.join(refused[:2])})" if refused else ""
        return State(False, f"will install Miniforge for {self.wanted.facts.architecture} in the orch home{why}")

    def do_conda(self, tell: Tell) -> str:
        """Install Miniforge."""
        told = self._follow("install_conda", tell, url=self.wanted.place.sources.miniforge)
        self._survey = {**self._looked(), **told}
        return "installed {path}".format(**told["conda"])

    def weigh_conda(self) -> Removal | None:
        """Only a Miniforge of ours is taken away."""
        ours = self.wire.call("survey", indexes={}, home=self.wanted.place.home)["ours"]
        return Removal(f"the Miniforge that orch installed ({ours['url']})") if ours else None

    def undo_conda(self, tell: Tell) -> str:
        """Take our Miniforge away."""
        return "removed {removed}".format(**self._follow("remove_conda", tell))

    def check_environment(self) -> State:
        """All stages are done, or it is verified."""
        env = self._env()
        if env["state"] == VERIFIED or (not env["begun"] and set(STAGES) <= set(env["stages"])):
            return State(True, env.get("prefix", ""))
        done = f", goes on after {', '.join(env['stages'])}" if env["stages"] and not env["begun"] else ""
        room = f" (needs about {LEAST_FREE[self.wanted.device == 'cpu'] >> 30} GB)"
        return State(False, f"will create envs/{self.wanted.lock['arch']}/{self.wanted.name}{done or room}")

    def do_environment(self, tell: Tell) -> str:
        """Make it, or go on with it."""
        given = self.wanted.place.sources
        index = indexes(given, self.wanted.device == "cpu")[self.wanted.build.backend]
        sources = {"conda": self._looked()["conda"], "channel": given.channel or CHANNEL, "index": index}
        sources["wheelhouse"] = given.wheelhouse
        told = self._follow("provision", tell, lock=self.wanted.lock, name=self.wanted.name, sources=sources)
        return f"made {told['prefix']}"

    def weigh(self) -> Removal | None:
        """Return path and bytes of the environment, if there is one."""
        self._listed = None  # on a shared home another host may have taken it away a moment ago
        env = self._env()
        if env["state"] == "absent":
            return None
        told = self.wire.call("weigh_environment", name=self.wanted.name)
        users = f", in use by {', '.join(told['users'])}" if told["users"] else ""
        return Removal(f"{told['prefix']}{users}", int(told["bytes"]))

    def undo(self, tell: Tell) -> str:
        """Take it away."""
        return "removed {removed}".format(**self._follow("remove_environment", tell, name=self.wanted.name))

    def check_verification(self) -> State:
        """It has proved itself on this very host, on the device that it is meant for."""
        env = self._env()
        if env["state"] == VERIFIED and env["here"] and env["here"]["device"] == self.wanted.device:
            return State(True, f"fingerprint {env['record']['fingerprint']}")
        return State(False, "will run")

    def do_verification(self, tell: Tell) -> str:
        """Let it prove itself."""
        slurm = self.wanted.place.order(self.wanted.facts.architecture)
        told = self._follow("verify_environment", tell, name=self.wanted.name, device=self.wanted.device, slurm=slurm)
        return f"{len(told['here']['checks'])} checks passed"

    def _follow(self, verb: str, tell: Tell, **arguments: Any) -> dict[str, Any]:
        self._listed = None
        stream: Generator[Any, None, dict[str, Any]] = self.wire.stream(verb, **arguments)
        while True:
            try:
                chunk = next(stream)
            except StopIteration as stop:
                return dict(stop.value)
            tell(chunk["stage"], chunk["line"])
