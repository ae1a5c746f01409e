"""Tenants' keys: kept as lockboxes with protectors of their own, and exchanged for new ones without touching any data.

While a rotation is under way there are two versions of a key or more. What is done to a protector is done to all of
them, under one name; what a rotation and an act do to each other's versions, both look after.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from .acts import Acts
from .binding import Binding
from .container import unwrap
from .errors import ChangedError, ContainerError, NoSuchKeyError, RefusedError, WrongSecretError
from .escrow import Escrow
from .keeper import Keeper
from .lockbox import Entry, Lockbox
from .managed import Managed
from .opener import Opener, Parameters
from .protectors import Protectors, first_opened
from .tenant_key import TenantKey, called, version_of

_TRIES = 5


@dataclass(frozen=True)
class Change:
    """What an act did to the protectors of a tenant's key.

    Attributes:
        box: the newest version, as it is now.
        made: containers that were made.
        unneeded: containers that nothing needs any more: what a key manager keeps for them may go.
    """

    box: Lockbox
    made: tuple[Entry, ...] = ()
    unneeded: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Rotation:
    """What a rotation did.

    Attributes:
        version: that the tenant has now.
        rewrapped: how many master keys were wrapped anew.
        dropped: how many old versions were forgotten.
        made, unneeded: as in `Change`.
    """

    version: int
    rewrapped: int
    dropped: int
    made: tuple[Entry, ...] = ()
    unneeded: tuple[Entry, ...] = ()


class Tenants:
    """What a keeper does to the keys of tenants."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._safe = keeper.safe
        self._protectors = Protectors(keeper)

    def create(self, tenant: str, opener: Opener) -> Lockbox:
        """The first key of a tenant, wrapped by its key manager.

        Raises:
            RefusedError: it has one.
        """
        binding = self._safe.binding(tenant)
        with self._keeper.told("create-tenant", tenant):
            if self._safe.tenant_keys(tenant):
                raise RefusedError(f"tenant {tenant} has a key already", remedy="Rotate it instead.")
            box = self._made(binding, TenantKey.fresh(), {_label(opener): opener})
            self._safe.add(box)
            return box

    def newest(self, tenant: str, openers: Iterable[Opener]) -> TenantKey:
        """The key that new master keys are wrapped under. Raises as `of_version`."""
        box = self._safe.newest_tenant_key(tenant)
        if box is None:
            raise _no_key(tenant)
        return opened(box, openers)

    def of_version(self, tenant: str, version: int, openers: Iterable[Opener]) -> TenantKey:
        """A version of a tenant's key, by the first of its protectors that one of `openers` opens.

        Raises:
            NoSuchKeyError: there is none.
            ContainerError: it is damaged; others stand in no way.
            KmsError, WrongSecretError: no opener gave it.
        """
        try:
            box = self._safe.tenant_key(tenant, version)
        except NoSuchKeyError:
            raise _no_key(tenant, version) from None
        return opened(box, openers)

    # protectors

    def add(self, tenant: str, protector: str, opener: Opener, known: Iterable[Opener]) -> Change:
        """One protector more, for whoever can open the key by one that is there.

        Raises:
            RefusedError: there is one of that name; or it is a key manager's and not called as that is.
        """
        given, made = tuple(known), list[Entry]()
        with self._keeper.told("add-tenant-protector", f"{tenant}, protector {protector}"):
            _require_label(protector, opener)
            self._versions(tenant)[0].require_free(protector)
            for _ in range(_TRIES):
                lacking = [box for box in self._versions(tenant) if not _named(box, protector)]
                if not lacking:
                    return Change(self._versions(tenant)[0], tuple(made))
                for box in lacking:
                    entry = self._wrapped(opened(box, given), box.binding, protector, opener)
                    made.append(entry)
                    with _unless_forgotten():
                        self._safe.revised(box, _adding(entry))
            raise _rotated(tenant, protector)

    def remove(self, tenant: str, protector: str) -> Change:
        """One protector less. What it wrapped stays in bundles and backups, and still opens there.

        Raises:
            RefusedError: it is the last one, or the last one that was seen to open, of one of the versions.
        """
        with self._keeper.told("remove-tenant-protector", f"{tenant}, protector {protector}"):
            name = self._name(tenant, protector)
            gone = list[Entry]()
            for box in self._having(tenant, name):
                # of all versions, or of none
                box.without(box.entry(name).id)
            for _ in range(_TRIES):
                having = self._having(tenant, name)
                if not having:
                    return Change(self._versions(tenant)[0], unneeded=tuple(gone))
                for box in having:
                    with _unless_forgotten():
                        gone += self._revised(box, lambda now: _without(now, name))
            raise _rotated(tenant, name)

    def test(self, tenant: str, protector: str, openers: Iterable[Opener]) -> Change:
        """Open it for real, load nothing, and note that it works."""
        given = tuple(openers)
        with self._keeper.told("test-tenant-protector", f"{tenant}, protector {protector}"):
            name = self._name(tenant, protector)
            for box in self._having(tenant, name):
                entry = box.entry(name)
                opened(replace(box, entries=(entry,)), given)
                with _unless_forgotten():
                    self._safe.revised(box, _proving(entry, self._keeper.now()))
            return Change(self._versions(tenant)[0])

    def rewrap(self, tenant: str, protector: str, new: Opener, known: Iterable[Opener]) -> Change:
        """The same key in a new container under the same name, such as for another passphrase. As `Acts.rewrap`.

        Raises:
            RefusedError: another key manager would be behind the name.
        """
        given, made, gone = tuple(known), dict[str, Entry](), list[Entry]()
        with self._keeper.told("rewrap-tenant-protector", f"{tenant}, protector {protector}"):
            name = self._name(tenant, protector)
            _require_label(name, new)
            for _ in range(_TRIES):
                having = [box for box in self._having(tenant, name) if box.entry(name).id not in made]
                if not having:
                    newest = self._versions(tenant)[0]
                    # it may have been removed meanwhile
                    newest.entry(name)
                    return Change(newest, tuple(made.values()), tuple(gone))
                for box in having:
                    _require_kind(box.entry(name), new)
                    secret = opened(box, given).expose()
                    with _unless_forgotten():
                        old = box.entry(name)
                        entry = self._protectors.beside(box, old, new, secret)
                        made[entry.id] = entry
                        after = self._protectors.exchange(box, old, entry, new, secret)
                        gone += [each for each in box.entries if not after.has(each.id)]
            raise _rotated(tenant, name)

    # rotation

    def openers_of(self, tenant: str, given: Iterable[Opener]) -> dict[str, Opener]:
        """What was given, by the names of the protectors of the newest version that it is for; but for those of key
        managers."""
        found = dict[str, Opener]()
        openers = tuple(given)
        newest = self._versions(tenant)[0]
        for entry in newest.in_use():
            fitting = (each for each in openers if each.kind == entry.kind and _fits(newest, entry, each))
            opener = None if entry.kind == Managed.kind else next(fitting, None)
            if opener is not None:
                found[entry.name] = opener
        return found

    def rotate(
        self,
        tenant: str,
        openers: Mapping[str, Opener],
        acts: Acts,
        *,
        leaving: Collection[str] = (),
        anew: bool = True,
        proceed: Callable[[], object] = lambda: None,
        wrapped: Callable[[Lockbox], object] = lambda _: None,
    ) -> Rotation:
        """A new key for a tenant, and all of its master keys wrapped under that one; the old one is forgotten then.

        What ended early is gone on with. `openers` are those of the tenant's protectors, by the protectors' names: each
        of them wraps the new key, too; but for those that are called in `leaving`, which open nothing afterwards.

        Args:
            tenant: whose.
            openers: what opens its key.
            acts: what wraps the master keys.
            leaving: names of protectors that are left behind.
            anew: make a new key where there is nothing to go on with; else only what ended early is done.
            proceed: called before each step; what it raises ends the rotation there.
            wrapped: called with the lockbox of each master key that was wrapped anew, as it is then.

        Raises:
            RefusedError: one of the protectors is neither among the openers nor to be left behind.
            ChangedError: its protectors were changed at the same time.
            KmsError: before anything was changed, or between two keys; run it again.
        """
        with self._keeper.told("rotate-tenant", tenant):
            boxes = self._versions(tenant)
            made = tuple[Entry, ...]()
            if anew and not self._is_unfinished(boxes[0]):
                proceed()
                boxes = [self._next(boxes[0], openers, leaving), *boxes]
                made = boxes[0].entries
            _require_none_lost(boxes, leaving)
            target = opened(boxes[0], openers.values())
            known = [opened(box, openers.values()) for box in boxes]
            rewrapped = 0
            for box, entry in self._of(tenant):
                # what is under a newer one is another rotation's
                if _version(entry) < target.version:
                    proceed()
                    wrapped(acts.rewrap(box.key, entry.id, target, known))
                    rewrapped += 1
            proceed()
            dropped = self._drop_unused(tenant, target.version)
            unneeded = tuple(entry for box in dropped for entry in box.entries)
            return Rotation(target.version, rewrapped, len(dropped), made, unneeded)

    def _is_unfinished(self, newest: Lockbox) -> bool:
        """Is a master key still under another version than the newest one?"""
        return any(_version(entry) != _number(newest) for _, entry in self._of(newest.binding.tenant))

    def _next(self, newest: Lockbox, openers: Mapping[str, Opener], leaving: Collection[str]) -> Lockbox:
        staying = [entry.name for entry in newest.in_use() if entry.name not in leaving]
        missing = [name for name in staying if name not in openers]
        if missing:
            raise RefusedError(
                f"nothing was given for protector {' and '.join(missing)} of {newest.whose}: they would not open the "
                "new one; nothing was changed",
                remedy="Give what opens them with `--open`, or leave them behind with `--leave NAME`.",
            )
        key = TenantKey.fresh(_number(newest) + 1)
        made = self._made(newest.binding, key, {name: openers[name] for name in staying})
        if not any(entry.proven for entry in made.entries):
            raise RefusedError(
                f"no protector of the new key of tenant {newest.name} would have been seen to open it",
                remedy="Leave one more protector in place, such as a key manager.",
            )
        self._safe.add(made)
        now = self._safe.again(newest)
        if [entry.id for entry in now.in_use()] != [entry.id for entry in newest.in_use()]:
            raise ChangedError(
                f"somebody else changed protectors of {newest.whose} at the same time: {made.key} has them as they "
                "were before",
                remedy="Do that change once more, and run this again.",
            )
        return made

    def _drop_unused(self, tenant: str, newest: int) -> list[Lockbox]:
        """Forget the versions before the first one that is used, oldest first: those that are kept are always one after
        the other, as `Acts` counts on. A version after `newest` is another rotation's, which has begun since."""
        used = {newest}
        for box in self._safe.lockboxes():
            if isinstance(box, ContainerError):
                # what cannot be read, such as by this release, may need them
                return []
            if isinstance(box, Lockbox) and box.binding.tenant == tenant:
                # what a rewrap is about to put in its place counts, too
                used |= {_version(entry) for entry in box.entries if entry.kind == TenantKey.kind}
        unused = [box for box in reversed(self._safe.tenant_keys(tenant)) if _number(box) < min(used)]
        for box in unused:
            self._safe.drop_tenant_key(box)
        return unused

    # parts

    def _made(self, binding: Binding, key: TenantKey, openers: Mapping[str, Opener]) -> Lockbox:
        entries = tuple(self._wrapped(key, binding, name, opener) for name, opener in openers.items())
        return Lockbox(
            binding,
            called(key.version),
            binding.tenant,
            self._keeper.who,
            self._keeper.now(),
            entries=entries,
        )

    def _wrapped(self, key: TenantKey, binding: Binding, name: str, opener: Opener) -> Entry:
        return self._protectors.made(key.expose(), binding, called(key.version), name, opener)

    def _versions(self, tenant: str) -> list[Lockbox]:
        """All that are kept, newest first; there is one."""
        boxes = self._safe.tenant_keys(tenant)
        if not boxes:
            raise _no_key(tenant)
        return boxes

    def _name(self, tenant: str, protector: str) -> str:
        """Of the protector of that name or id, which each version has under another id."""
        boxes = self._versions(tenant)
        entries = (entry for box in boxes for entry in box.in_use())
        found = next((each for each in entries if protector in (each.name, each.id)), None)
        return (found or boxes[0].entry(protector)).name

    def _having(self, tenant: str, name: str) -> list[Lockbox]:
        return [box for box in self._versions(tenant) if _named(box, name)]

    def _revised(self, box: Lockbox, revise: Callable[[Lockbox], Lockbox]) -> list[Entry]:
        """Change it; which containers it has no more."""
        seen = [box]

        def noted(now: Lockbox) -> Lockbox:
            seen.append(now)
            return revise(now)

        after = self._safe.revised(box, noted)
        return [each for each in seen[-1].entries if not after.has(each.id)]

    def _of(self, tenant: str) -> Iterator[tuple[Lockbox, Entry]]:
        """What the tenant's key opens, each with its lockbox."""
        for box in self._safe.lockboxes():
            if isinstance(box, Lockbox) and box.binding.tenant == tenant:
                yield from ((box, entry) for entry in box.in_use() if entry.kind == TenantKey.kind)


