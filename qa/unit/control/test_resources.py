"""Declared resources: applied, shown, and refused, one by one and as a whole."""

import errno
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import yaml

from mgr_fscrypt.control import (
    Applied,
    Declared,
    FileSystem,
    Keys,
    RefusalError,
    Resources,
    Result,
    Subtrees,
    Tenants,
)
from mgr_fscrypt.control.asked import FRESH
from mgr_fscrypt.control.declared import MOST, declared
from mgr_fscrypt.control.destructions import Destructions
from mgr_fscrypt.control.gates import Gates
from mgr_fscrypt.control.key_managers import NOT_ASKED, DeclaredManagers
from mgr_fscrypt.control.observing import Observer
from mgr_fscrypt.messages import TenantFacts
from mgr_fscrypt.messages.resource import KmsResource, resource_of
from mgr_fscrypt.store import DestructionTable, GateTable, KeyTable, LocalDatabase, SubtreeTable, TenantTable
from qa.fakes.servers import FakeServers

KEY = "00112233445566778899aabbccddeeff"
POLICY = {"contents": "AES-256-XTS", "names": "AES-256-CBC-CTS", "padding": 32, "key_identifier": KEY}
SUBTREE: dict[str, Any] = {
    "kind": "fscrypt.subtree", "version": 1, "fs": "cephfs", "path": "/payroll",
    "inode": 10, "mode": "engine", "policy": POLICY,
}  # fmt: skip
PROTECTOR = {"name": "first", "kind": "passphrase", "created": 1, "proven": 0}
KEPT: dict[str, Any] = {
    "kind": "fscrypt.key", "version": 1, "fs": "cephfs", "identifier": KEY, "name": "payroll", "tenant": "acme",
    "state": "active", "generation": 3, "created": 5, "expires": 0, "due": 0, "drill_due": 0,
    "protectors": [PROTECTOR],
}  # fmt: skip
TENANT: dict[str, Any] = {
    "kind": "fscrypt.tenant",
    "version": 1,
    "fs": "cephfs",
    "name": "acme",
    "kms": "vault",
}
KMS: dict[str, Any] = {
    "kind": "fscrypt.kms", "version": 1, "fs": "cephfs", "name": "vault", "type": "vault",
    "address": "https://vault:8200; reboot", "key": "cephfs", "file": "vault.json",
}  # fmt: skip
VAULT = SUBTREE | {"path": "/vault", "inode": 99}
GATE: dict[str, Any] = {
    "kind": "fscrypt.gate", "version": 1, "fs": "cephfs", "path": "/vault", "rung": "exclude",
    "namespace": "fscrypt-1", "admitted": ["client.friend"], "kept": ["other"], "open": ["/home"],
}  # fmt: skip
ISOLATE = {name: value for name, value in GATE.items() if name != "open"} | {"rung": "isolate"}
REQUIRE = {"kind": "fscrypt.gate", "version": 1, "fs": "cephfs", "path": "/", "rung": "require"}
OPEN = {"kind": "fscrypt.gate", "version": 1, "fs": "cephfs", "path": "/vault", "intent": "removed"}


class Cluster:
    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(2, "scratch"), FileSystem(1, "cephfs")]


class World(Resources):
    """All that resources are made of, in memory; its time stands still until it is moved."""

    def __init__(self, database: LocalDatabase) -> None:
        key_store, subtree_store = KeyTable(database), SubtreeTable(database)
        self.gate_store, tenant_store = GateTable(database), TenantTable(database)
        self.now = 7.0
        keys = Keys(store=key_store, cluster=Cluster(), clock=lambda: 7)
        self.tenants = Tenants(store=tenant_store, cluster=Cluster(), clock=lambda: 7)
        self.servers = FakeServers()
        self.servers.caps["client.friend"] = {"mon": "allow r", "mds": "allow rw", "osd": "allow rw"}
        observer = Observer(self.servers, date=lambda: 7, log=logging.getLogger("test"))
        observer.look()
        gates = Gates(
            store=self.gate_store,
            subtrees=subtree_store,
            cluster=Cluster(),
            census=observer.census,
            clock=lambda: self.now,
        )
        super().__init__(
            subtrees=Subtrees(store=subtree_store, cluster=Cluster(), clock=lambda: 7, key=keys.line),
            keys=keys,
            gates=gates,
            subtree_store=subtree_store,
            key_store=key_store,
            gate_store=self.gate_store,
            tenant_store=tenant_store,
            cluster=Cluster(),
            destructions=Destructions(
                store=DestructionTable(database),
                keys=keys,
                cluster=Cluster(),
                clock=lambda: 7,
                wanted=lambda: False,
            ),
        )


