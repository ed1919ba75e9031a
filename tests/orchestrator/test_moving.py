"""Which jobs move to an idle host: only what has not begun, whole comparisons, what a host's fault has hit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.moving import moves
from orchestrator.placement import Offer
from orchestrator.store import JobRow

GRACE, ADA, NODAL = Offer("grace", "arm", 1, 60.0), Offer("ada", "arm", 1, 60.0), Offer("nodal", "x86", 1, 240.0)
SILENT = {"ada": "it does not answer"}


def row(number: int, host: str, state: str = "queued", known: str = "", reason: str = "", **names: int) -> JobRow:
    shown = names or {"n": number}
    return JobRow(
        "s", f"{number:016x}", str(number), shown, number, state, 1, 0, reason, "", host, known or state, None, None
    )


def offered(*some: Offer) -> dict[str, Offer]:
    return {offer.host: offer for offer in some}


def moved(*given: object, **more: object) -> list[tuple[str, str, str]]:
    return [(move.job.label, move.source, move.target) for move in moves(*given, **more)]  # type: ignore[arg-type]


def test_the_last_in_a_queue_goes_to_the_idle_host() -> None:
    rows = [row(0, "grace", "running"), row(1, "grace"), row(2, "grace")]
    assert moved(rows, offered(GRACE, ADA), {}) == [("2", "grace", "ada")]
    assert moves(rows, offered(GRACE, ADA), {})[0].why == "ada is idle"


def test_not_to_a_host_that_would_take_longer() -> None:
    short = [row(0, "grace", "running"), row(1, "grace")]
    assert moved(short, offered(GRACE, NODAL), {}) == []  # there in 240 s, here in 120 s
    long = [row(0, "grace", "running"), *(row(number, "grace") for number in range(1, 9))]
    assert moved(long, offered(GRACE, NODAL), {}) == [("8", "grace", "nodal")]


def test_what_runs_or_is_held_stays() -> None:
    assert moved([row(0, "grace", "running"), row(1, "ada", "done")], offered(GRACE, ADA), {}) == []
    held = [row(1, "grace", reason="held: 2 jobs failed alike (orch release s)")]
    assert moved([row(0, "grace", "running"), *held], offered(GRACE, ADA), {}) == []


def test_nothing_moves_to_a_host_that_holds_the_sweep() -> None:
    rows = [row(0, "grace", "running"), row(1, "grace"), row(2, "ada", reason="held: 2 jobs failed alike")]
    assert moved(rows, offered(GRACE, ADA), {}) == []


def test_a_silent_hosts_waiting_jobs_go_and_its_running_ones_do_not() -> None:
    rows = [row(0, "ada", "unreachable", "running"), row(1, "ada", "unreachable", "queued")]
    assert moved(rows, offered(NODAL), SILENT) == [("1", "ada", "nodal")]


def test_no_more_than_the_idle_host_has_lanes() -> None:
    rows = [row(number, "ada", "unreachable", "queued") for number in range(9)]
    assert len(moved(rows, offered(GRACE._replace(lanes=3), NODAL), SILENT)) == 4


def test_an_unfit_host_gives_away_what_failed_what_waits_and_what_is_held_there() -> None:
    rows = [
        row(0, "ada", "failed"),
        row(1, "ada", reason="held: the GPUs of ada are out of use"),
        row(2, "ada"),
        row(3, "ada", "failed"),  # of another kind: a mistake in the code
        row(4, "ada", "running"),
    ]
    unfit = {"ada": "gpu lost there: Xid 79"}
    found = moved(rows, offered(GRACE._replace(lanes=9)), unfit, failed={f"{0:016x}"})
    assert sorted(found) == [("0", "ada", "grace"), ("1", "ada", "grace"), ("2", "ada", "grace")]


def test_a_comparison_moves_to_another_kind_as_a_whole_and_only_before_it_has_begun() -> None:
    begun = [row(0, "grace", "running", fold=0), row(1, "grace", fold=0)]
    whole = [row(number, "grace", fold=1) for number in range(2, 9)]
    idle = NODAL._replace(seconds=30.0)
    assert moved(begun, offered(GRACE, idle), {}) == []
    assert {label for label, _, _ in moved([*begun, *whole], offered(GRACE, idle), {})} == set("2345678")
    assert {label for label, _, _ in moved([*begun, *whole], offered(GRACE, ADA), {})} == {"8"}  # they compute alike


STATES = st.sampled_from(
    [
        ("queued", ""),
        ("running", ""),
        ("done", ""),
        ("failed", ""),
        ("unreachable", "queued"),
        ("unreachable", "running"),
    ]
)


@given(st.lists(st.tuples(st.sampled_from(["grace", "ada", "nodal"]), STATES, st.integers(0, 3)), max_size=20))
def test_it_always_ends_and_never_touches_what_may_have_begun(made: list[tuple[str, tuple[str, str], int]]) -> None:
    rows = [row(number, host, *state, fold=fold) for number, (host, state, fold) in enumerate(made)]
    found = moves(rows, offered(GRACE, NODAL), SILENT)
    assert len({move.job.id for move in found}) == len(found)
    for move in found:
        assert "queued" in (move.job.state, move.job.known_state)
        assert move.target in ("grace", "nodal") and move.target != move.job.host == move.source
