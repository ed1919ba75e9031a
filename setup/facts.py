"""What a host is and has, as frozen values: `jobs.probe` looks, this reads; a found value carries its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs import CONTRACT
from jobs.disk import Disk
from jobs.errors import ContractError
from jobs.gpu import Card

# The names that kernels, Windows and macOS use for the two processors that GPU machines have.
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Found:
    """A number and why it is that number; None: the host does not tell."""

    value: int | None
    reason: str

    def __str__(self) -> str:
        """Return both, as `--dry-run` prints them."""
        return f"{'unknown' if self.value is None else self.value} ({self.reason})"


@dataclass(frozen=True)
class HostFacts:
    """One host at one moment.

    Attributes
    ----------
    hostname, architecture, system, kernel, os:
        What it calls itself; `architecture` is `x86_64`, `aarch64` or the host's own word.
    glibc, python, executable:
        Version of the C library (None: another one), version and path of the Python that looked.
    cpus, memory_mb:
        Cores and MiB that jobs may use.
    cards, cards_reason:
        GPUs in the driver's order, and how they were found or why there are none.
    home, local:
        The file systems of the orch home and of the host-local folder.
    boot_id:
        Identity of the running boot; None where the kernel gives none.
    clock:
        The host's clock, seconds since 1970 UTC.
    """

    hostname: str
    architecture: str
    system: str
    kernel: str
    os: str
    glibc: str | None
    python: str
    executable: str
    cpus: Found
    memory_mb: Found
    cards: tuple[Card, ...]
    cards_reason: str
    home: Disk
    local: Disk
    boot_id: str | None
    clock: float

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HostFacts:
        """Read what `jobs.probe.probe` told.

        Raises
        ------
        ContractError
            It is of another contract, or lacks something.
        """
        if value.get("contract") != CONTRACT:
            text = f"the host's facts have contract {value.get('contract')}, this orch reads {CONTRACT}"
            raise ContractError(text, "use the same orch on both ends")
        try:
            return cls(**_plain(value), **_numbers(value), **_devices(value))
        except (KeyError, TypeError) as error:
            raise ContractError(
                f"the host's facts lack or misspell {error}", "use the same orch on both ends"
            ) from error

    @property
    def driver(self) -> str | None:
        """Version of the GPU driver, or None without a card."""
        return self.cards[0].driver if self.cards else None

    def describe(self) -> str:
        """Return the host in one line for people: system, cores, memory, cards."""
        memory = f" · {self.memory_mb.value / 1024:.0f} GB" if self.memory_mb.value else ""
        cards = ", ".join(card.name for card in self.cards) or f"no GPU ({self.cards_reason})"
        return f"{self.architecture} · {self.os} · {self.cpus.value} cores{memory} · {cards}"


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    names = ("hostname", "system", "kernel", "os", "glibc", "python", "executable", "boot_id", "clock")
    machine = str(value["machine"])
    return {"architecture": _ARCHITECTURES.get(machine.lower(), machine), **{name: value[name] for name in names}}


def _numbers(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Found(value[name], value["reasons"][name]) for name in ("cpus", "memory_mb")}


def _devices(value: Mapping[str, Any]) -> dict[str, Any]:
    disks = {name: {key: disk[key] for key in Disk._fields} for name, disk in value["disks"].items()}
    return {
        "cards": tuple(Card(**card) for card in value["gpus"]),
        "cards_reason": value["reasons"]["gpus"],
        "home": Disk(**disks["home"]),
        "local": Disk(**disks["local"]),
    }
