"""What every way to a host must do: inherit, and say in `make_pipe` how a program is reached over it."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, until

from jobs.errors import ContractError, DiskError, OrchError, Unreachable, UsageError, WireError
from jobs.pipe import Pipe
from jobs.wire import Wire, boot_arguments

TOO_OLD = """#!{python} -I
import sys
sys.version_info = (3, 6, 8, "final", 0)
sys.version = "3.6.8 (default)"
exec(sys.argv[sys.argv.index("-c") + 1])
"""
# Looked for before the tests get a home of their own.
PYENV = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
OLD_PYTHONS = sorted(PYENV.glob("versions/3.[678].*/bin/python"))


class PipeSuite:
    """Behaviour of a pipe, and of the wire over it."""

    def make_pipe(self, argv: list[str]) -> Pipe:
        """Return a pipe to a program on the host."""
        raise NotImplementedError

    def wire(self, argv: list[str] | None = None, timeout: float = 30) -> Wire:
        return Wire(self.make_pipe(argv or boot_arguments(sys.executable)), timeout=timeout)

    def noisy(self, noise: str) -> list[str]:
        """An agent behind a start-up file that prints."""
        agent = shlex.join(boot_arguments(sys.executable))
        return ["/bin/sh", "-c", f"{noise}; exec {agent}"]

    def open(self, host: LocalHost, **more: Any) -> Wire:
        wire = self.wire(**more)
        wire.call("open", home=host.home.path)
        return wire

    def test_it_answers(self, host: LocalHost) -> None:
        with self.wire() as wire:
            about = wire.call("open", home=host.home.path)
        assert about["home"] == host.home.path
        assert about["contract"] == 1

    def test_what_is_asked_ahead_is_answered_in_its_turn(self, host: LocalHost) -> None:
        first = ("open", {"home": host.home.path})
        with Wire(self.make_pipe(boot_arguments(sys.executable)), timeout=30, first=first) as wire:
            last, wrong = wire.post("open", home=host.home.path), wire.post("no such verb")
            stream = wire.stream("collect")
            assert next(stream) == []
            stream.close()  # what still comes of it is thrown away
            assert wire.answer(last) == wire.answer(wire.first)
            with pytest.raises(OrchError, match="no such verb"):
                wire.answer(wrong)
            assert wire.call("open", home=host.home.path)["home"] == host.home.path

    @pytest.mark.parametrize(
        "noise",
        [
            "echo Welcome; echo Last login: today",
            "printf 'no line end'",
            "head -c 200000 /dev/urandom",
            "head -c 65530 /dev/zero",
            r"printf '12\n{\"ok\": 1}\n!refused\n'",
            "echo to standard error >&2",
        ],
    )
    def test_noise_before_the_marker_is_skipped(self, host: LocalHost, noise: str) -> None:
        with self.wire(self.noisy(noise)) as wire:
            assert wire.call("open", home=host.home.path)["contract"] == 1

    @pytest.mark.slow
    def test_noise_without_end_is_given_up(self) -> None:
        with pytest.raises(WireError, match="did not start our agent"):
            self.wire(["/bin/sh", "-c", "cat > /dev/null & exec yes"])

    def test_a_program_that_leaves_is_unreachable_with_its_last_word(self) -> None:
        with pytest.raises(Unreachable, match="Permission denied"):
            self.wire(["/bin/sh", "-c", "echo Permission denied >&2; exit 255"])

    def test_a_program_that_says_something_else_is_named(self) -> None:
        with pytest.raises((WireError, Unreachable), match=r"did not start our agent|does not answer"):
            self.wire(["/bin/sh", "-c", "echo hello; sleep 0.2"])

    @pytest.mark.slow
    def test_a_program_that_reads_nothing_holds_nobody_for_ever(self) -> None:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no answer within 1 s"):
            self.wire(["sleep", "100"], timeout=1)
        assert time.monotonic() - began < 20

    def test_a_python_that_is_too_old_gets_a_clear_word(self, tmp_path: Path) -> None:
        python = tmp_path / "python3"
        python.write_text(TOO_OLD.format(python=sys.executable))
        python.chmod(0o755)
        with pytest.raises(WireError, match=r"Python 3\.6\.8 at .* is too old; orch needs 3\.9") as caught:
            self.wire(boot_arguments(str(python)))
        assert caught.value.hint == "install a newer Python on the host"

    @pytest.mark.parametrize("version", ["3.6", "3.7", "3.8"])
    def test_real_old_pythons_too(self, version: str) -> None:
        found = [path for path in OLD_PYTHONS if path.parts[-3].startswith(version + ".")]
        if not found:
            pytest.skip(f"no Python {version} on this machine: pyenv install {version}")
        with pytest.raises(WireError, match="is too old"):
            self.wire(boot_arguments(str(found[0])))

    def test_unknown_verbs_and_early_verbs_are_refused_and_the_wire_goes_on(self, host: LocalHost) -> None:
        with self.wire() as wire:
            for verb in ("fly", "__init__", "collector", "_sort_out"):
                with pytest.raises(UsageError, match="has no verb"):
                    wire.call(verb)
            with pytest.raises(UsageError, match="no orch home yet"):
                wire.call("show", sweep="s", job="x")
            with pytest.raises(OrchError, match="the agent failed"):
                wire.call("open", nonsense=1)
            assert wire.call("open", home=host.home.path)["contract"] == 1

    def test_errors_keep_their_kind_and_their_repair(self, host: LocalHost) -> None:
        with self.open(host) as wire, pytest.raises(ContractError) as caught:
            wire.call("submit", record=None, jobs=[{"contract": 99}])
        assert "newer" in caught.value.hint
        Path(host.home.path, "file").write_text("")
        with self.wire() as wire, pytest.raises(DiskError):
            wire.call("open", home=host.home.path + "/file")

    def test_big_frames_both_ways_at_once_do_not_deadlock(self, host: LocalHost) -> None:
        """Injected: 20 MB of request while 20 MB of answer wait. Lost: nothing."""
        job = host.job("big", ("/bin/true",))
        host.run(job)
        Path(host.folder(job).log).write_text("é" * 10_000_000)
        with self.open(host) as wire:
            stream = wire.stream("log", sweep="s", job=job["id"])
            next(stream)  # the agent goes on writing
            wire.call("note", sweep="s", job=None, kind="note", text="x" * 20_000_000)
            parts = []
            stream = wire.stream("log", sweep="s", job=job["id"])
            try:
                while True:
                    parts.append(next(stream))
            except StopIteration as stop:
                assert stop.value["offset"] == 20_000_000
        assert "".join(parts) == "é" * 10_000_000

    def test_a_stream_that_is_not_read_to_its_end_spoils_no_later_answer(self, host: LocalHost) -> None:
        job = host.job("a", ("/bin/echo", "x"))
        host.run(job)
        with self.open(host) as wire:
            for _ in range(5):
                next(wire.stream("log", sweep="s", job=job["id"]))
                assert wire.call("show", sweep="s", job=job["id"])["attempts"][0]["path"] == host.folder(job).path

    def test_an_agent_killed_in_the_middle_is_unreachable_at_once(self, host: LocalHost) -> None:
        """Injected: SIGKILL to the agent while it follows a log, 3 times. Lost: nothing; the job goes on."""
        job = host.job("long", ("/bin/sleep", "60"))
        host.submit(job)
        until(lambda: host.state(job) == "running", what="running")
        for _ in range(3):
            before = set(host.processes())
            wire = self.open(host)
            (agent,) = (pid for pid in set(host.processes()) - before if pid in host.agents())
            stream = wire.stream("log", sweep="s", job=job["id"], follow=True)
            os.kill(agent, signal.SIGKILL)
            began = time.monotonic()
            with pytest.raises(Unreachable):
                list(stream)
            assert time.monotonic() - began < 10
            wire.close()
        assert host.state(job) == "running"

    def test_a_log_is_followed_past_silence_to_its_end(self, host: LocalHost) -> None:
        job = host.job("slow", ("/bin/sh", "-c", "printf 'é1\\n'; sleep 1; printf 'é2\\n'"))
        host.submit(job)
        until(lambda: host.state(job) == "running", what="running")
        with self.open(host) as wire:
            assert "".join(wire.stream("log", sweep="s", job=job["id"], follow=True)) == "é1\né2\n"

    def test_two_wires_at_once(self, host: LocalHost) -> None:
        with self.open(host) as one, self.open(host) as other:
            for number in range(20):
                wire = (one, other)[number % 2]
                wire.call("note", sweep="s", job=None, kind="note", text=str(number))
        end = host.wire.stream("collect")
        try:
            while True:
                next(end)
        except StopIteration as stop:
            lines = stop.value["journal"]["lines"]
        assert [line["text"] for line in lines] == [str(number) for number in range(20)]
        assert [line["seq"] for line in lines] == list(range(20))

    def test_closing_twice_is_allowed_and_a_closed_wire_is_unreachable(self, host: LocalHost) -> None:
        wire = self.open(host)
        wire.close()
        wire.close()
        with pytest.raises(Unreachable):
            wire.call("probe")
