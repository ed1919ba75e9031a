"""Which job runs on which host: whole blocks, kinds that compute alike, what is known of the pace."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from jobs.spec import Cell, JobSpec, Resources
from orchestrator.placement import Block, Offer, blocks_of, describe, lanes, place
from orchestrator.plan import Capacity

ARM, X86 = "aarch64 H100", "x86_64 A10"
GRACE, ADA, NODAL = Offer("grace", ARM, 1, 60.0), Offer("ada", ARM, 1, 60.0), Offer("nodal", X86, 1, 240.0)
FOLDS = [Block(f"fold {fold}", tuple(f"{fold}-{name}" for name in "abcd")) for fold in range(5)]


def test_a_block_stays_on_hosts_of_one_kind() -> None:
    placed = place(FOLDS, [GRACE, ADA, NODAL._replace(seconds=120.0)])
    for block in FOLDS:
        assert len({placed.hosts[job] == "nodal" for job in block.jobs}) == 1
    assert Counter(placed.hosts.values()) == {"grace": 8, "ada": 8, "nodal": 4}
    assert set(placed.finish.values()) == {480.0}


def test_a_host_that_would_be_last_gets_nothing() -> None:
    placed = place(FOLDS, [GRACE, ADA, NODAL])  # a block takes 960 s on nodal, all of them 600 s on the other two
    assert Counter(placed.hosts.values()) == {"grace": 10, "ada": 10}
    assert placed.finish == {"grace": 600.0, "ada": 600.0, "nodal": 0.0}


def test_the_first_comparison_is_there_after_a_part_of_the_time() -> None:
    placed = place(FOLDS, [GRACE, ADA])
    assert placed.first == ("fold 0", 120.0)
    assert max(placed.finish.values()) == 600.0
    assert "first complete comparison (fold 0) after about 2 min" in describe(placed)[-1]


def test_what_waits_there_already_counts() -> None:
    placed = place([Block("", ("one",))], [GRACE._replace(ahead=3), NODAL])
    assert placed.hosts == {"one": "grace"} and placed.finish["grace"] == 240.0
    assert place([Block("", ("one",))], [GRACE._replace(ahead=4), NODAL]).hosts == {"one": "nodal"}


def test_without_history_hosts_count_as_equal_and_it_is_said() -> None:
    placed = place(FOLDS[:2], [GRACE._replace(seconds=None), NODAL._replace(seconds=None)])
    assert Counter(placed.hosts.values()) == {"grace": 4, "nodal": 4}
    assert describe(placed) == ["grace 4 · nodal 4   (no history yet: all hosts counted as equal)"]
    assert "no history" in placed.reasons["0-a"]


def test_a_host_without_history_is_guessed_from_the_others() -> None:
    placed = place(FOLDS[:2], [GRACE, NODAL._replace(seconds=None)])
    assert placed.seconds == {"grace": 60.0, "nodal": 60.0} and placed.known == {"grace"}
    assert "nodal guessed" in describe(placed)[0]


@given(
    st.lists(st.integers(1, 6), max_size=8),
    st.lists(
        st.tuples(st.sampled_from("xy"), st.integers(1, 4), st.none() | st.floats(0.1, 1e4), st.integers(0, 9)),
        min_size=1,
        max_size=5,
    ),
)
def test_every_job_once_and_never_one_block_on_two_kinds(sizes: list[int], made: list[tuple]) -> None:  # type: ignore[type-arg]
    blocks = [Block(f"b{number}", tuple(f"{number}-{job}" for job in range(size))) for number, size in enumerate(sizes)]
    offers = [Offer(f"h{number}", *each) for number, each in enumerate(made)]
    kinds = {offer.host: offer.kind for offer in offers}
    placed = place(blocks, offers)
    assert set(placed.hosts) == {job for block in blocks for job in block.jobs} == set(placed.reasons)
    assert all(len({kinds[placed.hosts[job]] for job in block.jobs}) == 1 for block in blocks)
    assert set(placed.hosts.values()) <= set(kinds)


def test_blocks_of_folds_and_seeds() -> None:
    def spec(**names: object) -> JobSpec:
        return JobSpec("s", str(names), names, Cell("command", {"grid": names}), ("true",), "/", {}, Resources())

    folds = blocks_of([spec(strategy=name, fold=fold, seed=1) for name in "ab" for fold in (0, 1)])
    assert [(block.name, len(block.jobs)) for block in folds] == [("fold 0", 2), ("fold 1", 2)]
    seeds = blocks_of([spec(fold=0, seed=seed) for seed in (1, 2)])
    assert [block.name for block in seeds] == ["fold 0, seed 1", "fold 0, seed 2"]
    assert [block.name for block in blocks_of([spec(n=1), spec(n=2)])] == ["", ""]
    assert blocks_of([]) == []


def test_lanes() -> None:
    gh200 = Capacity(72, 1, None, 97871)
    assert lanes(Resources(cpus=4), gh200) == 18
    assert lanes(Resources(cpus=4, gpus=1), gh200) == 1
    assert lanes(Resources(cpus=4, gpus=1, gpu_memory_mb=30000), gh200) == 3
    assert lanes(Resources(gpus=2), gh200) == 0
    assert lanes(Resources(), Capacity(8, 0, 3)) == 3
    assert lanes(Resources(cpus=16), Capacity(8, 0, None)) == 1  # it runs alone, with fewer cores
