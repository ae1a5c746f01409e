"""What `--repair` does to one finding. Each can be killed at any point, and repeated."""

import os

from ...ceph.errors import LeaseHeldError, NotFoundError
from ...ceph.interface import Kind, Mount
from ...format import AUTH_XATTR, ENGINE_XATTR, FILE_XATTR, raw_size
from ..inodes import LEASE_TIMEOUT, ByPath, leased_facts, look
from ..keyring import Keyring
from ..paths import named
from ..tails import seal
from ..walking import Visited
from .checks import Checks
from .contents import extents
from .entries import Inspected
from .findings import Finding, Repair
from .presence import open_elsewhere

_DIRECTORY_MODE, _FILE_MODE = 0o700, 0o600


class Repairs:
    """Changes what was found, under the inode's lease, if it is still as it was found."""

    def __init__(self, mount: Mount, keyring: Keyring, checks: Checks) -> None:
        self._mount = mount
        self._keyring = keyring
        self._checks = checks

    def apply(self, finding: Finding) -> bool:
        """Do what the finding says, durably; False where it is another thing by now, or somebody is at work on it."""
        visited, repair = finding.visited, finding.repair
        if visited is None or repair is None:
            return False
        with named(finding.plain):
            if visited.entry.kind is not Kind.FILE:
                done = self._act(finding)
            else:
                with self._mount.lease(finding.ino) as lease:
                    try:
                        lease.acquire(LEASE_TIMEOUT)
                    except LeaseHeldError:
                        return False
                    # whoever gives a lease back removes it
                    done = repair is Repair.DROP_LEASE or self._act(finding)
            self._mount.sync()
        return done

    def _act(self, finding: Finding) -> bool:
        visited, stored = finding.visited, finding.stored
        if visited is None or not self._is_still(finding, visited):
            return False
        at = Inspected(visited, self._mount.stat(stored))
        match finding.repair:
            case Repair.REMOVE:
                (self._mount.rmdir if at.raw.kind is Kind.DIRECTORY else self._mount.unlink)(stored)
            case Repair.FINISH:
                mode = _DIRECTORY_MODE if at.raw.kind is Kind.DIRECTORY else _FILE_MODE
                self._mount.chmod(stored, mode)
            case Repair.SETTLE:
                self._settle(at)
            case Repair.CUT:
                self._cut(at)
            case Repair.ZERO_TAIL:
                return self._zero_tail(at)
            case Repair.DROP_RECORD:
                self._mount.removexattr(stored, ENGINE_XATTR)
            case Repair.DROP_FILE_SIZE:
                self._mount.setxattr(stored, FILE_XATTR, b"")
            case Repair.DROP_CONTEXT:
                self._mount.setxattr(stored, AUTH_XATTR, b"")
        return True

    def _is_still(self, told: Finding, visited: Visited) -> bool:
        """Is it as it was told, and nobody at work on it?"""
        if visited.entry.kind is Kind.FILE and told.repair in (Repair.REMOVE, Repair.FINISH):
            try:
                if open_elsewhere(self._mount, told.stored):
                    return False
            except NotFoundError:
                return False
        # not before: the maker of a file may have completed and closed it until then
        return any(_same(found, told) for found in self._checks.look(visited))

    def _settle(self, at: Inspected) -> None:
        fd = self._mount.open(at.visited.stored, os.O_RDWR)
        try:
            leased_facts(self._mount, fd, at.visited.stored, at.visited.plain)
        finally:
            self._mount.close(fd)

    def _zero_tail(self, at: Inspected) -> bool:
        stored, plain = at.visited.stored, at.visited.plain
        facts = look(ByPath(self._mount, stored), plain, thorough=True)
        key = None if facts is None else self._keyring.find(facts.context.policy.key)
        if key is None:
            return False
        seal(self._mount, key, stored, plain)
        return True

    def _cut(self, at: Inspected) -> None:
        """The MDS cuts objects only where the raw size shrinks: so it grows to what is there first."""
        if self._checks.objects is None:
            return
        layout = self._mount.layout(at.visited.stored)
        reach = max(
            index * layout.object_size + extent for index, extent in extents(at, layout, self._checks.objects)
        )
        fd = self._mount.open(at.visited.stored, os.O_RDWR)
        try:
            self._mount.ftruncate(fd, raw_size(reach))
            self._mount.fsync(fd)
            self._mount.ftruncate(fd, at.raw.size)
            self._mount.fsync(fd)
        finally:
            self._mount.close(fd)


def _same(found: Finding, told: Finding) -> bool:
    return (found.code, found.ino, found.repair) == (told.code, told.ino, told.repair)
