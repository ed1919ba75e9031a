"""What every way to a host must do: inherit, and say in the fixture `host` which host it leads to."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from jobs.errors import Unreachable, UsageError
from jobs.wire import Wire
from setup.site import Host
from setup.ways import open_pipe


class WaySuite:
    """Behaviour of a way, seen through the wire."""

    @pytest.fixture
    def host(self) -> Any:
        """A `Host` that is reached in this way, with an orch home of its own that may be made."""
        raise NotImplementedError

    def wire(self, host: Host) -> Wire:
        return Wire(open_pipe(host), timeout=60)

    def open(self, host: Host) -> Wire:
        wire = self.wire(host)
        self.about = wire.call("open", home=str(host.home))
        return wire

    def test_it_leads_to_an_agent_that_tells_the_host(self, host: Host) -> None:
        with self.wire(host) as wire:
            facts = wire.call("probe")
        assert facts["system"] == "Linux"
        assert tuple(map(int, facts["python"].split(".")[:2])) >= (3, 9)

    def test_one_connection_serves_many_requests(self, host: Host) -> None:
        with self.open(host) as wire:
            for number in range(30):
                wire.call("note", sweep="s", job=None, kind="note", text=str(number))
            assert self.notes(wire) == [str(number) for number in range(30)]

    def notes(self, wire: Wire) -> list[str]:
        stream = wire.stream("collect")
        while True:
            try:
                next(stream)
            except StopIteration as stop:
                return [line["text"] for line in stop.value["journal"]["lines"]]

    def test_every_character_arrives_and_big_requests_too(self, host: Host) -> None:
        text = "".join(map(chr, [*range(1, 256), 0x2028, 0x1F40D])) * 600  # a note may be half a MiB long
        with self.open(host) as wire:
            wire.call("note", sweep="s", job=None, kind="note", text=text)
            assert self.notes(wire) == [text]

    def test_errors_keep_their_kind_and_the_wire_goes_on(self, host: Host) -> None:
        with self.open(host) as wire:
            with pytest.raises(UsageError, match="has no verb"):
                wire.call("fly")
            wire.call("note", sweep="s", job=None, kind="note", text="after")

    def test_two_at_once(self, host: Host) -> None:
        with self.open(host) as one, self.open(host) as other:
            threads = [
                threading.Thread(target=self._write, args=(wire, name)) for wire, name in ((one, "a"), (other, "b"))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert sorted(self.notes(one)) == ["a"] * 5 + ["b"] * 5

    def _write(self, wire: Wire, text: str) -> None:
        for _ in range(5):
            wire.call("note", sweep="s", job=None, kind="note", text=text)

    def test_closing_is_quick_may_be_done_twice_and_is_the_end(self, host: Host) -> None:
        wire = self.open(host)
        began = time.monotonic()
        wire.close()
        assert time.monotonic() - began < 4
        wire.close()
        with pytest.raises(Unreachable):
            wire.call("probe")
