"""The command `orch` in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from ground import Ground, Said

from orchestrator.cli import main

Orch = Callable[..., Said]


@pytest.fixture
def orch(capsys: pytest.CaptureFixture[str]) -> Orch:
    """Run `orch WORDS` here; no terminal."""

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = main(list(words))
        return Said(code, *capsys.readouterr())

    return call


def _enter(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ground.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ground.project)


JOB = """
echo "fold $1 at $2"
test "$2" = 0.1 && { echo "ValueError: rate too high"; exit 3; }
echo '{"seq":0,"t":1.0,"kind":"start","device":"cpu"}' >> "$ORCH_RUN/events.jsonl"
for step in 1 2 3; do
  echo '{"seq":'$step',"t":2.0,"kind":"metrics","step":'$step',"values":{"val_dice":0.'$((step + $1))'}}'
done >> "$ORCH_RUN/events.jsonl"
echo '{"contract":1,"values":{"dice":0.'$((5 + $1))',"epochs":3}}' > "$ORCH_RUN/result.json"
"""


@pytest.fixture(scope="session")
def _swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A sweep that has ended: `rates`, two folds by three rates of which one fails; made once, only read by tests."""
    found = Ground(tmp_path_factory.mktemp("swept") / "ground")
    found.write("job.sh", JOB)
    lines = ["sweep: rates", "metric: dice", 'command: [sh, job.sh, "{fold}", "{lr}"]']
    found.write("sweeps/rates.yaml", *lines, "grid: {fold: [0, 1], lr: [1e-3, 1e-4, 0.1]}")
    assert found.orch("sweep", "rates").code == 1
    found.settle()
    yield found
    found.close()


@pytest.fixture
def swept(_swept: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Stand in the project whose sweep `rates` has ended (do not change it)."""
    _enter(_swept, monkeypatch)
    return _swept
