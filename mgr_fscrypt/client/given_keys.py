"""The master keys that a command may use: one out of a file, and those in the cluster that what was given opens."""

import argparse
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from ..ceph.access import Access
from ..custody import Custody, custody
from ..engine import Keyring
from ..format import MasterKey
from ..keys.opener import Opener
from ..withdrawal import Withdrawal
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
        kept: where they are kept in the cluster; None where the key was given as it is.
    """

    keyring: Keyring
    key: MasterKey | None
    any: bool = False
    kept: Custody | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """For a ``with`` block that takes long: keys that open for nobody any more go out of the keyring."""
        kept = self.kept
        if kept is None:
            yield
            return
        withdrawal = Withdrawal(self.keyring.identifiers, lambda: nullcontext(kept), self.keyring.remove)
        threading.Thread(target=withdrawal.run, name="fscrypt-withdrawal", daemon=True).start()
        try:
            yield
        finally:
            withdrawal.end()


@contextmanager
def given_keys(options: argparse.Namespace, access: Access) -> Iterator[GivenKeys]:
    """For a `with` block, by the options --key, --open, --key-name, --bundle and --credentials.

    Raises:
        Failure: options that do not go together, or no secret where one was named.
        KeyStoreError: the key that was named is not opened by what was given.
    """
    if options.key is not None and options.open:
        raise Failure(Exit.USAGE, "--key FILE and --open are two ways to the same", remedy="give one of them")
    if not options.open:
        if options.bundle is not None:
            raise Failure(
                Exit.USAGE,
                "--bundle needs --open",
                remedy="say what opens what is in it, such as `--open kms`",
            )
        if options.key_name is not None:
            raise Failure(
                Exit.USAGE, "--key-name needs --open", remedy="say what opens it, such as `--open passphrase`"
            )
        yield keys_of(None if options.key is None else read_key(options.key))
        return
    with kept_keys(
        access,
        options.credentials,
        lambda managers: openers_of(options.open, managers),
        options.key_name,
        bundle=options.bundle,
    ) as found:
        yield found


@contextmanager
def kept_keys(
    access: Access,
    credentials: Path,
    openers: Callable[[Opener], Iterable[Opener]],
    key_name: str | None = None,
    *,
    bundle: Path | None = None,
) -> Iterator[GivenKeys]:
    """For a `with` block: the keys in the cluster that `openers` open, which gets what stands for the key managers.

    With a `bundle`, those in that file, and not those in the cluster.

    Raises:
        KeyStoreError: the key of the name `key_name` is not opened by what was given.
        As `openers`, and `custody`.
    """
    with custody(access, credentials, bundle=bundle) as found:
        given = found.for_keys(openers(found.managers))
        keyring = Keyring(lambda identifier: found.unlocked(identifier, given))
        key = None
        if key_name is not None:
            key = found.acts.unlock(found.safe.find(key_name), given)
            keyring.add(key)
        yield GivenKeys(keyring, key, any=True, kept=found)


def keys_of(key: MasterKey | None) -> GivenKeys:
    """One key as it is, or none."""
    keyring = Keyring()
    if key is not None:
        keyring.add(key)
    return GivenKeys(keyring, key)
