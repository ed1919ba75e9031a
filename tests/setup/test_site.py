"""The inventory, read from real YAML files with the one loader that all files of ours go through."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import NotFound, SpecError
from orchestrator.inventory import read_site
from orchestrator.yamlfile import parse
from setup.site import LOCAL, Host, Site, shipped


def site(text: str) -> Site:
    return Site.of(parse(text, "site.yaml"))


def test_local_is_always_there() -> None:
    assert Site().host(LOCAL) == Host(LOCAL)
    assert site("").host(LOCAL).is_local
    assert list(site("hosts: {nodal: {ssh: nodal}}").hosts) == [LOCAL, "nodal"]


def test_a_host_says_how_it_is_reached_and_what_it_has() -> None:
    found = site("site: lab\nhosts:\n  nodal: {ssh: gpu1, home: /data/orch, python: /opt/py/bin/python}\n")
    assert found.name == "lab"
    assert found.host("nodal") == Host("nodal", "gpu1", "/data/orch", "/opt/py/bin/python")
    assert not found.host("nodal").is_local


def test_local_can_be_told_its_python() -> None:
    assert site("hosts: {local: {python: /opt/py}}").host(LOCAL) == Host(LOCAL, python="/opt/py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hots: {}", "site.yaml:1  hots: unknown key. Did you mean 'hosts'?"),
        ("hosts:\n  a:\n    shs: x", "site.yaml:3  hosts.a.shs: unknown key. Did you mean 'ssh'?"),
        ("hosts: [a]", "site.yaml:1  hosts: must be a mapping"),
        ("- a", "site.yaml:1  a site file names its hosts"),
        ("hosts:\n  a: b", "site.yaml:2  hosts.a: must be a mapping"),
        ("hosts:\n  a: {ssh: 3}", "site.yaml:2  hosts.a.ssh: must be a text, not 3"),
        ("hosts:\n  a/b: {ssh: x}", "site.yaml:2  hosts.a/b: cannot be a host's name"),
        ("hosts:\n  a: {home: /x}", "site.yaml:2  hosts.a: does not say how it is reached"),
        ("hosts:\n  local: {ssh: x}", "site.yaml:2  hosts.local.ssh: `local` is this machine and needs no ssh"),
    ],
)
def test_what_cannot_be_understood_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        site(text)
    assert caught.value.message == message
    assert caught.value.hint


def test_an_unknown_host_names_the_nearest_and_all() -> None:
    with pytest.raises(NotFound, match=r"no host 'noadl'\. Did you mean 'nodal'") as caught:
        site("hosts: {nodal: {ssh: nodal}}").host("noadl")
    assert caught.value.hint == "hosts are: local, nodal"


def test_an_inventory_cannot_be_changed_by_its_readers() -> None:
    with pytest.raises(TypeError):
        Site().hosts["x"] = Host("x")  # type: ignore[index]


def test_a_file_is_read_like_any_other_of_ours(tmp_path: Path) -> None:
    from orchestrator.yamlfile import load

    path = tmp_path / "site.yaml"
    path.write_text("hosts: {ada: {ssh: ada}}\n", encoding="utf-8")
    assert Site.of(load(path)).host("ada").ssh == "ada"


def test_a_lab_whose_hosts_are_shipped_needs_only_its_user_name(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("extends: pilcam2\nuser: alice\nhosts:\n  ada: {ssh: my-ada, user: root}\n  own: {ssh: x}\n")
    found = read_site(path)
    assert found.name == "pilcam2"
    assert list(found.hosts) == [LOCAL, "nodal", "grace", "ada", "own"]
    assert [found.host(name).user for name in found.hosts] == [None, "alice", "alice", "root", "alice"]
    assert (found.host("ada").ssh, found.host("ada").expect["architecture"]) == ("my-ada", "aarch64")
    assert found.contact is not None and found.contact["fr"] != found.contact["en"]


def test_a_shipped_site_that_does_not_exist_is_named_with_its_nearest(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("extends: pilcam\n")
    with pytest.raises(NotFound, match="Did you mean 'pilcam2'"):
        read_site(path)
    assert shipped("pilcam2").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contact: [a]", "contact: must be a text, or one in each language"),
        ("hosts: {a: {ssh: a, shared_with: {en: x}}}", "shared_with: must be a text, or one in each language"),
        ("hosts: {a: {ssh: a, fingerprint: md5}}", "fingerprint: must be a fingerprint"),
        ("user: -oProxyCommand=x", "user: cannot be part of a connection"),
        ("hosts: {a: {ssh: a, slurm: gpu}}", "slurm: must be a mapping"),
        ("hosts: {a: {ssh: a, slurm: {partitions: gpu}}}", "Did you mean 'partition'"),
        ("hosts: {a: {ssh: a, slurm: {time: 2h}}}", "slurm.time: must be minutes, a whole number, not '2h'"),
        ("hosts: {a: {ssh: a, slurm: {options: [x]}}}", "slurm.options: must be a mapping"),
        ("hosts: {a: {ssh: a, slurm: {arch: aarch65}}}", "Did you mean 'aarch64'"),
        ("hosts: {a: {ssh: a, slurm: {partition: {arm64: gh}}}}", "slurm.partition.arm64: unknown key. Did you mean"),
        ("hosts: {a: {ssh: a, slurm: {partition: {aarch64: 1}}}}", "must be a text, or one for each architecture"),
        ("hosts: {a: {ssh: a, slurm: {partition: {x86_64: g}, arch: x86_64}}}", "is said by `partition` already"),
        ("hosts: {a: {ssh: a, python: {aarch64: }}}", "python: must be a text, or one for each architecture"),
    ],
)
def test_what_documents_need_is_checked(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        site(text)


def test_slurm_is_asked_once_for_each_architecture() -> None:
    text = "hosts: {a: {ssh: a, scheduler: slurm, python: {x86_64: /x, aarch64: /a}, slurm: {qos: q, partition: %s}}}"
    both = site(text % "{x86_64: gpu, aarch64: gh}").host("a")
    asked = [(order["arch"], order["partition"], order["qos"]) for order in both.orders]
    assert asked == [("x86_64", "gpu", "q"), ("aarch64", "gh", "q")]
    assert (both.python_of("aarch64"), both.python_of(None)) == ("/a", None)
    (one,) = site(text % "gpu").host("a").orders
    assert (one["arch"], one["partition"], one["python"]) == (None, "gpu", {"x86_64": "/x", "aarch64": "/a"})
    assert site("hosts: {a: {ssh: a, slurm: {partition: gpu}}}").host("a").orders == ()
