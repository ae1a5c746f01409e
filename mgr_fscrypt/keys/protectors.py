"""What wraps a key, whichever key it is: made, proven, and exchanged for another one under the same name."""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from .binding import Binding
from .container import Container, Protector, unwrap, wrap
from .errors import ChangedError, KeyStoreError, KmsAnswerError, KmsUnreachableError, WrongSecretError
from .keeper import Keeper
from .lockbox import Entry, Lockbox
from .opener import KINDS, Opener

T = TypeVar("T")


class Protectors:
    """What a keeper does to single protectors. A secret is the bytes of the key that they wrap."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._safe = keeper.safe

    def made(self, secret: bytes, binding: Binding, key: str, name: str, opener: Opener) -> Entry:
        """A new one, which was seen to open before anything is stored.

        Raises:
            WrongSecretError: it gives another key back.
            KmsError: of the key manager.
        """
        protector = Protector(os.urandom(8).hex(), name, opener.kind, self._keeper.who, self._keeper.now())
        container = wrap(secret, binding, key, protector, opener)
        return Entry(container, proven=self._seen_to_open(container, opener, secret))

    def beside(self, box: Lockbox, old: Entry, opener: Opener, secret: bytes) -> Entry:
        """A new one, stored beside the one that it is to replace. Raises as `made`."""
        entry = replace(self.made(secret, box.binding, box.key, old.name, opener), replaces=old.id)
        self._safe.revised(box, lambda now: now.settled(old.id).with_entry(entry))
        return entry

    def exchange(self, box: Lockbox, old: Entry, entry: Entry, opener: Opener, secret: bytes) -> Lockbox:
        """Put it in place of the old one, after it was read back from where it is stored, and opened.

        Raises:
            ChangedError: somebody else was there; the old one stands.
            RefusedError: then no protector would be left that was seen to open.
        """
        stored = self._safe.again(box)
        found = next((each for each in stored.entries if each.id == entry.id), None)
        if found is None or found.container != entry.container:
            raise ChangedError(
                f"the new container of {entry.name} was not found again; the old one stands",
                remedy="Run it again.",
            )
        proven = self._seen_to_open(found.container, opener, secret)
        return self._safe.revised(box, lambda now: now.exchanged(old.id, entry.id, proven))

    def _seen_to_open(self, container: Container, opener: Opener, secret: bytes) -> int:
        """When that was: now, or never where the private half is far away, as it should be."""
        if not opener.opens:
            return 0
        header = container.header
        if unwrap(container, header.binding, header.key, opener) != secret:
            raise WrongSecretError(f"{KINDS[opener.kind]} gives another key back than was wrapped")
        return self._keeper.now()


def first_opened(
    box: Lockbox, openers: Iterable[Opener], read: Callable[[Entry, Opener], T]
) -> tuple[Entry, T]:
    """What `read` gives for the first protector that one of the openers opens, in the order of the protectors.

    Raises:
        KeyStoreError: why none did. Where a key manager could not be reached, that: trying again may help.
        WrongSecretError: nothing was given for any of them.
    """
    given = tuple(openers)
    trouble: KeyStoreError | None = None
    for entry in box.in_use():
        for opener in given:
            if opener.kind != entry.kind:
                continue
            try:
                return entry, read(entry, opener)
            except KeyStoreError as error:
                # one that is damaged, or whose key manager is gone, stands in the way of no other
                if not isinstance(trouble, KmsUnreachableError | KmsAnswerError):
                    trouble = error
    if trouble is not None:
        raise trouble
    ways = ", ".join(f"{entry.name} ({entry.kind})" for entry in box.in_use()) or "nothing"
    raise WrongSecretError(f"nothing was given that opens {box.whose}", remedy=f"It is opened by {ways}.")
