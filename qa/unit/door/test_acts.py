"""Every command of the module, walked by its table: what changes something is recorded, what only asks is not."""

import errno
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mgr_fscrypt.messages import KeyFacts, Policy, SubtreeFacts, TenantFacts
from mgr_fscrypt.messages.resource import KINDS
from mgr_fscrypt.messages.service import Ask, RotationState, Said, Trouble, Wipe
from qa.fakes.manager import Loaded, Reply, loaded

MANUAL = Path(__file__).resolve().parents[3] / "doc" / "manager.md"
KEY = "00" * 16
SUBTREE = SubtreeFacts(7, "engine", Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY)).encode()
FACTS = {name: value for name, value in json.loads(SUBTREE).items() if name not in ("kind", "version")}
KEY_LATE = KeyFacts(KEY, "payroll", "acme", "active", 1, 1, 2, 0, 0, ())
TENANT_LATE = TenantFacts("acme", 1, 1, 1, ("vault",), ())
REPORTED = KeyFacts(KEY, "payroll", "acme", "active", 1, 1, 0, 0, 0, ()).encode()
# what a command is given where nothing better is known of it: changing commands are recorded when they refuse, too
WORDS: dict[str, object] = {
    "fs": "cephfs",
    "path": "/a",
    "key": KEY,
    "seconds": 5,
    "rung": "isolate",
    "session": 7,
    "job": KEY,
    "kind": "kms",
    "tenant": "acme",
    "protector": "first",
    "time": "90d",
    "day": "2027-12-31",
    "file": "x.key",
    "kms": "vault",
    "type": "vault",
    "address": "https://a:8200",
    "its_key": "k",
    "name": "first",
    "role": "operator",
    "user": "alice",
    "subject": "CN=node1",
    "what": "bytes",
}


@pytest.fixture(scope="module")
def first() -> Iterator[Loaded]:
    with loaded() as found:
        yield found


@pytest.fixture
def manager(first: Loaded) -> Iterator[Loaded]:
    with first.anew() as found:
        yield found


with loaded() as every:
    COMMANDS = {name.removeprefix("fscrypt "): each.perm for name, each in every.commands.items()}


def given(manager: Loaded, command: str, **options: object) -> Reply:
    """Run a command with some value for each argument that it must have."""
    parameters = inspect.signature(manager.commands[f"fscrypt {command}"].func).parameters.values()
    needed = [each.name for each in parameters if each.default is each.empty and each.name != "self"]
    return manager.run(command, **{name: WORDS[name] for name in needed} | options)


def acts(manager: Loaded) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(manager.run("audit ls", format="json").stdout)["acts"]
    return found


@pytest.mark.parametrize("command", [name for name, perm in COMMANDS.items() if perm != "r"])
def test_a_command_that_changes_something_is_recorded(manager: Loaded, command: str):
    reply = given(manager, command)
    (act,) = acts(manager)
    assert (act["command"], act["code"], act["result"]) == (command, -reply.retval, reply.stderr)
    assert (act["who"], act["manager"]) == ("cli", "mgr.x")
    ((channel, line),) = manager.module.told
    assert channel == "audit"
    assert line.startswith(f"fscrypt audit 1:{act['digest']} {command} ")


@pytest.mark.parametrize("command", [name for name, perm in COMMANDS.items() if perm == "r"])
def test_a_question_changes_nothing_and_is_not_recorded(manager: Loaded, command: str):
    manager.run("status")
    before = list(manager.module._connection.iterdump())
    given(manager, command)
    assert list(manager.module._connection.iterdump()) == before
    assert manager.module.told == []


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_answers_in_each_format_and_has_help(manager: Loaded, command: str):
    parameters = inspect.signature(manager.commands[f"fscrypt {command}"].func).parameters
    assert "format" in parameters
    assert len(inspect.getdoc(manager.commands[f"fscrypt {command}"].func) or "") > 20
    refused = given(manager, command, format="xml")
    assert refused.retval == -errno.EINVAL
    assert "use one of plain, json, json-pretty, yaml" in refused.stderr