Remember = Callable[[Binding, int, Callable[[], TenantKey]], TenantKey]
"""Gives a version of a tenant's key that is known already, or what the function gives, and knows that from then on."""


class ByTenant:
    """Opens what a tenant's key wraps, and asks its key manager once for each version of it. An `Opener`."""

    kind = "tenant"
    opens = True

    def __init__(
        self,
        tenants: Tenants,
        openers: Callable[[str], Iterable[Opener]],
        remember: Remember | None = None,
    ) -> None:
        """`openers` gives what opens the key of a tenant, such as a `Managed`; what was opened is known to `remember`,
        or as long as this object is there."""
        self._tenants = tenants
        self._openers = openers
        self._remember = remember or self._remembered
        self._known: dict[tuple[Binding, int], TenantKey] = {}

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`."""
        key = self._tenants.newest(binding.tenant, self._openers(binding.tenant))
        return self._remember(binding, key.version, lambda: key).begin(binding)

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`."""
        version, tenant = version_of(parameters), binding.tenant
        key = self._remember(
            binding, version, lambda: self._tenants.of_version(tenant, version, self._openers(tenant))
        )
        return key.wrapping_key(parameters, binding)

    def _remembered(self, binding: Binding, version: int, fetch: Callable[[], TenantKey]) -> TenantKey:
        found = self._known.get((binding, version))
        if found is None:
            found = self._known[binding, version] = fetch()
        return found


def opened(box: Lockbox, openers: Iterable[Opener]) -> TenantKey:
    """The tenant's key, by the first of its protectors that one of the openers opens. Raises as `first_opened`."""
    return first_opened(box, openers, lambda entry, opener: _key(box, entry, opener))[1]


