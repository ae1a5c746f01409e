"""Tenants' keys: kept as lockboxes that key managers open, and exchanged for new ones without touching any data."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from .acts import Acts
from .binding import Binding
from .container import Protector, unwrap, wrap
from .errors import ContainerError, KeyStoreError, KmsError, NoSuchKeyError, RefusedError, WrongSecretError
from .keeper import Keeper
from .lockbox import Entry, Lockbox
from .opener import Opener, Parameters
from .tenant_key import TenantKey, called, version_of


class Tenants:
    """What a keeper does to the keys of tenants."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._safe = keeper.safe

    def create(self, tenant: str, opener: Opener) -> Lockbox:
        """The first key of a tenant, wrapped by its key manager.

        Raises:
            RefusedError: it has one.
        """
        binding = self._safe.binding(tenant)
        with self._keeper.told("create-tenant", tenant):
            if self._safe.tenant_keys(tenant):
                raise RefusedError(f"tenant {tenant} has a key already", remedy="Rotate it instead.")
            box = self._made(binding, TenantKey.fresh(), [opener])
            self._safe.add(box)
            return box

    def newest(self, tenant: str, openers: Iterable[Opener]) -> TenantKey:
        """The key that new master keys are wrapped under. Raises as `of_version`."""
        boxes = self._safe.tenant_keys(tenant)
        if not boxes:
            raise _no_key(tenant)
        return _opened(boxes[0], openers)

    def of_version(self, tenant: str, version: int, openers: Iterable[Opener]) -> TenantKey:
        """A version of a tenant's key.

        Raises:
            NoSuchKeyError: there is none.
            KmsError, WrongSecretError: no opener gave it.
        """
        for box in self._safe.tenant_keys(tenant):
            if box.key == called(version):
                return _opened(box, openers)
        raise _no_key(tenant, version)

    def rotate(self, tenant: str, openers: Mapping[str, Opener], acts: Acts) -> "Rotation":
        """A new key for a tenant, and all of its master keys wrapped under that one; the old one is forgotten then.

        What ended early is gone on with. `openers` are those of the tenant's protectors, by the protectors' names: each
        of them wraps the new key, too.

        Raises:
            KmsError: before anything was changed, or between two keys; run it again.
        """
        with self._keeper.told("rotate-tenant", tenant):
            boxes = self._safe.tenant_keys(tenant)
            if not boxes:
                raise _no_key(tenant)
            newest = boxes[0]
            if all(_version(entry) == _number(newest) for _, entry in self._of(tenant)):
                newest = self._next(newest, openers)
            target = _opened(newest, openers.values())
            known = [_opened(box, openers.values()) for box in boxes]
            rewrapped = 0
            for box, entry in self._of(tenant):
                if _version(entry) != target.version:
                    acts.rewrap(box.key, entry.id, target, known)
                    rewrapped += 1
            dropped = self._drop_unused(tenant, target.version)
            return Rotation(target.version, rewrapped, dropped)

    def _next(self, newest: Lockbox, openers: Mapping[str, Opener]) -> Lockbox:
        wanted = [openers[entry.name] for entry in newest.in_use() if entry.name in openers]
        if not wanted:
            raise WrongSecretError(f"nothing was given that opens the key of tenant {newest.name}")
        made = self._made(newest.binding, TenantKey.fresh(_number(newest) + 1), wanted, newest)
        self._safe.add(made)
        return made

    def _made(
        self, binding: Binding, key: TenantKey, openers: Iterable[Opener], like: Lockbox | None = None
    ) -> Lockbox:
        now, key_ = self._keeper.now(), called(key.version)
        names = [entry.name for entry in like.in_use()] if like else []
        entries = []
        for number, opener in enumerate(openers):
            name = names[number] if number < len(names) else str(getattr(opener, "name", opener.kind))
            protector = Protector(os.urandom(8).hex(), name, opener.kind, self._keeper.who, now)
            container = wrap(key.expose(), binding, key_, protector, opener)
            if opener.opens and unwrap(container, binding, key_, opener) != key.expose():
                raise WrongSecretError(f"{name} gives another key back than it wrapped")
            entries.append(Entry(container, proven=now if opener.opens else 0))
        return Lockbox(binding, key_, binding.tenant, self._keeper.who, now, entries=tuple(entries))

    def _of(self, tenant: str) -> Iterator[tuple[Lockbox, Entry]]:
        """What the tenant's key opens, each with its lockbox."""
        for box in self._safe.lockboxes():
            if isinstance(box, Lockbox) and box.binding.tenant == tenant:
                yield from ((box, entry) for entry in box.in_use() if entry.kind == TenantKey.kind)

    def _drop_unused(self, tenant: str, newest: int) -> int:
        used = {newest}
        for box in self._safe.lockboxes():
            if isinstance(box, ContainerError):
                # what cannot be read, such as by this release, may need them
                return 0
            if isinstance(box, Lockbox) and box.binding.tenant == tenant:
                # what a rewrap is about to put in its place counts, too
                used |= {_version(entry) for entry in box.entries if entry.kind == TenantKey.kind}
        unused = [box for box in self._safe.tenant_keys(tenant) if _number(box) not in used]
        for box in unused:
            self._safe.drop_tenant_key(box)
        return len(unused)


@dataclass(frozen=True)
class Rotation:
    """What a rotation did: to which version, how many master keys were wrapped anew, and how many old
    versions forgotten."""

    version: int
    rewrapped: int
    dropped: int


class ByTenant:
    """Opens what a tenant's key wraps, and asks its key manager once for each version of it. An `Opener`."""

    kind = "tenant"
    opens = True

    def __init__(self, tenants: Tenants, openers: Callable[[str], Iterable[Opener]]) -> None:
        """`openers` gives what opens the key of a tenant, such as a `Managed`."""
        self._tenants = tenants
        self._openers = openers
        self._known: dict[tuple[Binding, int], TenantKey] = {}

    def begin(self, binding: Binding) -> tuple[Parameters, bytes]:
        """See `Opener`."""
        key = self._tenants.newest(binding.tenant, self._openers(binding.tenant))
        self._known[binding, key.version] = key
        return key.begin(binding)

    def wrapping_key(self, parameters: Parameters, binding: Binding) -> bytes:
        """See `Opener`."""
        version = version_of(parameters)
        key = self._known.get((binding, version))
        if key is None:
            key = self._tenants.of_version(binding.tenant, version, self._openers(binding.tenant))
            self._known[binding, version] = key
        return key.wrapping_key(parameters, binding)


def _opened(box: Lockbox, openers: Iterable[Opener]) -> TenantKey:
    trouble: KeyStoreError | None = None
    # one after the other: the first key manager that answers spares the others
    for opener in openers:
        for entry in box.in_use():
            if opener.kind != entry.kind:
                continue
            try:
                secret = unwrap(entry.container, box.binding, box.key, opener)
            except (WrongSecretError, ContainerError, KmsError) as error:
                trouble = error
                continue
            return TenantKey(secret, _number(box))
    raise trouble or WrongSecretError(
        f"nothing was given that opens the key of tenant {box.name}",
        remedy="Give its key manager's credentials.",
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
