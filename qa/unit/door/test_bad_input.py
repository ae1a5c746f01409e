"""What people give by mistake, to every command that takes it, and what is not there any more: each time an error that
says what to do, and nothing changed."""

import errno
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest

from mgr_fscrypt.control.documents import LONGEST
from mgr_fscrypt.messages import SubtreeFacts
from mgr_fscrypt.messages.job import JobPage, Jobs, JobState, JobWish
from mgr_fscrypt.messages.service import JobsQuestion
from mgr_fscrypt.messages.subtree_job import LookOptions, LookResult, as_options
from mgr_fscrypt.store.schema import MIGRATIONS
from qa.fakes.manager import Loaded, Reply, loaded
from qa.fakes.servers import FakeServers, session
from qa.unit.door.test_acts import COMMANDS, REPORTED, SUBTREE, acts, given

GARBAGE = ["\x00\x01" * 2**19, "a: {" * 2**18, "- [x, {y: " * 10**5, '[{"a":' * 10**5, "x" * 2**20]
OF_THE_SERVICE = (
    "service status",
    "kms ls",
    "kms test",
    "key lock",
    "key unlock",
    "key rescan",
    "doctor",
    "metrics",
    "subtree verify",
    "scan",
    "subtree scanned",
    "subtree create",
    "job ls",
    "job show",
    "job pause",
    "job resume",
    "job cancel",
    "job forget",
    "api show",
    "api login",
    "api session ls",
    "api session revoke",
    "migrate plan",
    "migrate start",
    "migrate status",
    "migrate verify",
    "migrate rollback",
    "migrate purge",
    "migrate cancel",
)
"""What others than the database tell, too; the record of it may be missing."""
OF_NO_FILE_SYSTEM = ("api token create", "api certificate add", "api user add")


@pytest.fixture(scope="module")
def first() -> Iterator[Loaded]:
    with loaded() as found:
        yield found


@pytest.fixture
def manager(first: Loaded) -> Iterator[Loaded]:
    with first.anew() as found:
        servers = FakeServers()
        servers.listed["cephfs", 0] = [session(7)]
        found.module.observer._servers = servers
        found.module.observer.look()
        found.run("subtree adopt", "cephfs", "/a", report=SUBTREE)
        yield found


with loaded() as every:
    ARGUMENTS = {
        name: inspect.signature(every.commands[f"fscrypt {name}"].func).parameters for name in COMMANDS
    }


def taking(argument: str) -> list[str]:
    return [name for name, arguments in ARGUMENTS.items() if argument in arguments]


def rows(manager: Loaded) -> list[str]:
    """All that the manager knows, but for its audit."""
    dump = manager.module._connection.iterdump()
    return [line for line in dump if line.startswith("INSERT") and not line.startswith('INSERT INTO "Act"')]


def said(reply: Reply) -> str:
    """What a person reads: one line, without anything that moves a cursor."""
    assert "\n" not in reply.stderr
    assert "internal error" not in reply.stderr
    assert len(reply.stderr) < 30_000
    return reply.stderr


@pytest.mark.parametrize("command", [name for name in taking("fs") if name != "subtree create"])
def test_a_file_system_that_is_not_there(manager: Loaded, command: str):
    before = rows(manager)
    reply = given(manager, command, fs="cepfs")
    # what nobody tells of is told first
    if reply.retval != -errno.EAGAIN:
        assert reply.retval == -errno.ENOENT
        assert 'did you mean "cephfs"?' in said(reply)
    assert rows(manager) == before


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("relative", "does not begin with /"),
        ("/a/../../etc", "has .. in it"),
        ("/" + "x" * 256, "too long"),
        ("/x" * 2100, "too long"),
        ("/a\0b", "NUL"),
        ("/\udcff", "not UTF-8"),
    ],
)
@pytest.mark.parametrize(
    "command",
    # to make a subtree, its key is asked for first
    [name for name in taking("path") if "fs" in ARGUMENTS[name] and name != "subtree create"],
)
def test_paths_outside_of_a_file_system(manager: Loaded, command: str, path: str, says: str):
    before = rows(manager)
    options: dict[str, object] = {"fs": "cephfs", "path": path}
    if "report" in ARGUMENTS[command]:
        options["report"] = SUBTREE
    reply = given(manager, command, **options)
    assert (reply.retval, says in said(reply)) == (-errno.EINVAL, True), reply
    assert rows(manager) == before