def _key(box: Lockbox, entry: Entry, opener: Opener) -> TenantKey:
    return TenantKey(unwrap(entry.container, box.binding, box.key, opener), _number(box))


def _fits(box: Lockbox, entry: Entry, opener: Opener) -> bool:
    if isinstance(opener, Escrow):
        return opener.is_for(entry.container.header.parameters)
    try:
        _key(box, entry, opener)
    except (WrongSecretError, ContainerError):
        return False
    return True


def _label(opener: Opener) -> str:
    return opener.name if isinstance(opener, Managed) else opener.kind


def _require_label(protector: str, opener: Opener) -> None:
    if isinstance(opener, Managed) and opener.name != protector:
        raise RefusedError(
            f"the protector of key manager {opener.name} is called as that is, not {protector}",
            remedy="Add another key manager under its own name, and remove the old one then.",
        )


def _require_kind(entry: Entry, opener: Opener) -> None:
    if (entry.kind == Managed.kind) != (opener.kind == Managed.kind):
        raise RefusedError(
            f"protector {entry.name} is of kind {entry.kind}, not {opener.kind}",
            remedy="Add one of the other kind, and remove this one then.",
        )


def _require_none_lost(boxes: list[Lockbox], leaving: Collection[str]) -> None:
    """What a rotation that ended early made may lack a protector that was added meanwhile."""
    newest = boxes[0]
    kept = {entry.name for box in boxes for entry in box.in_use()} - set(leaving)
    lost = sorted(kept - {entry.name for entry in newest.in_use()})
    if lost:
        raise RefusedError(
            f"{newest.key} of tenant {newest.name} has no protector {' and '.join(lost)}, and older versions have",
            remedy=f"Add it with `{newest.command} add`, or leave it behind with `--leave NAME`.",
        )


