"""The master keys that a command may use: one out of a file, and those in the cluster that what was given opens."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..ceph.access import Access
from ..custody import custody
from ..engine import Keyring
from ..format import MasterKey
from .key_files import read_key
from .openers import openers_of
from .outcome import Exit, Failure


@dataclass(frozen=True)
class GivenKeys:
    """What was given.

    Attributes:
        keyring: for the file system; it opens keys that are kept in the cluster by itself.
        key: the one that was named, by a file or by its name in the cluster.
        any: may there be more in the keyring than `key`?
    """

    keyring: Keyring
    key: MasterKey | None
    any: bool = False


@contextmanager
def given_keys(options: argparse.Namespace, access: Access) -> Iterator[GivenKeys]:
    """For a `with` block, by the options --key, --open, --key-name and --credentials.

    Raises:
        Failure: options that do not go together, or no secret where one was named.
        KeyStoreError: the key that was named is not opened by what was given.
    """
    if options.key is not None and options.open:
        raise Failure(Exit.USAGE, "--key FILE and --open are two ways to the same", remedy="give one of them")
    if not options.open:
        if options.key_name is not None:
            raise Failure(
                Exit.USAGE, "--key-name needs --open", remedy="say what opens it, such as `--open passphrase`"
            )
        yield _of_file(options)
        return
    with custody(access, options.credentials) as found:
        openers = found.for_keys(openers_of(options.open, found.managers))
        keyring = Keyring(lambda identifier: found.unlocked(identifier, openers))
        key = None
        if options.key_name is not None:
            key = found.acts.unlock(found.safe.find(options.key_name), openers)
            keyring.add(key)
        yield GivenKeys(keyring, key, any=True)


def _of_file(options: argparse.Namespace) -> GivenKeys:
    keyring = Keyring()
    if options.key is None:
        return GivenKeys(keyring, None)
    key = read_key(options.key)
    keyring.add(key)
    return GivenKeys(keyring, key)