@pytest.fixture
def resources() -> Iterator[World]:
    with closing(LocalDatabase()) as database:
        yield World(database)


def applied(
    resources: World, *values: dict[str, Any], told: DeclaredManagers = NOT_ASKED, dry_run: bool = False
) -> Result:
    return resources.apply(declared(json.dumps(values)), managers=told, dry_run=dry_run)


def vault() -> KmsResource:
    found = resource_of(KMS)
    assert isinstance(found, KmsResource)
    return found


def outcomes(result: Result) -> list[str]:
    assert isinstance(result.answer, Applied)
    assert Applied.restored(result.answer.simplified()) == result.answer
    return [each.outcome for each in result.answer.outcomes]


def shown(resources: World, *arguments: Any) -> Declared:
    answer = resources.show(*arguments).answer
    assert isinstance(answer, Declared)
    return answer


def test_twice_is_once(resources: World):
    dry = applied(resources, KEPT, SUBTREE, dry_run=True)
    assert (outcomes(dry), dry.code) == (["would change"] * 2, 0)
    assert shown(resources).resources == ()
    first = applied(resources, KEPT, SUBTREE)
    assert (outcomes(first), first.status, first.changed) == (["changed"] * 2, "2 changed", True)
    second = applied(resources, KEPT, SUBTREE)
    assert (outcomes(second), second.changed, second.parts) == (["unchanged"] * 2, False, ())


def test_what_is_shown_is_what_was_applied_and_can_be_again(resources: World):
    applied(resources, SUBTREE, KEPT)
    assert shown(resources).simplified() == {"resources": [KEPT, SUBTREE]}
    for form in ("plain", "yaml", "json"):
        text = resources.show().rendered(form)[1]
        assert yaml.safe_load(text) == {"resources": [KEPT, SUBTREE]}
        assert outcomes(resources.apply(declared(text))) == ["unchanged"] * 2


def test_a_gate_is_set_and_taken_back(resources: World):
    applied(resources, VAULT)
    dry = applied(resources, GATE, dry_run=True)
    assert (outcomes(dry), resources.gate_store.all()) == (["would change"], ())
    assert outcomes(applied(resources, GATE)) == ["changed"]
    (gate,) = resources.gate_store.all()
    assert (gate.rung, gate.admitted, gate.kept, gate.open_paths) == (
        "exclude", ("client.friend",), ("other",), ("/home",),
    )  # fmt: skip
    assert outcomes(applied(resources, GATE)) == ["unchanged"], "also while it is being carried out"
    assert shown(resources).simplified()["resources"] == [VAULT, GATE]
    assert outcomes(applied(resources, ISOLATE)) == ["changed"]
    assert shown(resources).simplified()["resources"] == [VAULT, ISOLATE]
    assert outcomes(applied(resources, OPEN, dry_run=True)) == ["would change"]
    assert outcomes(applied(resources, ISOLATE | {"intent": "removed"})) == ["changed"]
    assert outcomes(applied(resources, OPEN)) == ["unchanged"]
    assert shown(resources).simplified()["resources"] == [VAULT], "what is being taken back is not declared"


def test_a_gate_that_is_refused_is_refused_as_by_its_command(resources: World):
    for gate, code, says in (
        (GATE, errno.ENOENT, "no subtree /vault is registered"),
        (GATE | {"admitted": ["client.frend"]}, errno.ENOENT, 'did you mean "client.friend"?'),
        (GATE | {"open": []}, errno.EINVAL, "name the directories that others keep"),
        (GATE | {"path": "/"}, errno.EINVAL, "is for a whole file system"),
        (REQUIRE | {"fs": "cefs"}, errno.ENOENT, 'did you mean "cephfs"?'),
    ):
        result = applied(resources, gate, dry_run=True)
        assert (result.code, outcomes(result)) == (code, ["refused"])
        assert says in str(result.answer)
        applied(resources, VAULT)
    resources.now += FRESH
    assert applied(resources, GATE).code == errno.EAGAIN
    assert resources.gate_store.all() == ()


