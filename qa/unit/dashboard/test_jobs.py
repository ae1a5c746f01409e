"""Jobs in words: titles, and what came of them."""

import json
from dataclasses import asdict, fields
from typing import Any

import pytest

from dashboard_ui.jobs import LISTED, NOUNS, TERMS, Fact, Group, asked, outcome, title
from mgr_fscrypt.messages import migration_job, subtree_job
from mgr_fscrypt.messages.job import result_text
from mgr_fscrypt.messages.subtree import Policy, SubtreeFacts
from mgr_fscrypt.service.kinds import kinds_of

FACTS = SubtreeFacts(1099511627776, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, "ab" * 16))
STANDING = migration_job.Standing(
    direction="encrypt",
    key="ab" * 16,
    state="done",
    source=1099511627777,
    passes=2,
    copied=1200,
    bytes=614_400,
    verified=1300,
    gap=0.0021,
    facts=FACTS,
    snapshots=(),
    kept_until=0,
    left_out=0,
)


def told(groups: Any) -> dict[str, dict[str, Fact]]:
    return {group.heading: {fact.term: fact for fact in group.facts} for group in groups}


def words(groups: Any) -> dict[str, dict[str, str]]:
    return {
        heading: {term: ", ".join(fact.shown) for term, fact in facts.items()}
        for heading, facts in told(groups).items()
    }


def test_each_kind_of_the_service_has_a_name():
    nothing: Any = None
    assert {kind.name for kind in kinds_of(nothing, nothing, nothing)} == NOUNS.keys()


@pytest.mark.parametrize(
    ("kind", "options", "called"),
    [
        ("migrate", {}, "Migration of /letters"),
        ("migrate-verify", {}, "Verification of the migration of /letters"),
        ("migrate-purge", {"dry_run": False}, "Purge of the old tree of /letters"),
        ("create", {"dry_run": True}, "Creation of /letters (dry run)"),
        ("fold-up", {}, "Fold up of /letters"),
    ],
)
def test_a_title_reads_like_english(kind: str, options: dict[str, Any], called: str):
    assert title({"kind": kind, "path": "/letters", "options": options}) == called


def test_each_field_of_a_result_has_a_name():
    results = (
        migration_job.MigrateResult,
        migration_job.CompareResult,
        migration_job.ActResult,
        migration_job.Standing,
        subtree_job.CreateResult,
        subtree_job.ModeResult,
        subtree_job.RemoveResult,
        subtree_job.LookResult,
        SubtreeFacts,
    )
    assert {each.name for kind in results for each in fields(kind)} <= TERMS.keys()


def test_what_came_of_a_migration_has_units_and_groups():
    evicted = tuple(f"client.{number}" for number in range(LISTED + 3))
    kept = result_text(asdict(migration_job.MigrateResult(STANDING, evicted, 0, 0)))
    shown = list(outcome(json.loads(kept)))
    assert [each.heading for each in shown] == ["", "How it stands", "The subtree", "Its policy"]
    assert told(shown)[""]["Clients that were cut off"] == Fact(
        "Clients that were cut off", evicted[:LISTED], 3
    )
    stands = words(shown)["How it stands"]
    assert stands["State"] == "the new tree is in place, the old one in the trash"
    assert stands["Files copied"] == "1,200"
    assert stands["Contents"] == "600 KiB"
    assert stands["Entries compared before the exchange"] == "1,300"
    assert stands["Time with nothing at the path"] == "2.1 ms"
    assert stands["The old tree is kept until"] == "no day was set"
    assert stands["Inode of the old tree"] == "1099511627777", "a number that people search for"
    assert stands["Snapshots"] == "none"
    assert list(words(shown)["Its policy"])[:2] == ["Cipher of contents", "Cipher of names"]


def test_what_came_of_a_verification_is_counted_and_the_first_are_told():
    first = [{"finding": "stale-temporary", "inode": 123456, "repairable": True, "stored": ""}] * 2
    result = {
        "first": first,
        "entries": 1015,
        "findings": {"stale-temporary": 2},
        "severities": {},
        "busy": 0,
    }
    (group,) = outcome(result)
    assert [fact.term for fact in group.facts][:2] == [TERMS["entries"], TERMS["busy"]], "not as stored"
    shown = words([group])[""]
    assert shown["Findings by severity"] == "none"
    assert shown["Findings by kind"] == "2 stale temporary"
    assert (
        told([group])[""]["The first of them"].shown
        == ("finding: stale-temporary; inode: 123456; repairable: yes",) * 2
    )


def test_what_was_asked_for_is_called_as_in_the_forms():
    options = {"evict": True, "keep_trash": 604_800, "bytes_per_second": 1_048_576.0, "plan": "", "kept": -1}
    assert words([asked(options)])[""] == {
        "End the sessions of clients that can reach it": "yes",
        "Keep the old tree for": "7 days",
        "Bytes a second": "1 MiB",
    }


@pytest.mark.parametrize(
    "value", [None, True, -1, 1e300, float("nan"), float("inf"), "", "x", [], {}, [{"a": [1]}, 2], {"a": []}]
)
def test_whatever_a_result_has_is_shown(value: Any):
    """It may be that of a service of another release."""
    result = dict.fromkeys(TERMS, value) | {"of-the-future": value}
    assert all(isinstance(each, Group) for each in outcome(result))
