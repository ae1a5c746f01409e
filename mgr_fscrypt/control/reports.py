"""Reports that clients give of what is kept with the data."""

import errno
from collections.abc import Callable
from typing import TypeVar

from ..messages import MessageError
from .refusal import RefusalError

T = TypeVar("T")


def kept_facts(report: str | None, decode: Callable[[str], T], what: str) -> T:
    """What a report of `cephfs-fscrypt key rescan` says of `what`. Raises `RefusalError` for one that is none."""
    if not report:
        raise RefusalError(
            errno.EINVAL, "no report was given, nothing was changed; `cephfs-fscrypt key rescan` gives them"
        )
    try:
        return decode(report)
    except MessageError as error:
        raise RefusalError(
            errno.EINVAL,
            f"the report is not one of {what}: {error}; nothing was changed; `cephfs-fscrypt key rescan` gives them",
        ) from error
