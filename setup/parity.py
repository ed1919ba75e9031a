"""Do the hosts of a site compute the same? One fixed batch on each, compared with the first that answers.

Before any step two correct fp32 machines differ by the rounding of sums in another order. From step to step the
difference grows, as ReLU, max-pool and Adam (a gradient near 0 may change its sign) magnify it: that growth is told,
and judged with a wider bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from jobs.errors import OrchError
from jobs.wire import Wire

from .doctor import silent
from .environment import on_host
from .rows import FOUND, NOTE, OK, Row
from .site import Host

SIDE_BY_SIDE = 16  # hosts that compute at the same time
# Largest relative differences. fp32 has 24 bits (6e-8); a sum of n terms in another order differs by about sqrt(n)
# roundings (N. Higham, "Accuracy and stability of numerical algorithms", 2002, ch. 4), here n <= 9 * 32: 1e-6 a layer,
# 10 layers deep. `jobs.verify` uses the same bounds for one convolution.
FIRST = {"fp32": 1e-4, "bf16": 5e-2}  # bf16 has 8 bits (4e-3), also through 10 layers
# After the steps. Measured with this network on one CPU: fp32 against fp64, and with other threads or kernels, 6e-7
# before and 1e-6 after them; bf16 against fp32 1e-2 and 4e-2, with other kernels 2e-2. TF32 (10 bits) in place of fp32
# breaks the first bound.
LAST = {"fp32": 1e-3, "bf16": 2e-1}
_ABOUT = ("device", "name", "torch", "cuda", "cudnn", "python", "numpy", "machine")
_TITLES = {
    "name": "card or CPU",
    "cuda": "CUDA of the build",
    "cudnn": "cuDNN",
    "python": "Python",
    "machine": "processor",
}

# What has to be the same before anything is compared.
_SAME = {"format": "another version of this test", "batch": "another batch", "weights": "other weights"}

Document = Mapping[str, Any]  # what `python -m trainer parity` prints
Connect = Callable[[Host], Wire]
Python = Callable[[Host], str]


@dataclass(frozen=True)
class Answer:
    """What one host computed.

    Attributes
    ----------
    host:
        Its name in the site file.
    told:
        The document of `python -m trainer parity`, or None.
    error:
        Why there is none.
    reached:
        It was reached, but could not compute.
    """

    host: str
    told: Document | None = None
    error: OrchError | None = None
    reached: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without rows."""
        return {"host": self.host, "told": self.told, "error": self.error.to_json() if self.error else None}


def ask_all(hosts: Iterable[Host], connect: Connect, code: str, here: Python, home: str = "~/.orch") -> list[Answer]:
    """Let hosts compute side by side, each over one connection; a dead one becomes its own answer.

    Parameters
    ----------
    connect:
        Opens the wire to a host's agent.
    code:
        The trainer, as `jobs.asking.pack` makes it.
    here:
        Tells the Python that runs the trainer on this machine; other hosts use their newest verified environment.
    home:
        Orch home where the site file names none.
    """
    listed = list(hosts)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(lambda host: _ask(host, connect, code, here, host.home or home), listed))


def _ask(host: Host, connect: Connect, code: str, here: Python, home: str) -> Answer:
    try:
        wire = connect(host)
    except OrchError as error:
        return Answer(host.name, error=error, reached=False)
    try:
        with wire:
            python = here(host) if host.is_local else on_host(wire, host.name, home).python
            return Answer(host.name, wire.call("ask_program", python=python, code=code, words=["parity"]))
    except OrchError as error:
        return Answer(host.name, error=error)


def judge(answers: Sequence[Answer]) -> dict[str, list[Row]]:
    """Return each host's rows: what it is, and how far it is from the first host that answered."""
    documents = [(answer.host, answer.told) for answer in answers if answer.told]
    rows = {answer.host: [_silence(answer, answer.error)] for answer in answers if answer.error}
    for name, told in documents:
        compared = _compared(name, told, *documents[0]) if name != documents[0][0] else [_measure(len(answers))]
        rows[name] = [Row("parity", OK, _about(told)), *compared]
    return {answer.host: rows[answer.host] for answer in answers}


