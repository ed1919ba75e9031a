"""A job's story in one line: what each attempt ended with, and what was done about it by itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.failure import BY_NAME
from jobs.policy import HOLD, OTHER_HOST, RETRY_SMALLER, batch_of, shape
from jobs.state import DONE, INTERRUPTED

ARROW = " -> "


def story(attempts: Sequence[Mapping[str, Any]], queued: Sequence[Mapping[str, Any]], held: str = "") -> str:
    """Return a line such as `attempt 1 on grace: CUDA out of memory at batch 32 -> retried with 2 x 16 -> done`.

    Parameters
    ----------
    attempts, queued, held:
        As the agent's verb `show` gives them. Empty when a single attempt has nothing to tell.
    """
    parts = list(_parts(attempts, queued, held))
    return ARROW.join(parts) if len(parts) > 1 else ""


def _parts(attempts: Sequence[Mapping[str, Any]], queued: Sequence[Mapping[str, Any]], held: str) -> Iterator[str]:
    following = [*(item["spec"] for item in attempts[1:]), *queued][: len(attempts)]
    for number, item in enumerate(attempts):
        spec = item["spec"]
        told = _ended(item)
        if number == 0 or not spec.get("retry"):
            told = f"attempt {spec.get('attempt')} on {_host(spec)}: {told}"
        yield told
        after = following[number] if number < len(following) else None
        if after:
            yield _retried(after)
        elif (decision := _decision(item)) and decision["action"] == OTHER_HOST:
            yield "not again on this host"
    if queued and attempts:
        yield held or "waits for a slot"


def _host(spec: Mapping[str, Any]) -> str:
    return str((spec.get("claim") or {}).get("host") or (spec.get("placement") or {}).get("host"))


def _decision(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return (item.get("exit") or {}).get("decision")


def _ended(item: Mapping[str, Any]) -> str:
    """How an attempt stands: the kind in words with the batch where memory ran out, else its state."""
    failure, state = (item.get("exit") or {}).get("failure"), item["verdict"]["state"]
    if state == INTERRUPTED:
        return f"interrupted ({item['verdict']['reason']})"
    if state == DONE or not failure:
        return str(state)
    kind = BY_NAME.get(failure["kind"])
    words = kind.words if kind else str(failure["kind"])
    return words + (_at_batch(item["spec"]) if failure["kind"].startswith("out_of_memory") else "")


def _at_batch(spec: Mapping[str, Any]) -> str:
    batch, micro = batch_of(spec), (spec.get("tuning") or {}).get("micro_batch")
    if not batch:
        return ""
    return f" at batch {batch}" if not micro or micro >= batch else f" at {shape(batch, micro)}"


def _retried(spec: Mapping[str, Any]) -> str:
    retry = spec.get("retry")
    if not retry:
        return "started again by a person"
    if retry.get("action") == RETRY_SMALLER:
        return f"retried with {str(retry.get('reason')).removeprefix('again with ')}"
    if retry.get("action") == HOLD:
        return "retried once there was room"
    elsewhere = f", not on {retry['not_on']}" if retry.get("not_on") else ""
    return ("retried from its last checkpoint" if spec.get("resume") else "retried") + elsewhere