def test_a_gate_of_a_subtree_of_the_same_file(resources: World):
    result = applied(resources, REQUIRE, GATE, VAULT)
    assert outcomes(result) == ["changed"] * 3, "what a gate needs is made before it"
    assert isinstance(result.answer, Applied)
    assert [each.name for each in result.answer.outcomes] == ["/", "/vault", "/vault"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([GATE, ISOLATE | {"path": "//vault/"}], "resource 2 is resource 1 once more: fscrypt.gate /vault"),
        ([GATE, OPEN], "resource 2 is resource 1 once more"),
        (
            [GATE, VAULT | {"intent": "removed"}],
            "resource 1 is a gate of /vault, which resource 2 removes from the register",
        ),
        ([GATE, KEPT, ISOLATE | {"path": "/b"}], "resources 1 and 3 are gates with one namespace"),
        ([VAULT, GATE, VAULT | {"intent": "removed"}], "resource 3 is resource 1 once more"),
    ],
)
def test_gates_that_cannot_be_at_the_same_time(values: list[dict[str, Any]], says: str):
    with pytest.raises(RefusalError) as refusal:
        declared(json.dumps(values))
    assert says in refusal.value.result.status


def test_gates_that_can(resources: World):
    other = VAULT | {"fs": "scratch"}
    assert len(declared(json.dumps([GATE, GATE | {"fs": "scratch"}, OPEN | {"path": "/b"}]))) == 3
    assert len(declared(json.dumps([OPEN, VAULT | {"intent": "removed"}, other]))) == 3


def test_tenants_and_key_managers_are_shown_as_far_as_they_are_known(resources: World):
    for tenant, managers in (
        ("a", ()),
        ("aa", ()),
        ("aaa", ()),
        ("acme", ("vault", "second")),
        ("people", ()),
    ):
        assert resources.tenants.adopt(
            "cephfs", TenantFacts(tenant, 1, 1, 0, managers, ("recovery-code",)).encode()
        ).success
    known = vault()
    page = resources.show(managers=[known])
    assert page.answer is not None
    assert page.answer.simplified() == {"resources": [KMS, TENANT]}
    assert outcomes(applied(resources, TENANT, TENANT | {"name": "other"})) == ["unchanged", "client"]
    other = replace(known, address="elsewhere:1")
    for managers, outcome, gone in (
        ((known,), "unchanged", "client"),
        ((), "client", "unchanged"),
        ((other,), "refused", "client"),
    ):
        told = DeclaredManagers("cephfs", managers, "")
        assert outcomes(applied(resources, KMS, told=told)) == [outcome]
        assert outcomes(applied(resources, KMS | {"intent": "removed"}, told=told)) == [gone]
    added = applied(resources, TENANT | {"kms": "third"})
    assert "cephfs-fscrypt tenant add acme --with kms:third --fs cephfs" in str(added.answer)
    assert shown(resources, "scratch").resources == ()
    first = resources.show(None, None, 1, managers=[known]).answer
    assert isinstance(first, Declared)
    assert first.following == "1:kms:vault"
    rest = resources.show(None, first.following, managers=[known]).answer
    assert rest is not None
    assert rest.simplified() == {"resources": [TENANT]}


@pytest.mark.parametrize("resource", [KMS, KMS | {"intent": "removed"}])
def test_where_the_service_does_not_tell_nobody_knows_how_a_key_manager_is(
    resources: World, resource: dict[str, Any]
):
    """It is neither as declared nor for a client to do, as far as anybody can tell."""
    down = "there is no engine service, nothing was changed; `ceph fscrypt service status` says why"
    for told in (DeclaredManagers("", (), down), DeclaredManagers("cephfs", (), "some cannot be read")):
        result = applied(resources, resource, told=told)
        assert (outcomes(result), result.code) == (["refused"], errno.EAGAIN)
        (outcome,) = result.answer.outcomes  # type: ignore[union-attr]
        assert outcome.status == (
            "key manager vault was left as it was: the engine service does not tell now whether it is so already "
            f"({told.untold}); apply it again when it does, or look on a client: cephfs-fscrypt kms ls --fs cephfs"
        )
    # it works for another one, and what it tells says nothing of ours
    assert outcomes(applied(resources, resource, told=DeclaredManagers("scratch", (), ""))) == ["client"]
    lost = applied(resources, resource | {"fs": "cepfs"}, told=DeclaredManagers("cephfs", (), ""))
    assert (outcomes(lost), lost.code) == (["refused"], errno.ENOENT)


def test_pages_of_all_kinds_and_file_systems(resources: World):
    other = KEPT | {"identifier": "ff" * 16, "name": "other"}
    scratch = [KEPT | {"fs": "scratch"}, SUBTREE | {"fs": "scratch"}]
    values = [KEPT, other, SUBTREE | {"path": "/a", "inode": 1}, SUBTREE, *scratch]
    assert applied(resources, *reversed(values)).success
    for size in (1, 2, 4, 100):
        seen: list[dict[str, Any]] = []
        after = None
        while True:
            page = shown(resources, None, after, size)
            # a page is a document of its own
            text = resources.show(None, after, size).rendered("plain")[1]
            assert set(outcomes(resources.apply(declared(text)))) == {"unchanged"}
            seen += page.simplified()["resources"]
            after = page.following
            if after is None:
                break
        assert seen == values
    assert shown(resources, "scratch").simplified()["resources"] == scratch
    assert resources.show("scratsh").code == errno.ENOENT
    for place in ("x", "1:x", "1:/a", "1:keys:x"):
        assert resources.show(None, place).code == errno.EINVAL
    assert resources.show(None, None, 0).code == errno.EINVAL