def _silence(answer: Answer, error: OrchError) -> Row:
    return Row("parity", FOUND, error.message, error.hint) if answer.reached else silent(error)


def _measure(hosts: int) -> Row:
    if hosts == 1:
        return Row("agreement", NOTE, "no other host to compare with", "name the hosts of the site in site.yaml")
    return Row("agreement", OK, "the others are compared with this host")


def _compared(host: str, told: Document, first: str, theirs: Document) -> list[Row]:
    for key, what in _SAME.items():
        if told[key] != theirs[key]:
            text = f"it started from {what} than {first}: {told[key]}, not {theirs[key]}"
            return [Row("agreement fp32", FOUND, text, "compare one orch on all hosts: it sends them the same trainer")]
    return [_compare("fp32", host, told, first, theirs), _bf16(host, told, first, theirs)]


def _about(told: Document) -> str:
    cuda = f" · CUDA {told['cuda']}" if told["device"] == "cuda" else ""
    where = f"{told['device']}: {told['name']} · torch {told['torch']}{cuda} · Python {told['python']}"
    return f"{where} · loss {_number(told, 0)} -> {_number(told, -1)}"


def _bf16(host: str, told: Document, first: str, theirs: Document) -> Row:
    if told["bf16"] and theirs["bf16"]:
        return _compare("bf16", host, told, first, theirs)
    if not told["bf16"] and not theirs["bf16"]:
        return Row("agreement bf16", OK, f"neither this host nor {first} computes in it: {told['bf16_reason']}")
    name, reason = (host, told["bf16_reason"]) if theirs["bf16"] else (first, theirs["bf16_reason"])
    text = f"{name} computes in fp32 where precision is auto: {reason}"
    return Row("agreement bf16", NOTE, text, "for one sweep over both hosts write train: {precision: fp32}")


def _number(told: Document, step: int) -> str:
    loss = told["fp32"]["losses"][step]
    return "not finite" if loss is None else f"{loss:.6f}"


def _compare(precision: str, host: str, told: Document, first: str, theirs: Document) -> Row:
    mine, other, check = told[precision], theirs[precision], f"agreement {precision}"
    growth = [_apart([one], [another]) for one, another in zip(mine["losses"], other["losses"], strict=True)]
    start = max(growth[0], _apart(mine["outputs"], other["outputs"]), _apart([mine["gradient"]], [other["gradient"]]))
    last = max(*growth, _apart(mine["last"], other["last"]))
    steps = ", ".join(f"{value:.0e}" for value in growth)
    text = f"differs from {first} by {start:.1e} before any step (allowed {FIRST[precision]:g}), by {last:.1e} "
    text += f"after {len(growth) - 1} steps (allowed {LAST[precision]:g}); loss by step: {steps}"
    if start <= FIRST[precision] and last <= LAST[precision]:
        return Row(check, OK, text)
    reasons = _differences(told, theirs)
    why = "; ".join(reasons) or "device and versions are the same"
    return Row(check, FOUND, f"{text}; {why}", _repair(host, reasons))


def _apart(mine: Sequence[float | None], theirs: Sequence[float | None]) -> float:
    """Return the largest difference as a part of the largest value; infinite when a number is not finite."""
    if None in mine or None in theirs:
        return math.inf
    pairs = [(float(one or 0), float(other or 0)) for one, other in zip(mine, theirs, strict=True)]
    largest = max(abs(other) for _, other in pairs)
    worst = max(abs(one - other) for one, other in pairs)
    return worst / largest if largest else worst


def _differences(mine: Document, theirs: Document) -> list[str]:
    return [f"{_TITLES.get(key, key)}: {mine[key]}, not {theirs[key]}" for key in _ABOUT if mine[key] != theirs[key]]


def _repair(host: str, reasons: Sequence[str]) -> str:
    if any(reason.startswith(("torch:", "CUDA", "cuDNN")) for reason in reasons):
        return "give all hosts one torch: orch setup --all"
    again = f"orch setup --host {host} --only verification"
    return f"{again}; if that passes, do not mix these hosts in one table, and tell your administrator"
