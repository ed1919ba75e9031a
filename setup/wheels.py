"""The wheel advisor: which torch for which hosts, as a pure function of facts, a table and what an index holds.

rows        setup/wheels.json: release line, backend, architecture, Python, driver, SASS, triton, until when, source
refused     rows that do not fit a host, each with its reason; a build for the processor alone is never fallen back to
chosen      the newest build that fits all hosts of the site, so that folds of one sweep do not mix versions
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from jobs.errors import OrchError, UsageError

from .facts import HostFacts
from .wheeltable import Build, Row, Table, Wheel, runs_on, table, version

CPU = "cpu"
PYTHON = "3.12"  # minor version of new environments


@dataclass(frozen=True)
class Choice:
    """What each host shall have.

    Attributes
    ----------
    builds, rows:
        Build, and the row that lets it, by host.
    reason:
        Why this one, in one sentence.
    refused:
        What newer or other builds were refused and why, one sentence each, the most telling first.
    warnings:
        What to know about it: an end, a lack, a mix.
    left_out:
        Hosts of the site that no build fits, with the reason; they are not among those asked for.
    """

    builds: Mapping[str, Build]
    rows: Mapping[str, Row]
    reason: str
    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


class Wish(NamedTuple):
    """What people ask for.

    Attributes
    ----------
    python:
        Minor version of Python.
    cpu:
        A build for the processor alone; without it such a build is never chosen.
    torch:
        This version and no other.
    """

    python: str = PYTHON
    cpu: bool = False
    torch: str | None = None


Offers = Mapping[str, Iterable[Wheel]]  # by backend; one that is missing could not be asked


def choose(
    hosts: Mapping[str, HostFacts],
    rows: Table,
    wish: Wish = Wish(),  # noqa: B008  # an immutable value
    offers: Offers | None = None,
    installed: Mapping[str, Build] | None = None,
    wanted: Iterable[str] | None = None,
) -> Choice:
    """Choose one build for all hosts, or the best for each when none fits all.

    Parameters
    ----------
    hosts:
        Facts of the hosts of the site, by name.
    offers:
        What the indexes hold; None: nobody asked, only rows of files that were seen count.
    installed:
        Builds of verified environments; one of them is kept as long as it fits.
    wanted:
        Hosts that must get a build (default: all); the others only have a say.

    Raises
    ------
    OrchError
        No build fits a wanted host; the message says what was refused and why. Never a silent build for the processor.
    UsageError
        No host was given.
    """
    if not hosts:
        raise UsageError("no host to choose a wheel for", "orch setup --host NAME")
    installed = {host: build for host, build in (installed or {}).items() if host in hosts}
    looked = {}
    for name, facts in hosts.items():
        proven = {build for host, build in installed.items() if hosts[host].architecture == facts.architecture}
        looked[name] = _look(facts, rows, wish, offers, proven)
    needed = set(hosts if wanted is None else wanted)
    for name in sorted(needed):
        if not looked[name].fits:
            raise _nothing_fits(name, hosts[name], looked[name], wish)
    if not any(look.fits for look in looked.values()):
        name = min(looked)
        raise _nothing_fits(name, hosts[name], looked[name], wish)
    left_out = {name: look.summary() for name, look in looked.items() if not look.fits}
    fitting = {name: look for name, look in looked.items() if look.fits}
    builds, reason, mixed = _agree(fitting, needed, set(installed.values()))
    chosen = {name: fitting[name].fits[build] for name, build in builds.items()}
    warnings = [*mixed, *_warnings(builds, chosen, hosts)]
    return Choice(builds, chosen, reason, _refusals(looked, builds), tuple(warnings), left_out)


# --- One host --------------------------------------------------------------------------------------------------------


class _Look(NamedTuple):
    """What fits a host, and what does not: (build, reason)."""

    fits: dict[Build, Row]
    refused: list[tuple[Build, str]]

    def summary(self) -> str:
        """Each reason once, with the newest build that it refuses."""
        ordered = sorted(self.refused, key=lambda item: _rank(item[0]))
        newest = {(build.backend, why): (build, why) for build, why in ordered}
        return (
            "; ".join(f"{_subject(build, why)} refused: {why}" for build, why in newest.values())
            or "the table has no row for it"
        )


def _look(facts: HostFacts, rows: Table, wish: Wish, offers: Offers | None, proven: set[Build]) -> _Look:
    """`proven`: builds that are installed on this architecture; that they exist needs no index to say so."""
    look = _Look({}, [])
    for row in rows.rows:
        if row.arch != facts.architecture or (row.backend == CPU) != wish.cpu:
            continue
        why = _misfit(row, facts, rows.glibc, wish)
        for build, absent in _builds(row, wish, offers, proven):
            reason = why or absent
            if reason:
                look.refused.append((build, reason))
            else:
                look.fits[build] = row
    return look


def _misfit(row: Row, facts: HostFacts, glibc: str, wish: Wish) -> str:
    """Why a row cannot run on a host, or an empty text."""
    if facts.glibc is None or version(facts.glibc) < version(glibc):
        return f"it needs glibc {glibc}, the host has {facts.glibc or 'another C library'}"
    oldest, _, newest = row.python.partition("-")
    if not version(oldest) <= version(wish.python) <= version(newest):
        return f"it is built for Python {row.python}, not {wish.python}"
    return "" if row.backend == CPU else _misfit_card(row, facts)


def _misfit_card(row: Row, facts: HostFacts) -> str:
    if not facts.cards:
        return f"no GPU seen ({facts.cards_reason})"
    if not version(facts.driver or ""):
        return f"the driver does not tell its version ('{facts.driver}')"
    if row.min_driver and version(facts.driver or "") < version(row.min_driver):
        return f"driver {facts.driver} < {row.min_driver}"
    for card in facts.cards:
        if card.capability and not runs_on(card.capability, row.sass):
            return f"it holds no code for {card.name} (sm_{card.capability.replace('.', '')}), only for {_sm(row.sass)}"
    return ""


_UNSEEN = {True: "seen in no index yet; setup asks it", False: "seen in no index, and the index could not be asked"}


def _builds(row: Row, wish: Wish, offers: Offers | None, proven: set[Build]) -> list[tuple[Build, str]]:
    """Exact versions of a row, each with the reason why it cannot be had, or an empty text."""
    first = Build(row.torch, row.backend)
    wheels = None if offers is None else offers.get(row.backend)
    if wheels is None:
        there, absent = {first} if row.seen == "file" else set(), _UNSEEN[offers is None]
    else:
        tag = "cp" + wish.python.replace(".", "")
        versions = {wheel.version for wheel in wheels if (wheel.arch, wheel.python) == (row.arch, tag)}
        there, absent = {build for build in map(_build, versions) if build}, "the index has none for " + row.arch
    found = [(build, "") for build in sorted(there | proven) if _same_line(build, row)] or [(first, absent)]
    if wish.torch:
        found = [(build, why or _other(build, wish.torch)) for build, why in found]
    return found


def _other(build: Build, torch: str) -> str:
    return "" if build.torch == torch or str(build) == torch else f"{torch} was asked for"


def _build(text: str) -> Build | None:
    torch, plus, backend = text.partition("+")
    return Build(torch, backend) if plus else None


def _same_line(build: Build, row: Row) -> bool:
    return build.backend == row.backend and version(build.torch)[:2] == version(row.torch)[:2]


# --- All hosts -------------------------------------------------------------------------------------------------------


def _agree(
    looked: Mapping[str, _Look], needed: set[str], installed: set[Build]
) -> tuple[dict[str, Build], str, list[str]]:
    """Return a build for each host, the reason, and a warning when they differ."""
    common = set.intersection(*(set(look.fits) for look in looked.values()))
    kept = common & installed
    if kept:
        best = max(kept, key=_rank)
        return dict.fromkeys(looked, best), _why("kept: installed and verified in this site, and it fits", looked), []
    if common:
        best = max(common, key=_rank)
        return dict.fromkeys(looked, best), _why("the newest build that fits", looked), []
    lines = set.intersection(*({build.torch for build in look.fits} for look in looked.values()))
    allowed = {max(lines, key=version)} if lines else None
    builds = {name: _best(look, allowed, installed) for name, look in looked.items()}
    listed = ", ".join(f"{build} on {name}" for name, build in sorted(builds.items()))
    if lines:
        return builds, "the newest version that fits all hosts; no backend fits all", [f"different backends: {listed}"]
    text = f"no version fits all hosts: {listed}; do not mix them in one sweep: its table would compare unlike software"
    return builds, "the newest that fits each host alone", [text]


def _best(look: _Look, versions: set[str] | None, installed: set[Build]) -> Build:
    fits = [build for build in look.fits if versions is None or build.torch in versions]
    return max([build for build in fits if build in installed] or fits, key=_rank)


def _why(text: str, looked: Mapping[str, _Look]) -> str:
    names = sorted(looked)
    return f"{text} {names[0] if len(names) == 1 else 'all of ' + ', '.join(names)}"


def _rank(build: Build) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Newest version first; of equal ones the newer backend, which is kept alive for longer."""
    return version(build.torch), version(build.backend)


