import errno

import pytest

from mgr_fscrypt.ceph.errors import (
    CephError,
    NotFoundError,
    UnreachableError,
    UnsupportedReleaseError,
    error_of,
)
from mgr_fscrypt.client.advice import failure_of, shown
from mgr_fscrypt.client.outcome import Exit, Failure
from mgr_fscrypt.engine import BusyError, DamagedError, LockedError, NotFencedError, RefusedError
from mgr_fscrypt.format import ContextError, MasterKeyError, NameTooLongError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LockedError(b"/a", bytes(16)), Exit.LOCKED),
        (DamagedError(errno.EIO, "torn", b"/a", remedy="r"), Exit.DIFFERS),
        (RefusedError(errno.EXDEV, "other policy", b"/a", remedy="r"), Exit.REFUSED),
        (BusyError(errno.EBUSY, "in use", b"/a", remedy="r"), Exit.REFUSED),
        (NotFencedError(b"/a", ()), Exit.REFUSED),
        (NotFoundError(errno.ENOENT, "nothing there", b"/a"), Exit.NOT_FOUND),
        (UnreachableError(errno.ETIMEDOUT, "no answer"), Exit.UNREACHABLE),
        (UnsupportedReleaseError(errno.EOPNOTSUPP, "Ceph 16"), Exit.REFUSED),
        (CephError(errno.ESHUTDOWN, "evicted"), Exit.UNREACHABLE),
        (CephError(errno.EACCES, "not allowed"), Exit.REFUSED),
        (error_of(errno.EDQUOT, "write", b"/a"), Exit.REFUSED),
        (CephError(errno.EIO, "broken"), Exit.INTERNAL),
        (ContextError("40 bytes"), Exit.DIFFERS),
        (MasterKeyError("another key"), Exit.LOCKED),
        (NameTooLongError("256 bytes"), Exit.REFUSED),
        (FileNotFoundError(errno.ENOENT, "No such file", "local"), Exit.NOT_FOUND),
        (PermissionError(errno.EACCES, "Permission denied", "local"), Exit.REFUSED),
        (OSError(errno.ENOSPC, "No space left on device", "local"), Exit.INTERNAL),
    ],
)
def test_every_kind_of_error_has_its_code(error: Exception, code: Exit):
    failure = failure_of(error)
    assert failure is not None
    assert failure.code is code
    assert failure.happened


def test_a_failure_is_itself():
    failure = Failure(Exit.USAGE, "no")
    assert failure_of(failure) is failure


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyError("x"), OSError("without a number")])
def test_mistakes_of_ours_are_not_explained_away(error: Exception):
    assert failure_of(error) is None


def test_remedies_of_the_engine_are_kept():
    failure = failure_of(RefusedError(errno.EXDEV, "other policy", b"/a", remedy="Copy it."))
    assert failure is not None
    assert (failure.happened, failure.remedy) == ("/a: other policy", "Copy it.")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/plain/gr\xc3\xb6\xc3\x9fe", "/plain/größe"),
        (b"/\xff", "/\\udcff"),
        ("/a\x1b[2J\nb", "/a\\x1b[2J\\nb"),
        ("/\u202etxt", "/\\u202etxt"),
    ],
)
def test_no_name_moves_the_cursor(path: bytes | str, text: str):
    assert shown(path) == text


def test_nor_does_one_in_the_words_of_an_error():
    failure = failure_of(
        BusyError(errno.EBUSY, "1 differ, the first: /a\x1b[2J\nb", b"/c", remedy="Look at /d\x07.")
    )
    assert failure is not None
    assert (failure.happened, failure.remedy) == (
        "/c: 1 differ, the first: /a\\x1b[2J\\nb",
        "Look at /d\\x07.",
    )