def test_what_can_be_done_can_be_declared_or_it_is_said_why_not():
    """The table of doc/manager.md has each command that changes something, and each kind of resource."""
    text = (
        MANUAL.read_text().partition("| command | as a resource |\n| --- | --- |\n")[2].partition("\n\n")[0]
    )
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()]
    told = {name: resource for names, resource in rows for name in re.findall("`([^`]+)`", names)}
    assert told.keys() >= {name for name, perm in COMMANDS.items() if perm != "r"}
    assert told.keys() <= COMMANDS.keys()
    assert {kind for each in told.values() for kind in re.findall("`([^`]+)`", each)} == KINDS.keys()
    assert all(each.startswith(("`fscrypt.", "none: ", "it takes")) for each in told.values())


def test_a_dry_run_is_no_act(manager: Loaded):
    assert (
        "would register" in manager.run("subtree adopt", "cephfs", "/a", dry_run=True, report=SUBTREE).stderr
    )
    assert acts(manager) == []


def test_an_act_and_its_record_are_one(manager: Loaded):
    """What cannot be recorded is not done."""
    manager.run("status")
    manager.module._connection.execute(
        "CREATE TRIGGER Full BEFORE INSERT ON Act BEGIN SELECT RAISE(ABORT, 'x'); END"
    )
    refused = manager.run("subtree adopt", "cephfs", "/a", report=SUBTREE)
    assert refused.retval == -errno.EIO
    assert manager.run("subtree ls").stdout == "No subtree is registered."
    assert manager.module.told == []
    manager.module._connection.execute("DROP TRIGGER Full")
    assert manager.run("subtree adopt", "cephfs", "/a", report=SUBTREE).retval == 0
    assert [act["result"] for act in acts(manager)] == [
        f"registered subtree /a of cephfs, engine mode, key {KEY}"
    ]


def test_what_is_urgent_does_not_wait_for_the_database(manager: Loaded):
    manager.module.ready = False
    reply = manager.run("key lock", KEY)
    assert "no engine service" in reply.stderr
    assert "the audit has no record of it" in reply.stderr


def test_a_report_is_not_in_the_audit(manager: Loaded):
    manager.run("key adopt", "cephfs", report=REPORTED)
    (act,) = acts(manager)
    assert act["about"] == "cephfs"
    assert "payroll" in str(act["result"])


@pytest.mark.parametrize("text", ["\udcff", "\ud800x", "/" + "x" * 2**20, "\x1b[2J\n"])
def test_arguments_that_are_no_text(manager: Loaded, text: str):
    assert manager.run("subtree forget", text, text).retval < 0
    (act,) = acts(manager)
    assert len(str(act["about"])) < 2**15
    assert str(act["about"]).isprintable()


def test_the_health_tells_of_a_broken_audit(manager: Loaded):
    for path in ("/a", "/b"):
        manager.run("subtree forget", "cephfs", path)
    db = manager.module._connection
    db.execute("DROP TRIGGER ActsStay")
    db.execute("UPDATE Act SET about = 'cephfs /other' WHERE number = 1")
    verdict = manager.run("audit verify")
    assert verdict.retval == -errno.EBADMSG
    assert "before or in record 1" in verdict.stderr
    manager.module._stopping.wait = lambda _seconds: manager.module._stopping.set()
    manager.module.serve()
    assert manager.module.health["FSCRYPT_AUDIT_BROKEN"]["severity"] == "error"


def test_the_keys_are_read_again_once_the_service_has_rotated_a_tenants(manager: Loaded):
    facts = TenantFacts("acme", 2, 1_700_000_000, 86400, ("vault",), ())
    manager.module.service.rotations = lambda: (RotationState(1, facts, "", 1.0),)
    manager.module._stopping.wait = lambda _seconds: manager.module._stopping.set()
    manager.module.serve()
    assert manager.module.rescans.wanted
    (line,) = json.loads(manager.run("tenant ls", format="json").stdout)["tenants"]
    assert (line["tenant"], line["version"]) == ("acme", 2)


def test_no_warning_ends_because_the_database_does_not_answer(manager: Loaded):
    module = manager.module
    assert manager.run("key adopt", "cephfs", report=KEY_LATE.encode()).retval == 0
    assert manager.run("tenant adopt", "cephfs", report=TENANT_LATE.encode()).retval == 0
    seen = []

    def wait(_seconds: float) -> None:
        seen.append({"FSCRYPT_KEY_EXPIRING", "FSCRYPT_ROTATION_OVERDUE"} & module.health.keys())
        module.ready = False
        if len(seen) == 2:
            module._stopping.set()

    module._stopping.wait = wait
    module.serve()
    assert [len(each) for each in seen] == [2, 2]