def _refusals(looked: Mapping[str, _Look], builds: Mapping[str, Build]) -> tuple[str, ...]:
    """Newer builds that were refused, each reason once with its newest build and its hosts."""
    chosen = max(builds.values(), key=_rank)
    grouped: dict[tuple[str, str], tuple[Build, list[str]]] = {}
    for name, look in looked.items():
        for build, why in look.refused:
            if _rank(build) > _rank(chosen):
                newest, hosts = grouped.setdefault((build.backend, why), (build, []))
                grouped[build.backend, why] = (max(newest, build, key=_rank), [*hosts, *([name] * (name not in hosts))])
    ordered = sorted(grouped.items(), key=lambda item: _rank(item[1][0]), reverse=True)
    return tuple(f"{_subject(build, why)} refused ({', '.join(hosts)}: {why})" for (_, why), (build, hosts) in ordered)


def _subject(build: Build, why: str) -> str:
    return build.backend if why.startswith("driver") else str(build)  # a driver refuses all builds of a backend


def _warnings(builds: Mapping[str, Build], rows: Mapping[str, Row], hosts: Mapping[str, HostFacts]) -> list[str]:
    found = []
    for backend in sorted({build.backend for build in builds.values()}):
        row = next(row for row in rows.values() if row.backend == backend)
        old = [f"{name} {hosts[name].driver}" for name in sorted(builds) if _is_old(hosts[name])]
        if row.until and old:
            text = f"{backend} ends with torch {row.until}; ask for driver >= {_next_driver()} ({', '.join(old)})"
            found.append(text)
    without = sorted(name for name, row in rows.items() if row.backend != CPU and not row.triton)
    if without:
        found.append(f"no triton in this build ({', '.join(without)}): torch.compile stays off")
    unknown = sorted(name for name in builds if any(card.capability is None for card in hosts[name].cards))
    if unknown:
        found.append(
            f"the driver does not tell the card's capability ({', '.join(unknown)}): only a test run will show"
        )
    if any(row.backend == CPU for row in rows.values()):
        found.append("a build for the processor alone, as asked: no GPU will be used")
    return found


def _is_old(facts: HostFacts) -> bool:
    return bool(facts.driver) and version(facts.driver or "") < version(_next_driver())


def _next_driver() -> str:
    """The driver that the backends without an end need."""
    lasting = [row.min_driver for row in table().rows if row.min_driver and not row.until]
    return min(lasting, key=version)


def _nothing_fits(name: str, facts: HostFacts, look: _Look, wish: Wish) -> OrchError:
    if not facts.cards and not wish.cpu:
        text = (
            f"{name}: no GPU seen ({facts.cards_reason}), and a build for the processor alone is only made when asked"
        )
        return OrchError(text, f"look at the driver with nvidia-smi, or ask for it: orch setup --host {name} --cpu")
    hint = f"ask for driver >= {_next_driver()}, or for a build for the processor: orch setup --host {name} --cpu"
    if wish.torch:
        hint = "leave --torch out, or look at: orch setup --explain"
    elif not any(row.arch == facts.architecture for row in table().rows):
        hint = "orch setup --explain lists the architectures; a new one is a row in setup/wheels.json"
    return OrchError(f"{name}: no torch build fits: {look.summary()}", hint)


def _sm(sass: Iterable[str]) -> str:
    return ", ".join("sm_" + code.replace(".", "") for code in sass)
