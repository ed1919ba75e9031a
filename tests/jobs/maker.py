"""An environment in the making, for tests: the agent's verbs with the usual arguments and the stand-ins."""

from __future__ import annotations

from typing import Any

from local_host import LocalHost
from standins.place import ARCH, MINOR, Standins

from jobs import envs

NAME = "0123456789ab"
LOCK = {
    "arch": ARCH,
    "python": MINOR,
    "torch": "2.6.0+cu126",
    "requirements": ["nibabel>=5.2", "numpy>=1.26", "scipy>=1.12"],
}


class Maker:
    """The verbs with the usual arguments."""

    def __init__(self, host: LocalHost, standins: Standins) -> None:
        self.host, self.standins = host, standins
        self.host.wire.close()
        self.host.wire = host.connect()  # an agent that has the environment of the test
        self.lines: list[dict[str, Any]] = []
        self.folder = envs.EnvFolder(host.home.path, ARCH, NAME)

    def survey(self, **more: Any) -> dict[str, Any]:
        told = {backend: f"{self.standins.index}/{backend}" for backend in ("cu126", "cu130")}
        return self.host.wire.call("survey", **{"indexes": told, **more})

    def call(self, verb: str, **arguments: Any) -> dict[str, Any]:
        stream = self.host.wire.stream(verb, **arguments)
        while True:
            try:
                self.lines.append(next(stream))
            except StopIteration as stop:
                return dict(stop.value)

    def make(self, lock: dict[str, Any] = LOCK, **sources: Any) -> dict[str, Any]:
        told = {**self.standins.sources(), "conda": self.survey()["conda"], **sources}
        return self.call("provision", lock=lock, name=NAME, sources=told)

    def verify(self, device: str = "cuda") -> dict[str, Any]:
        return self.call("verify_environment", name=NAME, device=device)

    def stages(self) -> list[str]:
        return list(dict.fromkeys(line["stage"] for line in self.lines))

    def state(self) -> str:
        found = self.host.wire.call("environments")["environments"]
        return str(found[0]["state"]) if found else "absent"
