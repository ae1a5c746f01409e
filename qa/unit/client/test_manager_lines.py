"""The lines that the manager tells for a client are commands of the client, in every word."""

import errno
import inspect
import json
import shlex
from collections.abc import Iterator

import pytest

from mgr_fscrypt.client.commands import parser
from mgr_fscrypt.control.key_managers import KeyManagers
from mgr_fscrypt.control.migrations import NewMigration
from mgr_fscrypt.messages.kms import KmsFacts
from mgr_fscrypt.messages.service import KnownManager, Managers
from qa.fakes.manager import Loaded, loaded

WORDS: dict[str, object] = {
    "fs": "cephfs",
    "path": "/a",
    "key": "payroll",
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
    "wait": "7d",
    "kms_too": True,
}
KMS = {
    "kind": "fscrypt.kms",
    "version": 1,
    "fs": "cephfs",
    "name": "vault",
    "type": "vault",
    "address": "https://a:8200",
    "key": "k",
    "file": "vault.json",
    "options": {"mount": "transit"},
}
VAULT = KmsFacts("vault", "vault", "https://a:8200", "k", "vault.json", ("mount=transit",))
TENANT = {"kind": "fscrypt.tenant", "version": 1, "fs": "cephfs", "name": "acme", "kms": "vault"}


@pytest.fixture
def manager() -> Iterator[Loaded]:
    with loaded() as found:
        yield found


with loaded() as every:
    COMMANDS = [name.removeprefix("fscrypt ") for name in every.commands]


def line_of(manager: Loaded, command: str) -> str | None:
    """What is told where all options are given, if a line is; None where it cannot be asked so."""
    known = inspect.signature(manager.commands[f"fscrypt {command}"].func).parameters
    needed = [name for name, each in known.items() if each.default is each.empty and name != "self"]
    if not needed or set(needed) - WORDS.keys():
        return None
    reply = manager.run(command, **{name: WORDS[name] for name in known if name in WORDS})
    return reply.stdout if reply.retval == -errno.EOPNOTSUPP else None


def test_each_line_is_a_command_of_the_client(manager: Loaded):
    told = {command: line for command in COMMANDS if (line := line_of(manager, command))}
    assert {"key create", "kms add", "tenant rotate"} <= told.keys()
    for command, line in told.items():
        program, *words = shlex.split(line)
        assert (program, parser().parse_args(words).command) == ("cephfs-fscrypt", command)
        assert line.endswith("--fs cephfs")


@pytest.mark.parametrize("resource", [KMS, KMS | {"intent": "removed"}, TENANT])
def test_what_is_declared_is_told_as_a_command_too(manager: Loaded, resource: dict[str, object]):
    known = (KnownManager(VAULT, None, testing=False),) if "intent" in resource else ()
    manager.module.key_managers = KeyManagers(
        ask=lambda _: Managers(1, 1.0, "", known), cluster=manager.module
    )
    reply = manager.run("apply", inbuf=json.dumps(resource), format="json")
    (outcome,) = json.loads(reply.stdout)["outcomes"]
    line = outcome["status"].partition("run on a client: ")[2]
    assert parser().parse_args(shlex.split(line)[1:]).command in ("kms add", "kms rm", "tenant create")


@pytest.mark.parametrize(
    "asked",
    [
        NewMigration(
            "cephfs", "/a b", key="payroll", plan="1-2-3", namespace="n", evict=True, copy_only=True
        ),
        NewMigration("cephfs", "/a b", decrypt=True, confirm="store /a b in the clear", offline=True),
    ],
)
def test_the_lines_of_a_migration_are_commands_too(asked: NewMigration):
    for verb in ("plan", "start"):
        words = shlex.split(asked.line(verb, "/a b", "" if asked.decrypt else "payroll"))
        assert parser().parse_args([*words[1:], "--open", "passphrase"]).command == f"migrate {verb}"
