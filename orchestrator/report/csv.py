"""The numbers as CSV, at full precision, one file per question: comparison, patients, curves."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from jobs.visible import visible

from .model import Report


def render(report: Report) -> dict[str, str]:
    """Return the CSV files by name; undefined values are empty fields."""
    return {
        "comparison.csv": _write(comparison(report)),
        "patients.csv": _write(patients(report)),
        "curves.csv": _write(curves(report)),
    }


def comparison(report: Report) -> pd.DataFrame:
    """Return the comparison table; a `mean ± SD` column becomes two."""
    columns: dict[str, list[Any]] = {}
    for place, column in enumerate(report.table.columns):
        values = [row[place] for row in report.table.rows]
        if column.form == "spread":
            pairs = [value or (None, None) for value in values]
            columns[f"{column.name} mean"] = [mean for mean, _ in pairs]
            columns[f"{column.name} SD"] = [deviation for _, deviation in pairs]
        else:
            columns[column.name] = values
    return pd.DataFrame(columns)


def patients(report: Report) -> pd.DataFrame:
    """Return one row per case and class of the results that count."""
    rows = [
        {
            "job": job.id,
            **job.names,
            "attempt": row.attempt,
            "patient": row.group,
            "case": row.case,
            "class": row.cls,
            "status": row.status,
            "dice": row.dice,
            "slice_dice": row.slice_dice,
            **row.numbers,
        }
        for job, row in report.cases
    ]
    return pd.DataFrame(rows)


def curves(report: Report) -> pd.DataFrame:
    """Return one row per job and step, one column per metric."""
    frames = []
    for one in report.learning:
        series = {name: pd.Series(curve.values, index=list(curve.steps)) for name, curve in one.curves.items()}
        frame = pd.DataFrame(series)
        frame.insert(0, "step", frame.index)
        frame.insert(0, "attempt", one.attempt)
        for name, value in reversed({"job": one.job.id, **one.job.names}.items()):
            frame.insert(0, name, value, allow_duplicates=True)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _write(frame: pd.DataFrame) -> str:
    return (
        frame.map(_plain).rename(columns=_plain).to_csv(index=False, lineterminator="\n") if len(frame.columns) else ""
    )


def _plain(value: Any) -> Any:
    """Keep whole numbers whole, and formulas from being formulas in a spreadsheet."""
    if isinstance(value, float) and (math.isnan(value) or value.is_integer()):
        return "" if math.isnan(value) else int(value) if abs(value) < 2**53 else value
    if isinstance(value, str):
        value = visible(value)
        return "'" + value if value.lstrip()[:1] in ("=", "+", "-", "@") else value
    return value
