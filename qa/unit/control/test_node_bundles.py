"""`subtree bundle`: asked for until the service has read it, and told with the lines that use it."""

import errno
from collections.abc import Callable

import pytest

from mgr_fscrypt.control import FileSystem, RefusalError, Result
from mgr_fscrypt.control.node_bundles import PATIENCE, NodeBundle, NodeBundles
from mgr_fscrypt.control.subtree_detail import SubtreeDetail
from mgr_fscrypt.control.values import SubtreeLine
from mgr_fscrypt.messages.kms import KmsFacts
from mgr_fscrypt.messages.service import Ask, Bundled, BundleQuestion, Done, Said

KEY = "00112233445566778899aabbccddeeff"
TICKETS = ("0a" * 16, "0b" * 16)
LINE = SubtreeLine("cephfs", True, "/a b", 7, "engine", "AES-256-XTS", "AES-256-CBC-CTS", 32, KEY, 1)
READ = Bundled("read", "", '{"kind": "key bundle"}', (KmsFacts("vault", "vault", "https://a", "k", "f", ()),))


class Stage:
    """A manager that knows one subtree, and a service that says one thing after the other."""

    def __init__(self, *said: Said | RefusalError) -> None:
        self.said = list(said)
        self.asked: list[Ask] = []
        self.time = 0.0
        self.bundles = NodeBundles(
            ask=self.ask,
            subtrees=self,  # type: ignore[arg-type] # as much as it needs
            cluster=self,
            answer=lambda work: work(),
            now=lambda: self.time,
            pause=self.pause,
            new_ticket=iter(TICKETS).__next__,
        )

    def file_systems(self) -> list[FileSystem]:
        return [FileSystem(3, "cephfs")]

    def show(self, fs_name: str, path: str) -> Result:
        if path != LINE.path:
            return Result.failed(errno.ENOENT, "no subtree is registered there")
        return Result(answer=SubtreeDetail(LINE, None))

    def ask(self, ask: Callable[[], Ask]) -> Said:
        self.asked.append(ask())
        said = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(said, RefusalError):
            raise said
        return said

    def pause(self, seconds: float) -> None:
        self.time += seconds


def test_it_is_told_once_it_was_read_with_the_lines_that_use_it():
    stage = Stage(Bundled("reading"), Bundled("reading"), READ)
    result = stage.bundles.give("cephfs", "/a b")
    assert stage.asked == [BundleQuestion(3, KEY, TICKETS[0])] * 3
    assert isinstance(result.answer, NodeBundle)
    assert result.rendered(None)[1] == READ.bundle
    assert result.answer.mount == "cephfs-fscrypt mount '/a b' DIRECTORY --fs cephfs --bundle FILE --open kms"
    assert result.answer.unlock == "cephfs-fscrypt unlock DIRECTORY --fs cephfs --bundle FILE --open kms"
    assert result.answer.simplified()["subtree"]["key_identifier"] == KEY
    assert READ.bundle not in result.status + repr(result), "neither the audit nor a log has it"


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (Bundled("refused", "key payroll is destroying"), errno.EPERM, "nothing was given out"),
        (Bundled("failed", "the cluster is away"), errno.EAGAIN, "nothing was given out"),
        (Bundled("reading"), errno.EAGAIN, "run it again"),
        (Done(), errno.EPROTO, "another release"),
        (RefusalError(errno.EAGAIN, "there is no engine service"), errno.EAGAIN, "no engine service"),
    ],
)
def test_what_is_not_given_out(said: Said | RefusalError, code: int, words: str):
    stage = Stage(said)
    result = stage.bundles.give("cephfs", "/a b")
    assert (result.code, words in result.status, result.answer) == (code, True, None)
    assert stage.time <= PATIENCE + 1


def test_each_command_asks_for_itself():
    """What was read for one that nobody waited for is given to no other one: its key may be shut by then."""
    stage = Stage(*[Bundled("reading")] * 100, READ)
    assert stage.bundles.give("cephfs", "/a b").code == errno.EAGAIN
    assert stage.bundles.give("cephfs", "/a b").success
    assert {each.ticket for each in stage.asked if isinstance(each, BundleQuestion)} == set(TICKETS)


def test_of_what_is_not_registered_nothing_is_asked():
    stage = Stage(READ)
    assert stage.bundles.give("cephfs", "/b").code == errno.ENOENT
    assert stage.asked == []
