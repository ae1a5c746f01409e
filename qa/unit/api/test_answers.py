"""Schemas of answers, also of those that take clients or a service; the API's other tests hold all that they get."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mgr_fscrypt.api.answers import ANSWERS, SHAPES
from mgr_fscrypt.api.operations import BY_COMMAND
from mgr_fscrypt.api.shapes import Record, Schemas
from mgr_fscrypt.control import Result
from mgr_fscrypt.control.follow_up import CreationStory
from mgr_fscrypt.control.gates import Wanted
from mgr_fscrypt.control.jobs import JobDetail, JobList
from mgr_fscrypt.control.key_managers import KmsLine, KmsPage
from mgr_fscrypt.control.results import Answer, written
from mgr_fscrypt.control.scans import ScanLine, ScanLines, Standing
from mgr_fscrypt.control.service import ServiceReport
from mgr_fscrypt.control.subtree_jobs import Begun
from mgr_fscrypt.messages import TenantFacts
from mgr_fscrypt.messages.job import JobError, Jobs, JobState, JobWish
from mgr_fscrypt.messages.service import BackendState, KeyState, RotationState, ServiceStatus, TenantKeyState
from mgr_fscrypt.store import LocalDatabase
from qa.fakes.gating import ISOLATE, World, furnished

MOVED = ScanLine("/a", Standing.MOVED, "/b", (("plain", 2),), "/a/x", ("c",), "r")
KEY = "00112233445566778899aabbccddeeff"
EVICT = Wanted("cephfs", "/vault", "evict", keep="client.friend", grace=60)
JOB = JobState(
    JobWish(KEY, "verify", 1, "/a", {"rate": 5, "half": 0.5, "text": "x", "so": True}),
    *("done", "", 5.0, 5, 10, "entries", 2.5, 9.0, (JobError("odd-size", 2, ("/a",)),), '{"entries": [1]}'),
    *(0, 5.0, 6.0, 9.0),
)
TENANT = TenantFacts("acme", 1, 1, 0, ("vault",), ())
STATUS = ServiceStatus(
    *("1", 7, "host", 1.0, "serving", 1.0, 3, "", "", 0.0),
    keys=(KeyState(KEY, "unlocked", 1, None, ""),),
    tenant_keys=(TenantKeyState("acme", 1, 1),),
    backends=(BackendState("vault", reachable=True, since=1.0, error="", last=2.0, took=0.1),),
    rotations=(RotationState(1, TENANT, "", 0.0),),
    jobs=Jobs(0, 0, 0, ()),
)


@pytest.fixture
def world() -> Iterator[World]:
    with closing(LocalDatabase()) as database:
        yield furnished(database)


def fits(kind: type, answer: Answer) -> bool:
    """Is this how such an answer is described?"""
    schemas = Schemas(SHAPES)
    schema = {**schemas.of(kind), "components": {"schemas": schemas.components}}
    found = list(Draft202012Validator(schema).iter_errors(json.loads(written(answer.simplified(), "json"))))
    return not found


def check(result: Result, *commands: str) -> None:
    """Hold an answer against what these commands say that they answer."""
    assert result.answer is not None, result
    for command in commands:
        assert type(result.answer) in ANSWERS[command], (command, type(result.answer))
    assert fits(type(result.answer), result.answer), result.answer.simplified()


def test_what_takes_clients(world: World):
    check(world.audience.listing(), "client ls")
    check(world.audience.explain(1), "client explain")
    check(world.rungs.show(), "gate show")
    check(world.rungs.preview(ISOLATE), "gate preview", "gate set")
    check(world.rungs.set(ISOLATE), "gate set")
    check(world.rungs.show("cephfs", "/vault"), "gate show")
    world.settle()
    check(world.rungs.preview(EVICT), "gate preview")
    check(world.rungs.set(EVICT), "gate set")
    check(world.rungs.show("cephfs", "/vault"), "gate show")
    world.observer.look()
    world.act()
    world.pass_time(100)
    world.settle()
    check(world.rungs.show("cephfs", "/vault"), "gate show")
    check(world.audience.explain(1), "client explain")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("job show", JobDetail(JOB, "cephfs")),
        ("job show", JobDetail(replace(JOB, total=None, eta=None, code=None, started=None, ended=None), "x")),
        ("job ls", JobList((JOB,), {1: "cephfs"}, KEY)),
        ("subtree create", Begun(JobDetail(JOB, "cephfs"), None)),
        ("subtree show", CreationStory("cephfs", "/a", "looking", "", KEY)),
        ("service status", ServiceReport("serving", 1.0, "", "", 0, 2.0, STATUS)),
        ("service status", ServiceReport("down", 1.0, "x", "y", 1, None, None)),
        (
            "kms ls",
            KmsPage(
                "cephfs",
                (KmsLine("v", "vault", "a", "k", "f", ("ca=x",), "reachable", 1.0, None, ""),),
                *(1.0, ""),
            ),
        ),
        (
            "subtree scanned",
            ScanLines("cephfs", KEY, (MOVED,), "/a"),
        ),
    ],
)
def test_what_takes_a_service(command: str, answer: Any):
    check(Result(answer=answer), command)


def test_each_command_says_what_it_answers():
    assert ANSWERS.keys() <= BY_COMMAND.keys()
    looking = {
        each.command
        for each in BY_COMMAND.values()
        if not each.changes and not each.path.startswith("/lines/")
    }
    assert looking <= ANSWERS.keys(), "what only shows something says what"


@dataclass(frozen=True)
class Told:
    """An answer with a field that the description does not have."""

    simple: int

    def simplified(self) -> dict[str, Any]:
        return {"simple": self.simple, "beside": "x"}

    def plain(self) -> str:
        return ""


def test_a_field_that_nobody_described_is_found():
    assert not fits(Told, Told(1))
    assert not fits(JobDetail, Told(1))
    assert fits(Told, type("Fitting", (), {"simplified": lambda _: {"simple": 2}})())
    assert not fits(Told, type("Odd", (), {"simplified": lambda _: {"simple": "2"}})())


def test_two_kinds_of_one_name_are_a_mistake():
    schemas = Schemas({})
    schemas.of(Record("One", {"a": int}))
    schemas.of(Record("One", {"a": int}))
    with pytest.raises(TypeError, match="two kinds"):
        schemas.of(Record("One", {"a": str}))
    with pytest.raises(TypeError, match="nobody said"):
        schemas.of(bytes)
