"""The site file's key `courtesy`: what the host keeps of it, and errors that name the line and the repair."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.courtesy import Wishes
from jobs.errors import SpecError
from orchestrator.inventory import read_site


def site(tmp_path: Path, courtesy: str) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(f"hosts:\n  nodal:\n    ssh: nodal\n    courtesy: {courtesy}\n")
    return path


def test_wishes_reach_the_host_as_it_keeps_them(tmp_path: Path) -> None:
    text = "{quiet_hours: 08:00-19:00, foreign_memory: 700 MB, free_memory: 4 GB, prefer: [1, 0], look: 5, grace: 60}"
    host = read_site(site(tmp_path, text)).host("nodal")
    assert Wishes.from_json(dict(host.courtesy)) == Wishes(700, 4096, (1, 0), ("08:00-19:00",), 5.0, 60.0)
    several = read_site(site(tmp_path, "{quiet_hours: [mon-fri 08:00-12:00, 13:00-19:00]}")).host("nodal")
    assert Wishes.from_json(dict(several.courtesy)).quiet_hours == ("mon-fri 08:00-12:00", "13:00-19:00")
    assert not read_site(site(tmp_path, "")).host("nodal").courtesy


@pytest.mark.parametrize(
    ("courtesy", "words"),
    [
        ("yes", "must be a mapping"),
        ("{quiet_hour: 08:00-19:00}", "unknown key. Did you mean 'quiet_hours'?"),
        ("{quiet_hours: 8-19}", "are no hours: '8-19'"),
        ("{foreign_memory: 500}", "must be an amount of memory, not 500"),
        ("{free_memory: lots}", "must be an amount of memory, not 'lots'"),
        ("{prefer: 1}", "must be a list of cards' indexes, not 1"),
        ("{look: 0}", "must be seconds from 1 to 3600, not 0"),
        ("{grace: true}", "must be seconds from 0 to 3600, not True"),
    ],
)
def test_a_wish_that_is_none_names_its_line_and_the_repair(tmp_path: Path, courtesy: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_site(site(tmp_path, courtesy))
    assert words in caught.value.message
    assert "site.yaml:4" in caught.value.message
    assert caught.value.hint