def test_one_that_is_refused_does_not_stop_the_rest(resources: World):
    nested = SUBTREE | {"path": "/payroll/below", "inode": 11}
    lost = SUBTREE | {"fs": "cefs"}
    last = SUBTREE | {"path": "/z", "inode": 12}
    result = applied(resources, SUBTREE, nested, lost, last)
    assert outcomes(result) == ["changed", "refused", "refused", "changed"]
    assert result.code == errno.EEXIST
    assert result.status == "2 changed, 2 refused"
    assert [part.about for part in result.parts] == [
        ("fscrypt.subtree", each["fs"], each["path"]) for each in (SUBTREE, nested, lost, last)
    ]
    text = result.rendered("plain")[1]
    assert "fscrypt.subtree  cefs" in text
    assert 'did you mean "cephfs"?' in text


def test_removed_is_an_intent(resources: World):
    applied(resources, SUBTREE)
    gone = {"kind": "fscrypt.subtree", "version": 1, "fs": "cephfs", "path": "/payroll", "intent": "removed"}
    assert outcomes(applied(resources, gone, dry_run=True)) == ["would change"]
    assert outcomes(applied(resources, SUBTREE | {"intent": "removed"})) == ["changed"]
    assert outcomes(applied(resources, gone)) == ["unchanged"]
    lost = applied(resources, gone | {"fs": "cefs"})
    assert (outcomes(lost), lost.code) == (["refused"], errno.ENOENT)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (TENANT, "cephfs-fscrypt tenant create acme --kms vault --fs cephfs"),
        (
            KMS,
            "cephfs-fscrypt kms add vault --kind vault --address 'https://vault:8200; reboot' --key cephfs "
            "--file vault.json --fs cephfs",
        ),
        (
            KMS | {"address": "a:1", "options": {"region": "eu 1"}},
            "cephfs-fscrypt kms add vault --kind vault --address a:1 --key cephfs --file vault.json "
            "--option 'region=eu 1' --fs cephfs",
        ),
        (
            {"kind": "fscrypt.kms", "version": 1, "fs": "cephfs", "name": "vault", "intent": "removed"},
            "cephfs-fscrypt kms rm vault --fs cephfs",
        ),
        (KEPT | {"intent": "removed"}, f"cephfs-fscrypt key destroy {KEY} --fs cephfs"),
    ],
)
def test_what_takes_a_secret_is_answered_with_the_line_for_a_client(
    resources: World, value: dict[str, Any], line: str
):
    applied(resources, KEPT)
    known = (vault(),) if "intent" in value else ()
    for dry_run in (True, False):
        told = DeclaredManagers("cephfs", known, "")
        result = applied(resources, value, SUBTREE, told=told, dry_run=dry_run)
        assert outcomes(result)[0] == "client"
        assert result.code == errno.EOPNOTSUPP
        assert isinstance(result.answer, Applied)
        assert result.answer.outcomes[0].status.endswith(f"run on a client: {line}")
        assert "1 for a client to do" in result.status
    assert applied(resources, value | {"fs": "cefs"}).code == errno.ENOENT


