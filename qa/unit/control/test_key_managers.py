"""Key managers as the engine service tells of them: listed, tried, declared, and not known."""

import errno
from collections.abc import Callable
from dataclasses import replace

import pytest

from mgr_fscrypt.control import FileSystem, RefusalError, Result
from mgr_fscrypt.control.client_lines import ClientLine, left_to_a_client
from mgr_fscrypt.control.key_managers import DeclaredManagers, KeyManagers, KmsPage
from mgr_fscrypt.messages.kms import KmsFacts
from mgr_fscrypt.messages.resource import KmsResource
from mgr_fscrypt.messages.service import (
    Ask,
    BackendState,
    Done,
    KnownManager,
    Managers,
    ManagersQuestion,
    Said,
    TryManager,
)

VAULT = KmsFacts("vault", "vault", "https://a:8200", "k", "vault.json", ("mount=transit", "path=a=b"))
SECOND = KmsFacts("second", "kmip", "b:5696", "uid", "second.json", ())
KNOWN = Managers(
    1,
    1_700_000_000.0,
    "",
    (
        KnownManager(SECOND, None, testing=True),
        KnownManager(
            VAULT, BackendState("vault", False, 1.0, "KmsUnreachableError", 2.0, None), testing=False
        ),
    ),
)
GONE = RefusalError(errno.EAGAIN, "there is no engine service")


class Cluster:
    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(1, "cephfs"), FileSystem(2, "scratch")]


class Service:
    def __init__(self, managers: Said | RefusalError = KNOWN) -> None:
        self.managers = managers
        self.asked: list[Ask] = []
        self.manager = KeyManagers(ask=self.ask, cluster=Cluster())

    def ask(self, question: Callable[[], Ask]) -> Said:
        ask = question()
        self.asked.append(ask)
        if isinstance(self.managers, RefusalError):
            raise self.managers
        return self.managers if isinstance(ask, ManagersQuestion) else Done()


def test_they_are_listed_as_they_were_met():
    result = Service().manager.listing("cephfs")
    assert isinstance(result.answer, KmsPage)
    assert KmsPage.restored(result.answer.simplified()) == result.answer
    assert [(each.name, each.state, each.last) for each in result.answer.managers] == [
        ("second", "testing", None),
        ("vault", "unreachable", 2.0),
    ]
    text = result.rendered(None)[1]
    assert "KmsUnreachableError" in text
    assert "1970-01-01 00:00:02 UTC" in text
    empty = Service(Managers(1, 1.0, "", ()))
    assert "`cephfs-fscrypt kms add`" in empty.manager.listing().rendered(None)[1]
    unread = Service(Managers(1, 1.0, "the settings of key manager x cannot be read", ()))
    assert unread.manager.listing().rendered(None)[1] == "the settings of key manager x cannot be read"


def test_one_is_tried():
    service = Service()
    result = service.manager.test("cephfs", "vault")
    assert (result.success, service.asked[-1]) == (True, TryManager("vault"))
    missing = service.manager.test("cephfs", "vualt")
    assert (missing.code, 'did you mean "vault"?' in missing.status) == (errno.ENOENT, True)
    assert len(service.asked) == 3, "one that is not there is not tried"
    unread = Service(replace(KNOWN, trouble="some cannot be read"))
    unknown = unread.manager.test("cephfs", "vualt")
    assert unknown.code == errno.EAGAIN, "it may be there"
    assert unknown.status.endswith("on a client: cephfs-fscrypt kms test vualt --fs cephfs")
    assert unread.manager.test("cephfs", "vault").success


ACTS: list[Callable[[KeyManagers, str], Result]] = [
    lambda manager, fs: manager.listing(fs),
    lambda manager, fs: manager.test(fs, "vault"),
]


@pytest.mark.parametrize("act", ACTS)
def test_of_another_file_system_a_client_tells(act: Callable[[KeyManagers, str], Result]):
    result = act(Service().manager, "scratch")
    assert result.code == errno.EOPNOTSUPP
    assert isinstance(result.answer, ClientLine)
    assert result.answer.line.endswith("--fs scratch")
    lost = act(Service().manager, "scrach")
    assert (lost.code, 'did you mean "scratch"?' in lost.status) == (errno.ENOENT, True)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(
    ("said", "says"),
    [
        (GONE, "no engine service"),
        (Done(), "of another release"),
        (
            Managers(None, None, "the cluster does not answer", ()),
            "the cluster does not answer; run it again",
        ),
        (Managers(7, 1.0, "", ()), "has not read key managers yet"),
    ],
)
def test_what_nobody_tells(act: Callable[[KeyManagers, str], Result], said: Said | RefusalError, says: str):
    service = Service(said)
    result = act(service.manager, "cephfs")
    assert (result.code, says in result.status) == (errno.EAGAIN, True)
    assert service.manager.declared() == DeclaredManagers("", (), result.status)


def test_they_are_declared():
    options = {"mount": "transit", "path": "a=b"}
    assert Service().manager.declared() == DeclaredManagers(
        "cephfs",
        (
            KmsResource("cephfs", "second", "kmip", "b:5696", "uid", "second.json", {}),
            KmsResource("cephfs", "vault", "vault", "https://a:8200", "k", "vault.json", options),
        ),
        "",
    )


def test_a_line_for_a_client_is_safe_in_a_shell():
    result = left_to_a_client(
        Cluster(), "cephfs", ["key", "create", "a b; reboot"], {"tenant": None, "with": "kms"}
    )
    line = "cephfs-fscrypt key create 'a b; reboot' --with kms --fs cephfs"
    assert result.rendered(None) == (
        -errno.EOPNOTSUPP,
        line,
        f"this takes what the manager must not have, nothing was changed; run on a client: {line}",
    )
    assert isinstance(result.answer, ClientLine)
    assert ClientLine.restored(result.answer.simplified()) == result.answer
    flag = left_to_a_client(Cluster(), "cephfs", ["tenant", "rotate", "a"], {"kms-too": True})
    assert flag.rendered(None)[1] == "cephfs-fscrypt tenant rotate a --kms-too --fs cephfs"
    assert "kms-too" not in left_to_a_client(Cluster(), "cephfs", [], {"kms-too": False}).status


def test_where_a_secret_lies_is_said_on_the_client():
    refused = left_to_a_client(Cluster(), "cephfs", ["key", "create", "k"], {"with": "passphrase:sesame"})
    assert (refused.code, "sesame" in refused.status) == (errno.EINVAL, False)
    assert left_to_a_client(Cluster(), "cephfs", [], {"with": "kms:vault"}).code == errno.EOPNOTSUPP
