"""What the spikes decided still holds: each runs here at its smallest size; `doc/spikes.md` has the full figures."""

from collections.abc import Sequence

import pytest

from qa.load.promptness import prompt
from qa.spikes import capabilities, increments, leases, making, reclaim, sizes
from qa.spikes.clients import Stage
from qa.spikes.results import Row

SECONDS = 0.7


def _with(rows: Sequence[Row], column: str) -> list[Row]:
    found = [row for row in rows if column in row]
    assert found
    return found


@pytest.fixture(scope="module")
def sizes_rows() -> list[Row]:
    return sizes.spike(SECONDS)


@pytest.fixture(scope="module")
def making_rows() -> list[Row]:
    return making.spike(SECONDS)


def test_no_wrong_pair_is_believed(sizes_rows: list[Row]) -> None:
    for row in _with(sizes_rows, "looks"):
        assert row["believed"] > 20
        assert row["believed wrongly"] == 0


def test_an_xattr_written_after_its_data_was_flushed_never_stands_without_it(sizes_rows: list[Row]) -> None:
    flushed = {row["data flushed before the xattr"]: row for row in _with(sizes_rows, "kills")}
    assert flushed["yes"]["believed without its data"] == 0
    assert flushed["no"]["believed without its data"] > 0


def test_a_half_made_file_is_closed_to_all_but_root(making_rows: list[Row]) -> None:
    for row in _with(making_rows, "open to read"):
        refused = row["by"] != "root" and row["after"] != "complete"
        assert (row["open to read"] == "EACCES") is refused
        assert (row["truncate"] == "EACCES") is refused


def test_a_crash_while_making_leaves_mode_zero(making_rows: list[Row]) -> None:
    for row in _with(making_rows, "killed after"):
        assert row["what is there"] == "nothing" or row["what is there"].startswith("mode 0,")


def test_a_lease_excludes_and_a_delegation_is_never_granted_to_one_of_many() -> None:
    with Stage() as stage:
        rows = {row["3 openers, lease"]: row for row in leases.contention(stage, SECONDS)}
        assert rows["lock object"]["additions"] > 10
        assert rows["lock object"]["lost"] == 0
        assert rows["delegation"]["additions"] == 0
        assert rows["none"]["lost"] > 0


def test_a_dead_holder_holds_nobody_up_for_five_seconds() -> None:
    with Stage() as stage:
        for row in leases.deaths(stage, ["reset by uuid"]):
            prompt(row["in all s"], 5)


def test_a_lock_by_our_own_encoding_lives_as_long_as_asked_for() -> None:
    with Stage() as stage:
        rows = {row["lock of 2 s by"]: row for row in leases.durations(stage)}
        prompt(rows["Ioctx.execute"]["most"], 2.2)


def test_a_holder_that_was_reset_cannot_write() -> None:
    with Stage() as stage:
        rows = {
            row["holder slept, remedy"]: row for row in leases.stale_writers(stage, ["none", "reset by uuid"])
        }
        assert rows["none"]["its next write"] == "accepted"
        assert rows["reset by uuid"]["its next write"] == "ESHUTDOWN"
        assert "LATE" not in rows["reset by uuid"]["the file has"]


def test_a_reset_frees_at_once() -> None:
    with Stage() as stage:
        row = reclaim.freed(stage, "reset", "paused, dirty", repeats=1)
    prompt(row["longest mount s"] + row["longest remedy s"] + row["longest first change s"], 2)
    assert row["its writes afterwards"] == "ESHUTDOWN"


def test_leased_increments_lose_nothing_and_asserted_ones_must_exclude_truncates() -> None:
    for row in increments.spike(SECONDS):
        over = row["neighbour"] in {"truncates over it", "punches it"}
        if row["scheme"] == "leased" or not over:
            assert row["lost"] == 0, row
        assert row["additions"] > 0


def test_capabilities_with_fb_and_fx_mean_alone() -> None:
    with Stage() as stage:
        alone = capabilities.seen(stage, "nobody", SECONDS)
        shared = [capabilities.seen(stage, other, SECONDS) for other in ("reader, idle", "writer, idle")]
    assert alone["with Fx"] == alone["with Fb"] == alone["looks"] > 10
    for row in shared:
        assert row["looks"] > 10
        assert row["with Fx"] == row["with Fb"] == 0
