"""The key of an inode, and what it opens."""

import errno

from ..format import Contents, Context, FormatError, MasterKey
from .errors import LockedError, RefusedError
from .keyring import Keyring


def key_of(keyring: Keyring, context: Context, plain: bytes) -> MasterKey:
    """The master key of the policy. Raises `LockedError`."""
    key = keyring.find(context.policy.key)
    if key is None:
        raise LockedError(plain, context.policy.key)
    return key


def contents_of(keyring: Keyring, context: Context, plain: bytes) -> Contents:
    """The cipher of a file's contents, which whoever asked for it closes.

    Raises:
        LockedError: the key is not here.
        RefusedError: EOPNOTSUPP: the policy is none that CephFS has, or that we have a cipher for.
    """
    key = key_of(keyring, context, plain)
    try:
        context.policy.check_for_cephfs()
        return Contents(key, context)
    except FormatError as error:
        raise RefusedError(
            errno.EOPNOTSUPP, str(error), plain, remedy="Use a kernel client for it."
        ) from error