@pytest.mark.parametrize(
    ("command", "garbage"),
    [*(("apply", garbage) for garbage in GARBAGE), *((command, GARBAGE[1]) for command in taking("inbuf"))],
    ids=lambda text: text[:14].encode("unicode_escape").decode(),
)
def test_a_megabyte_of_garbage(manager: Loaded, command: str, garbage: str):
    assert len(garbage) > LONGEST
    before = rows(manager)
    for text in (garbage, garbage[: LONGEST - 1]):
        reply = given(manager, command, inbuf=text)
        assert reply.retval == -errno.EINVAL
        assert "nothing was changed" in said(reply)
        assert len(said(reply)) < 2000
    assert rows(manager) == before
    assert len(str(acts(manager)[0]["result"])) < 2000


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_database_of_a_newer_release_is_left_as_it_is(manager: Loaded, command: str):
    manager.module._connection.execute("PRAGMA user_version = 1000")
    before = list(manager.module._connection.iterdump())
    reply = given(manager, command)
    if command not in OF_THE_SERVICE and reply.retval != -errno.EOPNOTSUPP:
        assert (reply.retval, "install the newer release again" in said(reply)) == (-errno.EPERM, True)
    assert list(manager.module._connection.iterdump()) == before


def test_what_came_of_a_job_waits_for_a_database_that_can_be_used(manager: Loaded):
    """A manager of an older release takes over while hosts are upgraded: it is no verdict on the job."""
    facts = replace(SubtreeFacts.decode(SUBTREE), inode=8)
    found = LookResult("/new", facts, "", "", verified=None, csi=False, metadata=(), advice=())
    wish = JobWish("00" * 16, "adopt", 1, "/new", as_options(LookOptions(verify=False, dry_run=False)))
    state = JobState(
        wish, "done", "", 1.0, 1, 1, "", 0.0, None, (), json.dumps(asdict(found)), 0, 1.0, 1.0, 1.0
    )
    module = manager.module
    module.service.asked = lambda ask: JobPage((state,), None) if isinstance(ask(), JobsQuestion) else state
    manager.run("status")
    database = module._connection
    for trouble, mended in (
        ("PRAGMA user_version = 1000", f"PRAGMA user_version = {len(MIGRATIONS)}"),
        ("CREATE TRIGGER Full BEFORE INSERT ON Act BEGIN SELECT RAISE(ABORT, 'x'); END", "DROP TRIGGER Full"),
    ):
        database.execute(trouble)
        module.follow_up.seen(Jobs(0, 0, 0, ()))
        module.follow_up.round()
        database.execute(mended)
        assert "/new" not in manager.run("subtree ls").stdout
    module.follow_up.round()
    assert "/new" in manager.run("subtree ls").stdout


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_pool_that_was_removed(manager: Loaded, command: str):
    before = rows(manager)
    manager.module.ready = False
    reply = given(manager, command)
    if command not in OF_THE_SERVICE and reply.retval != -errno.EOPNOTSUPP:
        assert (reply.retval, "`ceph osd stat`" in said(reply)) == (-errno.EAGAIN, True)
    manager.module.ready = True
    assert rows(manager) == before


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_file_system_that_was_removed_under_us(manager: Loaded, command: str):
    """Its records can be listed and forgotten; nothing else is done to it."""
    manager.module.get = lambda _name: {"filesystems": [{"id": 2, "mdsmap": {"fs_name": "scratch"}}]}
    before = rows(manager)
    reply = given(manager, command)
    said(reply)
    assert reply.retval != -errno.EIO
    assert (rows(manager) == before) == (command not in ("subtree forget", *OF_NO_FILE_SYSTEM))


def test_a_subtree_that_was_renamed_or_deleted_behind_us(manager: Loaded):
    """A report of the same directory elsewhere, or of another one there, says what to forget first."""
    moved = manager.run("subtree adopt", "cephfs", "/b", report=SUBTREE)
    assert (moved.retval, "ceph fscrypt subtree forget cephfs /a" in moved.stderr) == (-errno.EEXIST, True)
    other = replace(SubtreeFacts.decode(SUBTREE), inode=8).encode()
    again = manager.run("subtree adopt", "cephfs", "/a", report=other)
    assert (again.retval, "ceph fscrypt subtree forget cephfs /a" in again.stderr) == (-errno.EEXIST, True)
    assert manager.run("subtree forget", "cephfs", "/a").retval == 0
    assert manager.run("subtree adopt", "cephfs", "/b", report=SUBTREE).retval == 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("subtree show", ("cephfs", "/payrol")),
        ("subtree forget", ("cephfs", "/payrol")),
        ("key show", ("cephfs", "payrol")),
        ("gate preview", ("cephfs", "/payrol", "isolate")),
        ("gate set", ("cephfs", "/payrol", "isolate")),
    ],
)
def test_names_that_are_nearly_right(manager: Loaded, command: str, words: tuple[str, ...]):
    manager.run("key adopt", "cephfs", report=REPORTED)
    manager.run("subtree forget", "cephfs", "/a")
    manager.run("subtree adopt", "cephfs", "/payroll", report=SUBTREE)
    reply = manager.run(command, *words)
    assert reply.retval == -errno.ENOENT
    assert re.search('did you mean "/?payroll"', said(reply))
