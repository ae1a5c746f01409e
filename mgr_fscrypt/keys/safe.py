"""All lockboxes of one file system: found by name or identifier, replaced as a whole, never over another's change.

Objects, in the namespace `fscrypt.keys` of the file system's metadata pool:

    key.ID          the lockbox, or the tombstone, of the master key with this identifier
    name.NAME       the identifier of the key that has this name
    tenant.NAME.N   the lockbox of version N of a tenant's key
    kms.NAME        settings of a key manager, without its credentials
    audit, audit.N  who did what
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress

from .binding import Binding
from .errors import ChangedError, ContainerError, DestroyedError, NoSuchKeyError, RefusedError
from .lockbox import Lockbox, Tombstone, decode
from .objects import Objects

NAMESPACE = "fscrypt.keys"
"""Where they lie, in the metadata pool: clients may read there, with caps for it alone."""
_TRIES = 20
_IDENTIFIER = re.compile(r"[0-9a-f]{32}")


class Safe:
    """The lockboxes of the file system `fscid` of the cluster `fsid`. Errors of the cluster are `OSError`s."""

    def __init__(self, objects: Objects, fsid: str, fscid: int) -> None:
        self._objects = objects
        self._fsid = fsid
        self._fscid = fscid

    @property
    def home(self) -> tuple[str, int]:
        """The cluster's fsid, and the file system's number in it."""
        return self._fsid, self._fscid

    def binding(self, tenant: str) -> Binding:
        """What keys of a tenant are bound to here."""
        return Binding(self._fsid, self._fscid, tenant)

    def add(self, lockbox: Lockbox) -> None:
        """Keep a new one.

        Raises:
            RefusedError: there is one of that key or name.
            DestroyedError: that key was destroyed here.
        """
        if not lockbox.is_tenant_key:
            self._take_name(lockbox.name, lockbox.key)
        if self._objects.create(lockbox.place, lockbox.encode()):
            if not (lockbox.is_tenant_key or self._hold_name(lockbox)):
                self._remove(lockbox)
                raise _taken(lockbox.name)
        else:
            there = self._read(lockbox.place)
            if isinstance(there, Tombstone):
                raise there.error()
            raise RefusedError(f"{lockbox.key} is kept here already, as {there.name}")

    def put(self, lockbox: Lockbox, before: Lockbox) -> None:
        """Keep one in place of what was read before.

        Raises:
            ChangedError: somebody changed it meanwhile.
        """
        self._put(lockbox.place, lockbox.encode(), before)

    def bury(self, lockbox: Lockbox, tombstone: Tombstone) -> None:
        """Put a tombstone in place of a lockbox; its name is free again. Raises as `put`."""
        self._put(lockbox.place, tombstone.encode(), lockbox)
        stored = self._objects.read(f"name.{lockbox.name}")
        if stored is not None and stored.data.decode() == lockbox.key:
            self._objects.remove(f"name.{lockbox.name}", stored.version)

    def drop_tenant_key(self, lockbox: Lockbox) -> None:
        """Forget a version of a tenant's key under which nothing is wrapped any more. Raises as `put`."""
        if not self._remove(lockbox):
            raise _changed(lockbox.name)

    def find(self, named: str) -> Lockbox:
        """The key of that name or identifier.

        Raises:
            NoSuchKeyError: there is none.
            DestroyedError: it was destroyed.
        """
        identifier = named if _IDENTIFIER.fullmatch(named) else self._identifier(named)
        if identifier is None:
            raise NoSuchKeyError(f"there is no key {named}", remedy="See `cephfs-fscrypt key ls`.")
        found = self._read(f"key.{identifier}")
        if isinstance(found, Tombstone):
            raise found.error()
        box = self._of_here(found, identifier)
        if named not in (box.key, box.name):
            # the name was taken for a key that then was not made under it
            raise NoSuchKeyError(f"there is no key {named}", remedy="See `cephfs-fscrypt key ls`.")
        return box

    def lockboxes(self) -> Iterator[Lockbox | Tombstone | ContainerError]:
        """All master keys in order of their identifiers; what cannot be read as its error."""
        for name in sorted(each for each in self._objects.names() if each.startswith("key.")):
            try:
                found = self._read(name)
                yield self._of_here(found, name[4:]) if isinstance(found, Lockbox) else found
            except ContainerError as error:
                yield error
            except NoSuchKeyError:
                # gone since its name was listed
                continue

    def tenant_keys(self, tenant: str) -> list[Lockbox]:
        """The versions of a tenant's key that are kept, newest first.

        Raises:
            ContainerError: one cannot be read, or is of another place.
            ChangedError: it is rotated all the time.
        """
        boxes = list[Lockbox]()
        for each in self.versions(tenant):
            if isinstance(each, ContainerError):
                raise each
            boxes.append(each)
        return sorted(boxes, key=lambda each: int(each.key.rpartition(" ")[2]), reverse=True)

    def versions(self, tenant: str) -> list[Lockbox | ContainerError]:
        """As `tenant_keys`, in any order; what cannot be read as its error."""
        for _ in range(_TRIES):
            names = [name for name in self._objects.names() if name.rpartition(".")[0] == f"tenant.{tenant}"]
            try:
                return [self._version(name, tenant) for name in names]
            except NoSuchKeyError:
                # forgotten since it was listed, and the one that came in its place may not have been listed
                continue
        raise _changed(tenant)

    def tenant_key(self, tenant: str, version: int) -> Lockbox:
        """One version of a tenant's key, whatever there is of the others.

        Raises:
            NoSuchKeyError: it is not kept.
            ContainerError: it cannot be read, or is of another place.
        """
        return self._tenant_key(f"tenant.{tenant}.{version}", tenant)

    def newest_tenant_key(self, tenant: str) -> Lockbox | None:
        """The newest version of a tenant's key, whatever there is of the others; None: it has no key.

        Raises:
            ContainerError: it cannot be read, or is of another place.
            ChangedError: it is rotated all the time.
        """
        for _ in range(_TRIES):
            names = (name.rpartition(".") for name in self._objects.names())
            versions = [
                int(last) for first, _, last in names if first == f"tenant.{tenant}" and last.isdecimal()
            ]
            if not versions:
                return None
            with suppress(NoSuchKeyError):
                # forgotten since it was listed: there is a newer one
                return self.tenant_key(tenant, max(versions))
        raise _changed(tenant)

    def keeps_tenant_key(self, tenant: str, version: int) -> bool:
        """Is there this version of a tenant's key, whether or not it can be read?"""
        return self._objects.read(f"tenant.{tenant}.{version}") is not None

    def tenants(self) -> list[str]:
        """All tenants that have a key of their own."""
        return sorted(
            {
                name.removeprefix("tenant.").rpartition(".")[0]
                for name in self._objects.names()
                if name.startswith("tenant.")
            }
        )

    def again(self, box: Lockbox) -> Lockbox:
        """The same key, a master key or a tenant's, as it is kept now. Raises as `find`."""
        return self._tenant_key(box.place, box.binding.tenant) if box.is_tenant_key else self.find(box.key)

    def revised(self, named: str | Lockbox, revise: Callable[[Lockbox], Lockbox]) -> Lockbox:
        """Change the key of that name or identifier, or of that lockbox, again if somebody else was first; what
        became of it."""
        for _ in range(_TRIES):
            before = self.find(named) if isinstance(named, str) else self.again(named)
            after = revise(before)
            if after == before:
                return before
            try:
                self.put(after, before)
            except ChangedError:
                continue
            return after
        raise _changed(named if isinstance(named, str) else named.name)

    def _read(self, name: str) -> Lockbox | Tombstone:
        stored = self._objects.read(name)
        if stored is None:
            raise NoSuchKeyError(f"there is no {name} here", remedy="See `cephfs-fscrypt key ls`.")
        return decode(stored.data)

    def _version(self, name: str, tenant: str) -> Lockbox | ContainerError:
        try:
            return self._tenant_key(name, tenant)
        except ContainerError as error:
            return error

    def _tenant_key(self, name: str, tenant: str) -> Lockbox:
        found = self._read(name)
        if isinstance(found, Tombstone) or found.place != name or not found.is_tenant_key:
            raise ContainerError(f"in {name} lies something else")
        if found.binding != self.binding(tenant):
            raise ContainerError(f"{name} is of {found.binding}, not of this file system")
        return found

    def _of_here(self, found: Lockbox, identifier: str) -> Lockbox:
        """Raises `ContainerError`: somebody put it there that is of another place."""
        if found.key != identifier:
            raise ContainerError(f"in place of key {identifier} lies key {found.key}")
        if found.binding != self.binding(found.binding.tenant):
            raise ContainerError(f"key {found.title} is of {found.binding}, not of this file system")
        return found

    def _put(self, place: str, data: bytes, before: Lockbox) -> None:
        stored = self._objects.read(place)
        if stored is None or stored.data != before.encode():
            raise _changed(before.name)
        if not self._objects.replace(place, data, stored.version):
            raise _changed(before.name)

    def _identifier(self, name: str) -> str | None:
        stored = self._objects.read(f"name.{name}")
        return None if stored is None else stored.data.decode("ascii", "replace")

    def _take_name(self, name: str, identifier: str) -> None:
        if self._objects.create(f"name.{name}", identifier.encode()):
            return
        stored = self._objects.read(f"name.{name}")
        holder = "" if stored is None else stored.data.decode("ascii", "replace")
        if holder == identifier:
            return
        if (
            stored is not None
            and self._is_free(name)
            and self._objects.replace(f"name.{name}", identifier.encode(), stored.version)
        ):
            return
        raise _taken(name)

    def _is_free(self, name: str) -> bool:
        """Was a name taken for a key that then was not made under it, or is no more?"""
        try:
            self.find(name)
        except (NoSuchKeyError, DestroyedError):
            return True
        return False

    def _hold_name(self, lockbox: Lockbox) -> bool:
        """Write the name anew, now that its key is there: who saw it free before that cannot take it any more.

        False where somebody has taken it.
        """
        stored = self._objects.read(f"name.{lockbox.name}")
        mine = lockbox.key.encode()
        return (
            stored is not None
            and stored.data == mine
            and self._objects.replace(f"name.{lockbox.name}", mine, stored.version)
        )

    def _remove(self, lockbox: Lockbox) -> bool:
        """It is gone, by us or before; False where somebody changed it."""
        stored = self._objects.read(lockbox.place)
        if stored is None:
            return True
        return stored.data == lockbox.encode() and self._objects.remove(lockbox.place, stored.version)


def _taken(name: str) -> RefusedError:
    return RefusedError(f"there is a key {name} already", remedy="Choose another name.")


def _changed(name: str) -> ChangedError:
    return ChangedError(
        f"somebody else changed {name} at the same time; that stands, yours was not made",
        remedy="Run it again.",
    )
