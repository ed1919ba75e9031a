"""What hosts shall hold, decided for all of them in one go: who has a say, who is asked, and what each is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from test_wheels import GRACE, NODAL, host

from jobs.envs import VERIFIED
from setup.deciding import REQUIREMENTS, Look, Neighbour, Neighbours, Place, decide
from setup.facts import HostFacts
from setup.wheels import Wish

OLD = host("x86_64", "470.82")
OFFERS = {
    "cu126": [("2.6.0+cu126", "x86_64"), ("2.6.0+cu126", "aarch64"), ("2.7.1+cu126", "x86_64")],
    "cu130": [("2.13.0+cu130", "x86_64"), ("2.13.0+cu130", "aarch64")],
}


def env(torch: str, arch: str) -> dict[str, Any]:
    lock = {"arch": arch, "python": "3.12", "torch": torch, "requirements": list(REQUIREMENTS)}
    return {"lock": f"of {torch}", "state": VERIFIED, "record": {"lock": lock, "torch": torch}}


def seen(facts: HostFacts, *envs: dict[str, Any], shared: str | None = None, **more: list[Any]) -> Look:
    listed = {facts.architecture: list(envs), **more}
    return Look(facts, {}, Place("~/.orch", shared=shared), listed)


class World:
    """Indexes and neighbours that note who was asked."""

    def __init__(self, known: Mapping[str, Neighbour] | None = None, asked: Mapping[str, Neighbour] | None = None):
        self.known, self.asked = dict(known or {}), dict(asked or {})
        self.surveyed: list[str] = []
        self.was_asked = False

    def neighbours(self, ask: bool) -> Neighbours:
        self.was_asked |= ask
        return Neighbours({**self.known, **(self.asked if ask else {})}, {"gone": "it is off"} if ask else {}, ("!",))

    def survey(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        self.surveyed += names
        keys = ("version", "arch", "python")
        offers = {
            name: [dict(zip(keys, (*row, "cp312"), strict=True)) for row in rows] for name, rows in OFFERS.items()
        }
        return {name: {"offers": offers, "problems": [], "conda": None, "refused": []} for name in names}

    def decide(self, **looks: Look) -> tuple[dict[str, str], dict[str, str], Any]:
        targets, errors = decide(looks, Wish(), self.neighbours, self.survey)
        builds = {name: str(target.build) for name, target in targets.items()}
        return builds, {name: error.message for name, error in errors.items()}, targets


def test_one_version_for_all_that_are_prepared_together() -> None:
    world = World()
    builds, errors, targets = world.decide(nodal=seen(NODAL), grace=seen(GRACE), ada=seen(GRACE))
    assert builds == dict.fromkeys(("nodal", "grace", "ada"), "2.6.0+cu126") and errors == {}
    assert world.surveyed == ["nodal", "grace", "ada"]
    assert targets["grace"].name == targets["ada"].name != targets["nodal"].name
    assert "gone has no say: it is off" in targets["nodal"].about_all and "!" in targets["nodal"].about_all


def test_a_host_that_nothing_fits_does_not_stop_the_others() -> None:
    builds, errors, targets = World().decide(nodal=seen(NODAL), old=seen(OLD))
    assert builds == {"nodal": "2.7.1+cu126"}
    assert errors["old"].startswith("old: no torch build fits:") and "driver 470.82 < 525.60.13" in errors["old"]
    assert any(text.startswith("old has no say:") for text in targets["nodal"].about_all)


def test_when_nothing_fits_anybody_each_is_told_why() -> None:
    builds, errors, _ = World().decide(one=seen(OLD), two=seen(OLD))
    assert builds == {} and set(errors) == {"one", "two"}


def test_hosts_that_are_served_ask_nobody() -> None:
    world = World(asked={"ada": Neighbour(GRACE)})
    builds, _, targets = world.decide(
        nodal=seen(NODAL, env("2.6.0+cu126", "x86_64")), grace=seen(GRACE, env("2.6.0+cu126", "aarch64"))
    )
    assert builds == {"nodal": "2.6.0+cu126", "grace": "2.6.0+cu126"}
    assert (world.surveyed, world.was_asked) == ([], False)
    assert targets["nodal"].survey is None


def test_only_the_one_that_lacks_it_is_surveyed() -> None:
    world = World()
    builds, _, _ = world.decide(nodal=seen(NODAL, env("2.6.0+cu126", "x86_64")), grace=seen(GRACE))
    assert builds == {"nodal": "2.6.0+cu126", "grace": "2.6.0+cu126"}  # kept, though nodal alone could have a newer one
    assert world.surveyed == ["grace"]


def test_a_neighbour_that_was_unknown_changes_the_choice_once_it_is_asked() -> None:
    assert World().decide(nodal=seen(NODAL))[0] == {"nodal": "2.7.1+cu126"}
    world = World(asked={"grace": Neighbour(GRACE)})
    assert world.decide(nodal=seen(NODAL))[0] == {"nodal": "2.6.0+cu126"}
    assert world.was_asked


def test_what_a_neighbour_has_in_the_same_home_is_kept() -> None:
    """grace is asked; nodal's environment lies in the home that both share."""
    there = seen(GRACE, shared="lab", x86_64=[env("2.6.0+cu126", "x86_64")])
    for shared, reason in (("lab", "kept: installed and verified"), (None, "the newest build that fits")):
        _, _, targets = World({"nodal": Neighbour(NODAL, shared)}).decide(grace=there)
        assert targets["grace"].choice.reason.startswith(reason)


def test_a_host_that_fell_silent_gets_no_second_error() -> None:
    class Silent(World):
        def survey(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
            return super().survey([name for name in names if name != "ada"])

    builds, errors, _ = Silent().decide(ada=seen(OLD), grace=seen(GRACE))
    assert builds == {"grace": "2.6.0+cu126"} and errors == {}


def test_an_environment_for_slurm_holds_submitit_and_one_without_does_not_do() -> None:
    plain = env("2.6.0+cu126", "x86_64")
    login = Look(NODAL, {}, Place("~/.orch", scheduler="slurm"), {"x86_64": [plain]})
    world = World()
    _, errors, targets = world.decide(login=login, nodal=seen(NODAL, plain))
    assert errors == {} and world.surveyed == ["login"]
    assert targets["login"].lock["requirements"] == [*REQUIREMENTS, "submitit>=1.5"]
    assert targets["nodal"].lock["requirements"] == list(REQUIREMENTS)
    assert targets["login"].name != targets["nodal"].name