def test_what_is_applied_is_recorded_one_by_one(manager: Loaded):
    head = {"version": 1, "fs": "cephfs"}
    subtree = head | {"kind": "fscrypt.subtree", "path": "/a"} | FACTS
    tenant = head | {"kind": "fscrypt.tenant", "name": "acme", "kms": "vault"}
    assert manager.run("apply", dry_run=True, inbuf=json.dumps([subtree])).retval == 0
    assert acts(manager) == []
    document = json.dumps([subtree, tenant])
    assert manager.run("apply", inbuf=document, format="json").retval == -errno.EOPNOTSUPP
    assert [act["about"] for act in acts(manager)] == [
        "fscrypt.tenant cephfs acme",
        "fscrypt.subtree cephfs /a",
    ]
    ((_, line),) = manager.module.told
    assert line.endswith("(the last of 2 records)")
    assert manager.run("apply", inbuf=json.dumps([subtree])).retval == 0
    assert (acts(manager)[0]["about"], acts(manager)[0]["result"]) == ("", "1 unchanged")
    assert manager.run("apply", inbuf=manager.run("show").stdout).stderr == "1 unchanged"


def test_how_a_key_manager_is_nobody_tells_without_a_service(manager: Loaded):
    vault = {"kind": "fscrypt.kms", "version": 1, "fs": "cephfs", "name": "vault", "type": "vault"}
    vault |= {"address": "https://vault:8200", "key": "k", "file": "vault.json"}
    subtree = {"kind": "fscrypt.subtree", "version": 1, "fs": "cephfs", "path": "/a"} | FACTS
    reply = manager.run("apply", inbuf=json.dumps([subtree, vault]))
    assert (reply.retval, reply.stderr) == (-errno.EAGAIN, "1 changed, 1 refused"), (
        "nothing else waits for it"
    )
    assert (
        "left as it was: the engine service does not tell now whether it is so already (there is no"
        in reply.stdout
    )
    assert manager.run("show").stderr.startswith("key managers are not shown: there is no engine service")


def test_a_key_that_is_applied_shut_is_wiped_by_the_service(manager: Loaded):
    asked = asked_to_wipe(manager)
    manager.run("apply", inbuf=declared(state="disabled"), dry_run=True)
    assert asked == []
    reply = manager.run("apply", inbuf=declared(state="disabled"))
    assert asked == [KEY]
    assert (reply.retval, reply.stderr.endswith("it is busy")) == (0, True), "what the service said is told"


@pytest.mark.parametrize("command", ["apply", "key adopt"])
def test_what_changes_nothing_wipes_nothing(manager: Loaded, command: str):
    asked = asked_to_wipe(manager)

    def given(fs: str = "cephfs", **facts: object) -> Reply:
        if command == "apply":
            return manager.run(command, inbuf=declared(fs, **facts))
        return manager.run(command, fs, report=json.dumps(json.loads(REPORTED) | {"key": facts_of(**facts)}))

    given(generation=9)
    assert given(generation=2, state="disabled").retval == 0
    assert given("nosuch", generation=10, state="disabled").retval < 0
    manager.run("status")
    manager.module._connection.execute(
        "CREATE TRIGGER Full BEFORE INSERT ON Act BEGIN SELECT RAISE(ABORT, 'x'); END"
    )
    assert given(generation=10, state="disabled").retval == -errno.EIO, "it cannot be recorded"
    assert asked == []
    manager.module._connection.execute("DROP TRIGGER Full")
    given(generation=10, state="disabled")
    assert asked == [KEY]
    given(generation=10, state="disabled")
    assert asked == [KEY]


def facts_of(**facts: object) -> dict[str, object]:
    return json.loads(REPORTED)["key"] | facts


def declared(fs: str = "cephfs", **facts: object) -> str:
    return json.dumps({"kind": "fscrypt.key", "version": 1, "fs": fs} | facts_of(**facts))


def asked_to_wipe(manager: Loaded) -> list[str]:
    """What a service that answers nothing but "busy" is asked to wipe."""
    asked: list[str] = []

    class Busy:
        def ask(self, ask: Ask, patience: float) -> Said:
            assert isinstance(ask, Wipe)
            asked.append(ask.key_identifier)
            return Trouble("failed", "it is busy", "")

        def hang_up(self) -> None:
            """It is none."""

    manager.module.service._channel = Busy()
    return asked
