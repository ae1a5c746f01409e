"""From what commands answer to what HTTP says: one table."""

import errno
from collections.abc import Mapping

STATUSES: Mapping[int, int] = {
    0: 200,
    errno.EINVAL: 400,
    errno.EACCES: 401,
    errno.EPERM: 403,
    errno.ENOENT: 404,
    errno.EEXIST: 409,
    errno.EBUSY: 409,
    errno.ECANCELED: 409,
    errno.EBADMSG: 409,
    errno.EOPNOTSUPP: 409,
    errno.ENOTEMPTY: 409,
    errno.EIO: 500,
    errno.EPROTO: 503,
    errno.EAGAIN: 503,
    errno.ETIMEDOUT: 503,
}
"""The status of each errno that commands answer with. A refusal that a person can do something about is no 5xx; 503 is
for what goes away by itself, or when somebody mends something else."""

WORDS: Mapping[int, str] = {
    400: "EINVAL",
    401: "EACCES",
    403: "EPERM",
    404: "ENOENT",
    405: "METHOD",
    409: "CONFLICT",
    411: "LENGTH",
    412: "CHANGED",
    413: "TOO_LARGE",
    414: "TOO_LONG",
    415: "MEDIA_TYPE",
    429: "TOO_MANY",
    431: "TOO_LONG",
    500: "EIO",
    503: "EAGAIN",
}
"""What an error is called where no command had a word for it."""


def status_of(code: int) -> int:
    """The status for an errno; what nobody thought of is a conflict, and no fault of the server's."""
    return STATUSES.get(code, 409)


def word_of(code: int) -> str:
    """What programs know an errno by."""
    return errno.errorcode.get(code, str(code))
