"""What a protocol is written for: a site, one family of its hosts, what is known of them, and the reader's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..facts import HostFacts
from ..gpudriver import cuda_of
from ..known import Known
from ..site import SHIPPED, Host, Site
from .blocks import FILE, HOST, LAPTOP, Code, Text, same

READER = "jdupont"  # stands for the reader's name where none was given
UNKNOWN = "…"


@dataclass(frozen=True)
class Machine:
    """One host, and what was last measured there, or None."""

    host: Host
    known: Known | None

    @property
    def alias(self) -> str:
        """Name that the reader's `ssh` gets."""
        return self.host.ssh or self.host.name

    @property
    def title(self) -> str:
        """Name in running text."""
        return self.host.name.upper()

    @property
    def facts(self) -> HostFacts | None:
        """The machine as it was measured."""
        return self.known.facts if self.known else None

    def fact(self, name: str) -> str:
        """Return `architecture`, `gpu`, `driver`, `cuda`, `cpu`, `memory`, `os`: measured, else expected, else `…`."""
        return self._measured().get(name) or self._expected().get(name) or UNKNOWN

    def _measured(self) -> dict[str, str]:
        facts = self.facts
        if facts is None:
            return {}
        memory = f"{facts.memory_mb.value / 1024:.0f} GiB" if facts.memory_mb.value else ""
        found = {"architecture": facts.architecture, "os": facts.os, "memory": memory, "driver": facts.driver or ""}
        return {**found, "gpu": ", ".join(card.name for card in facts.cards)}

    def _expected(self) -> dict[str, str]:
        driver = self.fact_driver()
        return {**self.host.expect, "cuda": (cuda_of(driver) if driver else None) or ""}

    def fact_driver(self) -> str | None:
        """Return the driver's version: measured, else expected, else None."""
        measured = self.facts.driver if self.facts else None
        return measured or self.host.expect.get("driver")


@dataclass(frozen=True)
class Guide:
    """The reader's situation.

    Attributes
    ----------
    site:
        The lab.
    machines:
        The hosts of one family; examples are for the first.
    others:
        The site's other hosts.
    user:
        The reader's name on the hosts.
    commands:
        All commands of `orch` with their summaries.
    """

    site: Site
    machines: tuple[Machine, ...]
    others: tuple[Machine, ...]
    user: str
    commands: Mapping[str, str]

    @property
    def main(self) -> Machine:
        """The host of the examples."""
        return self.machines[0]

    @property
    def name(self) -> str:
        """Name of the family, and of its files."""
        return self.main.host.family or self.main.host.name

    @property
    def titles(self) -> Text:
        """The hosts' names: `GRACE and ADA`."""
        names = [machine.title for machine in self.machines]
        return Text(_joined(names, "and"), _joined(names, "et"))

    @property
    def comes_with_orch(self) -> bool:
        """The site is shipped, so that the reader's own file is short."""
        return (SHIPPED / f"{self.site.name}.yaml").is_file()

    @property
    def gpu_line(self) -> str:
        """Name of the GPU as programs print it; `…` around what is only known in part."""
        gpu = self.main.fact("gpu")
        whole = self.main.facts or gpu == UNKNOWN or gpu.startswith("NVIDIA")
        return gpu if whole else f"…{gpu}…"

    def on_host(self, text: str, expected: str = "", needs: str = "") -> Code:
        """Return lines for the host of the examples."""
        return Code(text, HOST, same(self.main.title), expected, needs)

    def on_laptop(self, text: str, expected: str = "", needs: str = "") -> Code:
        """Return lines for any laptop."""
        return Code(text, LAPTOP, expected=expected, needs=needs)


def in_file(name: str, text: str) -> Code:
    """Return the lines of a file."""
    return Code(text, FILE, same(name))


def _joined(names: list[str], word: str) -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
