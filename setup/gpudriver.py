"""Which CUDA version a driver of NVIDIA brings (CUDA Toolkit release notes, table of toolkits and driver versions)."""

from __future__ import annotations

# First driver branch that knows a CUDA version; a branch between two knows the older one.
_BRANCHES = (
    (450, "11.0"),
    (455, "11.1"),
    (460, "11.2"),
    (465, "11.3"),
    (470, "11.4"),
    (495, "11.5"),
    (510, "11.6"),
    (515, "11.7"),
    (520, "11.8"),
    (525, "12.0"),
    (530, "12.1"),
    (535, "12.2"),
    (545, "12.3"),
    (550, "12.4"),
    (555, "12.5"),
    (560, "12.6"),
    (565, "12.7"),
    (570, "12.8"),
    (575, "12.9"),
    (580, "13.0"),
)


def cuda_of(driver: str) -> str | None:
    """Return the newest CUDA version that a driver knows: `12.3` for `545.23.08`; `13.0+` for newer branches."""
    branch = driver.split(".")[0]
    if not branch.isdigit():
        return None
    known = [version for first, version in _BRANCHES if first <= int(branch)]
    newer = int(branch) >= _BRANCHES[-1][0] + 10
    return known[-1] + ("+" if newer else "") if known else None
