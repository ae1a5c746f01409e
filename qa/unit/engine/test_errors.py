"""What the engine refuses is what Python calls it."""

import errno
import os
import pickle

import pytest

from mgr_fscrypt.engine import RefusedError


@pytest.mark.parametrize(
    "number",
    [errno.EACCES, errno.EPERM, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EXDEV, errno.EINVAL],
)
def test_a_refusal_is_of_the_class_that_python_has_for_its_number(number: int):
    error = RefusedError(number, "no", b"/a", remedy="Do not.")
    assert isinstance(error, type(OSError(number, os.strerror(number))))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    for each in (error, again):
        assert isinstance(each, RefusedError)
        assert (each.errno, each.strerror, each.filename, each.remedy) == (number, "no", b"/a", "Do not.")
    assert type(again) is type(error)
