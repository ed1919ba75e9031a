"""`orch hosts`, and what every command says when a host is asked for that cannot be: real files, real agents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.errors import AccessError, NotFound, Unreachable
from jobs.folder import Home
from orchestrator.cli import main
from orchestrator.config import Settings
from orchestrator.dispatch import Contact


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orch_home: Home) -> Path:
    """A project folder in which the command stands; two hosts are played by folders."""
    folder = tmp_path / "project"
    for name in ("", "grace", "ada"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "orch.yaml").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def site(here: Path) -> Path:
    lines = [f"  {name}: {{way: fake, address: {json.dumps(str(here / name))}}}" for name in ("grace", "ada")]
    path = here / "site.yaml"
    path.write_text("\n".join(["site: lab", "hosts:", *lines, "  far: {address: 10.1.2.3, user: me, port: 22}", ""]))
    return path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_without_a_site_file_there_is_this_machine(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "hosts")
    assert (code, out.splitlines()[1].split("\t")[:2]) == (0, ["local", "this machine"])
    assert "there is no site file; yours would be" in err


def test_hosts_are_listed_with_what_was_last_known(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "hosts")
    rows = [line.split("\t") for line in out.splitlines()[1:]]
    assert [row[:3] for row in rows[1:]] == [
        ["grace", f"fake {site.parent / 'grace'}", "nothing yet"],
        ["ada", f"fake {site.parent / 'ada'}", "nothing yet"],
        ["far", "ssh me@10.1.2.3:22", "nothing yet"],
    ]
    assert code == 0
    told(capsys, "doctor", "--host", "grace")
    listed = json.loads(told(capsys, "hosts", "--json")[1])
    grace = next(row for row in listed if row["name"] == "grace")
    assert grace["seen"]
    assert "cores" in grace["facts"]
    assert "ago" in told(capsys, "hosts")[1]


def test_a_host_that_fell_silent_keeps_its_facts(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "doctor", "--host", "ada")
    (site.parent / "ada/fault.json").write_text('{"error": "unreachable"}')
    assert told(capsys, "doctor", "--host", "ada")[0] == Unreachable.exit_code
    ada = next(row for row in json.loads(told(capsys, "hosts", "--json")[1]) if row["name"] == "ada")
    assert ada["facts"]
    assert "does not answer" in ada["error"]
    assert "silent since" in told(capsys, "hosts")[1]


# --- Contact


def contact(**more: str) -> Contact:
    return Contact(Settings.of({}), **more)  # type: ignore[arg-type]


def test_a_contact_leads_to_this_machine_or_to_any_host_of_the_site_file(site: Path, orch_home: Home) -> None:
    with contact() as here, contact(host="grace") as grace, contact(host="ada") as ada:
        names = (here.name, grace.name, ada.name)
        assert names == ("local", "grace", "ada")
        assert len({here.home_id, grace.home_id, ada.home_id}) == 3
    assert (site.parent / "grace/.orch/home.json").exists()
    assert Path(orch_home.identity).exists()


def test_a_refusal_comes_through_with_its_exit_code(site: Path) -> None:
    (site.parent / "ada/fault.json").write_text('{"error": "unknown key"}')
    with pytest.raises(AccessError, match="host key of ada is not known: SHA256:"):
        contact(host="ada")


# --- Bad input


def test_an_unknown_host_names_the_nearest(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "doctor", "--host", "garce")
    assert code == NotFound.exit_code
    assert "no host 'garce'. Did you mean 'grace'?" in err
    assert "hosts are: local, grace, ada, far" in err


def test_a_host_without_any_site_file_says_what_to_write(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "doctor", "--host", "grace")
    assert code == NotFound.exit_code
    assert "no host 'grace': there is no site file yet" in err
    assert f"write {here / 'site.yaml'} with the line:  hosts: {{grace: {{ssh: grace}}}}" in err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hosts:\n  grace: {ssh: grace\n", "site.yaml:"),
        ("hosts:\n\tgrace: 1\n", "site.yaml:2"),
        ("hosts:\n  grace: {shs: grace}\n", "Did you mean 'ssh'?"),
        ("hosts:\n  grace: {ssh: -oProxyCommand=x}\n", "cannot be part of a connection"),
        ("hosts:\n  grace: {address: a b}\n", "cannot be part of a connection"),
        ("hosts:\n  grace: {ssh: g, port: 70000}\n", "must be a port number"),
        ("hosts:\n  grace: {ssh: g, way: shh}\n", "'shh' is none. Did you mean 'ssh'?"),
        ("hosts:\n  grace: {ssh: g, scheduler: pbs}\n", "'pbs' is none"),
        ("hosts:\n  grace: {ssh: g, quota: much}\n", "must be a size"),
        ("hosts:\n  grace: {ssh: g, expect: [x]}\n", "must be a mapping of texts"),
    ],
)
@pytest.mark.usefixtures("orch_home")
def test_a_site_file_that_cannot_be_understood(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    (here / "site.yaml").write_text(text)
    code, _, err = told(capsys, "hosts")
    assert code == 2
    assert expected in err
    assert "fix:" in err
