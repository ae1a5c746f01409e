"""What is done to the protectors of keys. Each act is one replacement of a lockbox, or several of which each is safe:
a process that ends at any moment leaves as many working protectors as there were, or more.
Each is written down in the audit, done or refused.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from ..format import MasterKey
from .binding import Binding
from .container import unwrap
from .errors import ChangedError, NoSuchKeyError, RefusedError, WrongSecretError
from .keeper import Keeper
from .lockbox import Entry, Lockbox, State
from .opener import Opener
from .protectors import Protectors, first_opened
from .tenant_key import TenantKey, version_of

_TRIES = 5

_NOTED_AGAIN = 86400
"""Seconds after which a protector's use is noted once more."""


class Acts:
    """What a keeper does to protectors."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._safe = keeper.safe
        self._protectors = Protectors(keeper)

    def create(
        self,
        name: str,
        tenant: str,
        master: MasterKey,
        protector: str,
        opener: Opener,
        *,
        drill_every: int = 0,
    ) -> Lockbox:
        """Keep a master key, with its first protector, which was seen to open before anything is stored.

        Raises:
            RefusedError: name or key are kept already.
            DestroyedError: that key was destroyed here.
            KmsError: of the key manager.
        """
        binding, identifier = self._safe.binding(tenant), master.identifier.hex()
        with self._keeper.told("create", f"{name} ({identifier})"):
            entry = self._wrapped(master, binding, protector, opener)
            keeper = self._keeper
            box = Lockbox(
                binding,
                identifier,
                name,
                keeper.who,
                keeper.now(),
                drill_every=drill_every,
                entries=(entry,),
            )
            self._safe.add(box)
            return self._under_newest(box, entry, opener, master)

    def unlock(self, box: Lockbox, openers: Iterable[Opener]) -> MasterKey:
        """The master key, by the first of its protectors that one of `openers` opens. That it did is noted once a day,
        where the caller may write.

        Raises:
            RefusedError: the key is disabled, or waits to be destroyed.
            WrongSecretError: none opens it; the message is that of the last one that was tried.
            ContainerError: what could have opened it is damaged.
            KmsError: a key manager that could have opened it did not answer.
            NoSuchKeyError: that key manager, or the key of its tenant, is not known here.
        """
        _require_active(box)
        given = tuple(openers)
        try:
            entry, master = opened(box, given)
        except NoSuchKeyError:
            # its tenant's key may have been rotated since it was read
            now = self._safe.find(box.key)
            if now == box:
                raise
            _require_active(now)
            entry, master = opened(now, given)
        self._note_use(box, entry)
        return master

    def add(self, named: str, protector: str, opener: Opener, known: Iterable[Opener]) -> Lockbox:
        """One protector more, for whoever can open the key by one that is there."""
        box = self._safe.find(named)
        with self._keeper.told("add-protector", f"{box.title}, protector {protector}"):
            _require_active(box)
            master = opened(box, known)[1]
            entry = self._wrapped(master, box.binding, protector, opener)
            after = self._safe.revised(box.key, lambda now: now.with_entry(entry))
            return self._under_newest(after, entry, opener, master)

    def remove(self, named: str, protector: str) -> Lockbox:
        """One protector less. What it wrapped stays in bundles and backups, and still opens there.

        Raises:
            RefusedError: it is the last one, or the last one that was seen to open.
        """
        box = self._safe.find(named)
        with self._keeper.told("remove-protector", f"{box.title}, protector {protector}"):
            gone = box.entry(protector).id
            return self._safe.revised(box.key, lambda now: now.without(gone) if now.has(gone) else now)

    def test(self, named: str, protector: str, opener: Opener, *, drill: bool = False) -> Lockbox:
        """Open it for real, load nothing, and note that it works; as a recovery drill, that it was done."""
        box = self._safe.find(named)
        entry = box.entry(protector)
        with self._keeper.told("drill" if drill else "test", f"{box.title}, protector {entry.name}"):
            _master(box, entry, opener)
            now = self._keeper.now()
            return self._safe.revised(
                box.key,
                lambda found: replace(
                    found.with_proof(entry.id, now), drilled=now if drill else found.drilled
                ),
            )

    def rewrap(self, named: str, protector: str, new: Opener, known: Iterable[Opener]) -> Lockbox:
        """The same key in a new container under the same name, such as for another passphrase.

        The old one is kept until the new one was read back from where it is stored and opened. It revokes nothing:
        whoever has a copy of the old container and its secret still opens the key.
        """
        box = self._safe.find(named)
        with self._keeper.told("rewrap", f"{box.title}, protector {protector}"):
            old = box.entry(protector)
            master = opened(box, known)[1]
            return self._exchanged(box, old, new, master)[0]

    def recover(self, named: str, openers: Iterable[Opener]) -> tuple[Lockbox, MasterKey]:
        """The master key as it is, to be given to people; raises as `unlock`.

        That it left is written on its lockbox and in the audit before it is given out: a mark without a key does no
        harm. It stays marked for good: no protector that is taken away, and no end of the key, reaches what has left.
        """
        box = self._safe.find(named)
        with self._keeper.told("recover", box.title):
            _require_active(box)
            master = opened(box, openers)[1]
            now = self._keeper.now()

            def marked(found: Lockbox) -> Lockbox:
                _require_active(found)
                return found.changed(left=now)

            after = self._safe.revised(box.key, marked)
        return after, master

    # parts

    def _note_use(self, box: Lockbox, entry: Entry) -> None:
        if self._keeper.now() - entry.proven >= _NOTED_AGAIN:
            # who may only read leaves no trace, and of two who note the same one is enough
            with suppress(PermissionError, ChangedError):
                self._safe.revised(box.key, lambda now: now.with_proof(entry.id, self._keeper.now()))

    def _exchanged(self, box: Lockbox, old: Entry, new: Opener, master: MasterKey) -> tuple[Lockbox, Entry]:
        secret = master.expose()
        entry = self._protectors.beside(box, old, new, secret)
        # a rotation that looked before the new one was stored may forget what it needs; the next one sees it
        if self._is_behind(box.binding, entry):
            raise ChangedError(
                f"the key of tenant {box.binding.tenant} was rotated at the same time; the old container of {old.name} "
                "stands",
                remedy="Run it again.",
            )
        return self._protectors.exchange(box, old, entry, new, secret), entry

    def _under_newest(self, box: Lockbox, entry: Entry, opener: Opener, master: MasterKey) -> Lockbox:
        """A rotation of the tenant's key that began before `entry` was stored may have looked before that, too, and
        forget the version that it needs: then it is wrapped anew under the one that the rotation made."""
        for _ in range(_TRIES):
            if not self._is_behind(box.binding, entry):
                return box
            try:
                box, entry = self._exchanged(box, entry, opener, master)
            except ChangedError:
                continue
            except NoSuchKeyError:
                # the rotation saw it after all, and has done this
                return self._safe.find(box.key)
        raise ChangedError(
            f"the key of tenant {box.binding.tenant} is rotated again and again; protector {entry.name} of key "
            f"{box.name} was made, and may be under a version that is forgotten",
            remedy=f"`cephfs-fscrypt key test {box.name} {entry.name} --open kms` shows whether it opens.",
        )

    def _is_behind(self, binding: Binding, entry: Entry) -> bool:
        """Is there a newer version of the tenant's key, or the one of the entry forgotten? Those that are kept are one
        after the other, and the oldest is forgotten first: so it is asked for the next one before its own."""
        if entry.kind != TenantKey.kind:
            return False
        version = version_of(entry.container.header.parameters)
        keeps, tenant = self._safe.keeps_tenant_key, binding.tenant
        return keeps(tenant, version + 1) or not keeps(tenant, version)

    def _wrapped(self, master: MasterKey, binding: Binding, protector: str, opener: Opener) -> Entry:
        return self._protectors.made(master.expose(), binding, master.identifier.hex(), protector, opener)


def opened(box: Lockbox, openers: Iterable[Opener]) -> tuple[Entry, MasterKey]:
    """The master key, and the protector that gave it. Raises as `Acts.unlock`."""
    return first_opened(box, openers, lambda entry, opener: _master(box, entry, opener))


def _master(box: Lockbox, entry: Entry, opener: Opener) -> MasterKey:
    key = MasterKey(unwrap(entry.container, box.binding, box.key, opener))
    if key.identifier.hex() != box.key:
        raise WrongSecretError(f"protector {entry.name} holds another key than {box.key}")
    return key


def _require_active(box: Lockbox) -> None:
    if box.state is State.DISABLED:
        raise RefusedError(
            f"key {box.name} is disabled", remedy=f"`cephfs-fscrypt key enable {box.name}` ends that."
        )
    if box.state is State.DESTROYING:
        raise RefusedError(
            f"key {box.name} waits to be destroyed",
            remedy=f"`cephfs-fscrypt key cancel {box.name}` ends that.",
        )