def test_a_key_that_is_gone_need_not_be_destroyed(resources: World):
    gone = {"kind": "fscrypt.key", "version": 1, "fs": "cephfs", "identifier": KEY, "intent": "removed"}
    assert outcomes(applied(resources, gone)) == ["unchanged"]
    applied(resources, KEPT | {"state": "destroyed"})
    assert outcomes(applied(resources, gone)) == ["unchanged"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"kind": "fscrypt.file"},
            "kind must be one of fscrypt.kms, fscrypt.tenant, fscrypt.key, fscrypt.subtree, fscrypt.gate",
        ),
        ({"kind": ["fscrypt.subtree"]}, "kind must be one of"),
        ({"version": 2}, "version must be 1"),
        ({"version": True}, "version must be 1"),
        ({"intent": "gone"}, "intent must be present or removed"),
        ({"fs": ""}, "fs must be the name of a file system"),
        ({"fs": 1}, "fs must be text: put it in quotes"),
        ({"path": 1}, "path must be text"),
        ({"path": "relative"}, "does not begin with /"),
        ({"path": "/\ud800"}, "is not UTF-8"),
        ({"inode": "10"}, "inode must be a number"),
        ({"mode": "both"}, "mode must be engine or kernel"),
        ({"policy": POLICY | {"key_identifier": 7}}, "policy.key_identifier must be a string"),
        ({"policy": POLICY | {"passphrase": "x"}}, "unknown field passphrase"),
        ({"passphrase": "x"}, "unknown field passphrase"),
        ({"policy": None}, "policy must be a JSON object"),
    ],
)
def test_one_mistake_keeps_all_from_being_applied(change: dict[str, Any], says: str):
    with pytest.raises(RefusalError) as refusal:
        declared(json.dumps([KEPT, SUBTREE | change]))
    assert refusal.value.result.code == errno.EINVAL
    assert says in refusal.value.result.status
    assert "resource 2: " in refusal.value.result.status
    assert "nothing was changed" in refusal.value.result.status


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (KEPT | {"name": "\ud800"}, "name must be Unicode text"),
        (KEPT | {"protectors": [PROTECTOR | {"secret": "x"}]}, "unknown field secret"),
        (KEPT | {"generation": 1.5}, "generation must be of the type int"),
        (TENANT | {"kms": ""}, "kms must be of 1 to 300 characters"),
        (TENANT | {"intent": "removed"}, "a tenant ends with the last of its keys"),
        (KMS | {"credentials": "x"}, "unknown field credentials"),
        (KMS | {"name": 1}, "name must be text"),
        (KMS | {"options": ["x"]}, "options must be an object"),
        (KMS | {"options": {"region": 1}}, "region must be text"),
        ({name: value for name, value in KMS.items() if name != "file"}, "without file missing"),
        (GATE | {"rung": "observe"}, 'to take a gate back, its intent is "removed"'),
        (GATE | {"rung": ["exclude"]}, "rung must be one of require, isolate, exclude"),
        (GATE | {"rung": "isolate"}, "without the unknown field open"),
        (GATE | {"admitted": "client.friend"}, "admitted must be a list"),
        (GATE | {"admitted": ["client.a,client.b"]}, "without commas"),
        (GATE | {"kept": [""]}, "kept must be a list of texts"),
        (GATE | {"kept": ["\ud800"]}, "kept must be Unicode text"),
        (GATE | {"namespace": ""}, "namespace must be of 1 to 300 characters"),
        (GATE | {"path": 1}, "path must be text"),
        (ISOLATE | {"passphrase": "x"}, "unknown field passphrase"),
        ({**REQUIRE, "namespace": "x"}, "unknown field namespace"),
        ("x", "must be an object"),
        ({}, "kind must be one of"),
    ],
)
def test_values_that_are_no_resource(value: object, says: str):
    with pytest.raises(RefusalError) as refusal:
        declared(json.dumps([value]))
    assert says in refusal.value.result.status


def test_the_same_twice_is_a_mistake(resources: World):
    again = SUBTREE | {"path": "//payroll/", "inode": 11}
    with pytest.raises(RefusalError) as refusal:
        declared(json.dumps([SUBTREE, KEPT, again]))
    assert "resource 3 is resource 1 once more: fscrypt.subtree /payroll" in refusal.value.result.status
    other = SUBTREE | {"fs": "scratch"}
    assert applied(resources, SUBTREE, other).success


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_no_document(text: str | None):
    with pytest.raises(RefusalError) as refusal:
        declared(text)
    assert "-i FILE" in refusal.value.result.status


def test_shapes_of_documents(resources: World):
    assert declared("[]") == declared("# none\n") == ()
    assert resources.apply(()).status == "there is no resource in it; nothing to do"
    one = declared(json.dumps(SUBTREE))
    for value in ([SUBTREE], {"resources": [SUBTREE]}, {"resources": [SUBTREE], "following": "1:subtree:/a"}):
        assert declared(yaml.safe_dump(value)) == one
    assert len(declared("---\n".join([yaml.safe_dump(SUBTREE), yaml.safe_dump([KEPT])]))) == 2
    many = [SUBTREE | {"path": f"/{number}"} for number in range(MOST + 1)]
    with pytest.raises(RefusalError) as refusal:
        declared(json.dumps(many))
    assert "apply them in parts" in refusal.value.result.status
    assert len(declared(json.dumps(many[1:]))) == MOST


def test_of_many_mistakes_the_first_are_told():
    with pytest.raises(RefusalError) as refusal:
        declared(json.dumps([{}] * 50))
    assert refusal.value.result.status.count("resource ") == 10
    assert "and 40 more" in refusal.value.result.status
