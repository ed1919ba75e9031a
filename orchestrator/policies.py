"""What a sweep file says about failures and time: its keys `policy` and `resources.time_limit`."""

from __future__ import annotations

import re
from typing import Any

from jobs.failure import BY_NAME
from jobs.policy import ACTIONS, RETRY_SMALLER, WAIT_MOST

from .schema import shown
from .words import did_you_mean
from .yamlfile import Document, PathIn

_RULE = ("action", "tries", "wait")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_EXAMPLE = "policy: {out_of_memory_gpu: {action: retry_smaller, tries: 3}, killed: never}"


def policy(document: Document) -> dict[str, Any]:
    """Return the changed rules, by kind: `{"killed": {"action": "never"}}`.

    Raises
    ------
    SpecError
        A kind or an action is unknown, or a number of tries is none; the nearest known word is named.
    """
    given = document.value.get("policy") or {}
    for kind in given:
        if kind not in BY_NAME:
            text = f"unknown kind of failure{did_you_mean(kind, BY_NAME)}"
            raise document.error(("policy", kind), text, f"kinds are: {', '.join(BY_NAME)}")
    return {kind: _rule(document, ("policy", kind), value) for kind, value in given.items()}


def _rule(document: Document, place: PathIn, value: Any) -> dict[str, Any]:
    rule = dict(value) if isinstance(value, dict) else {"action": value}
    for key in rule:
        if key not in _RULE:
            raise document.error((*place, key), f"unknown key{did_you_mean(key, _RULE)}", _EXAMPLE)
    action = rule.get("action")
    if action is None:
        raise document.error(place, "names no action", f"write {_EXAMPLE}; {_actions()}")
    if not isinstance(action, str) or action not in ACTIONS:
        near = did_you_mean(action, ACTIONS) if isinstance(action, str) else ""
        raise document.error(place, f"unknown action {shown(action)}{near}", _actions())
    tries = rule.get("tries", 0)
    if isinstance(tries, bool) or not isinstance(tries, int | float) or tries < 0 or tries != int(tries):
        text = f"must be a whole number from 0, not {shown(tries)}"
        raise document.error((*place, "tries"), text, "how many next attempts of one job this kind may give")
    waits = {"wait_s": _wait(document, (*place, "wait"), rule["wait"])} if "wait" in rule else {}
    return {"action": action, **({"tries": int(tries)} if "tries" in rule else {}), **waits}


def _wait(document: Document, place: PathIn, value: Any) -> float:
    """Seconds until the first next attempt may start."""
    wait = None if isinstance(value, bool) else seconds(value)
    if wait is None or wait > WAIT_MOST:
        text = f"is no time of at most {WAIT_MOST:g} s: {shown(value)}"
        raise document.error(place, text, "write 30s, 5m, or seconds as a number")
    return wait


def _actions() -> str:
    return "actions are: " + "; ".join(f"{name} ({text})" for name, text in ACTIONS.items())


def resources(document: Document) -> dict[str, float | str]:
    """Return what each job needs, by name: numbers, and a kind of card; `time_limit` becomes `time_limit_s`.

    Raises
    ------
    SpecError
        The time limit is no time.
    """
    given = dict(document.value.get("resources", {}))
    limit = given.pop("time_limit", None)
    found: dict[str, float | str] = {
        name: str(value) if name == "gpu_type" else int(value) for name, value in given.items()
    }
    if limit is None:
        return found
    most = seconds(limit)
    if most is None:
        text = f"is no time: {shown(limit)}"
        raise document.error(("resources", "time_limit"), text, "write 2h, 90m, 1h30m, 45s, 2d, or seconds as a number")
    return {**found, "time_limit_s": most}


def seconds(value: Any) -> float | None:
    """Return a time (`2h`, `14d`, `1h30m`, or a number) in seconds, or None when it is none."""
    if isinstance(value, str):
        if not _DURATION.fullmatch(value):
            return None
        value = sum(float(part[:-1]) * _SECONDS[part[-1]] for part in re.findall(r"[\d.]+[smhd]", value))
    return float(value) if isinstance(value, int | float) and value > 0 else None


def micro_batch_unknown(rules: dict[str, Any], axes: Any) -> bool:
    """Tell whether a command's sweep asks for smaller batches without saying how large they are."""
    asked = any(rule["action"] == RETRY_SMALLER for rule in rules.values())
    return asked and "batch_size" not in axes