def _named(box: Lockbox, name: str) -> bool:
    return any(entry.name == name for entry in box.in_use())


def _adding(entry: Entry) -> Callable[[Lockbox], Lockbox]:
    return lambda now: now.with_entry(entry)


def _proving(entry: Entry, at: int) -> Callable[[Lockbox], Lockbox]:
    return lambda now: now.with_proof(entry.id, at)


def _without(box: Lockbox, name: str) -> Lockbox:
    return box.without(box.entry(name).id) if _named(box, name) else box


def _unless_forgotten() -> suppress:
    """A rotation may forget a version at any time: then nothing is to be done to it."""
    return suppress(NoSuchKeyError)


def _rotated(tenant: str, protector: str) -> ChangedError:
    return ChangedError(
        f"the key of tenant {tenant} is rotated again and again; protector {protector} is not the same in all versions",
        remedy="Run it again.",
    )


def _number(box: Lockbox) -> int:
    return int(box.key.rpartition(" ")[2])


def _version(entry: Entry) -> int:
    return version_of(entry.container.header.parameters)


def _no_key(tenant: str, version: int | None = None) -> NoSuchKeyError:
    which = "no key" if version is None else f"no version {version} of its key"
    return NoSuchKeyError(
        f"tenant {tenant} has {which}",
        remedy=f"Make one with `cephfs-fscrypt tenant create {tenant} --kms NAME`.",
    )
