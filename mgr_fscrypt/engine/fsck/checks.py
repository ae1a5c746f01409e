"""All that can be wrong with one entry of an encrypted directory. It is only looked at."""

from collections.abc import Iterator

from ...ceph.errors import CephError, NotAllowedError, NotFoundError, SessionLostError, UnreachableError
from ...ceph.interface import Kind, LeaseState, Mount
from ...format import (
    AUTH_XATTR,
    ENGINE_XATTR,
    FILE_XATTR,
    Context,
    EngineRecord,
    FormatError,
    SizeRule,
    believe_size,
    raw_size,
)
from ..cache import Cache
from ..errors import DamagedError
from ..inodes import ByPath, FileFacts, FileMode, look, optional
from ..keyring import Keyring
from ..links import locked_target, plain_target
from ..making import doubtful, unfinished
from ..walking import Visited
from .contents import ObjectExtents, check_engine_sizes, check_kernel_sizes, check_objects, check_tail
from .entries import Inspected
from .findings import Code, Finding, Repair, Severity
from .names import NameChecks
from .nonces import Nonces
from .presence import Leases

_LINKED = 65536
"""Files with several names that are remembered, to be told once."""


class Checks:
    """What is looked at, and with what.

    Args:
        mode: whose the files of the subtree are, by its mark; None where that cannot be told.
        objects: None: they are not looked at.
    """

    def __init__(
        self, mount: Mount, keyring: Keyring, mode: FileMode | None, objects: ObjectExtents | None
    ) -> None:
        self._mount = mount
        self._keyring = keyring
        self._mode = mode
        self.objects = objects
        self.objects_refused = False
        self.names = NameChecks(mount)
        self.nonces = Nonces()
        self.leases = Leases(mount)
        self._first_names: Cache[int, bytes] = Cache(_LINKED)

    def look(self, visited: Visited) -> list[Finding]:
        """What is wrong with it as it stands now; nothing where it is gone."""
        try:
            at = Inspected(visited, self._mount.stat(visited.stored))
            inode = self._check_inode(at) if self._is_first_name(at) else ()
            return [*self.names.check(at), *inode]
        except NotFoundError:
            return []
        except (SessionLostError, UnreachableError):
            raise
        except CephError as error:
            detail = f"it could not be looked at: {error.strerror}"
            return [
                Finding(
                    Code.UNREADABLE,
                    visited.stored,
                    visited.plain,
                    visited.entry.ino,
                    detail,
                    visited=visited,
                )
            ]

    def _is_first_name(self, at: Inspected) -> bool:
        """Is this the name by which a file that may have several is looked at?"""
        if at.raw.kind is not Kind.FILE or at.raw.nlink == 1:
            return True
        first = self._first_names.get(at.raw.ino)
        if first is None:
            self._first_names.put(at.raw.ino, at.visited.stored)
        return first in (None, at.visited.stored)

    def _check_inode(self, at: Inspected) -> Iterator[Finding]:
        match at.raw.kind:
            case Kind.FILE:
                yield from self._check_file(at)
            case Kind.DIRECTORY:
                yield from self._check_directory(at)
            case Kind.SYMLINK:
                yield from self._check_link(at)
            case Kind.SPECIAL:
                if self._get(at, AUTH_XATTR) is not None:
                    yield at.finding(
                        Code.SPECIAL_WITH_CONTEXT, "a special file with a context", Repair.DROP_CONTEXT
                    )

    # directories and links

    def _check_directory(self, at: Inspected) -> Iterator[Finding]:
        try:
            context = self._context(at)
        except FormatError as error:
            yield at.finding(Code.UNDECODABLE, str(error))
            return
        if unfinished(at.raw) or (context is None and doubtful(at.raw)):
            repair = Repair.REMOVE if context is None else Repair.FINISH
            yield at.finding(Code.HALF_MADE, "a directory that was never completed", repair)
        elif context is None:
            yield at.finding(Code.MISSING_CONTEXT, "a directory without a context")
        else:
            if context.policy != at.visited.parent.policy:
                yield at.finding(Code.NESTED_POLICY, "a directory with a policy that is not its parent's")
            yield from self._check_nonce(at, context)

    def _check_link(self, at: Inspected) -> Iterator[Finding]:
        target = self._mount.readlink(at.visited.stored)
        try:
            locked_target(target)
        except FormatError as error:
            encrypted, why = False, str(error)
        else:
            encrypted, why = True, ""
        try:
            context = self._context(at)
        except FormatError as error:
            yield at.finding(Code.UNDECODABLE, str(error))
            return
        if context is None and encrypted:
            yield at.finding(Code.HALF_MADE, "a symbolic link that was never completed", Repair.REMOVE)
        elif context is None:
            yield at.finding(Code.MISSING_CONTEXT, "a symbolic link without a context, and a plain target")
        else:
            yield from self._check_context(at, context)
            key = self._keyring.find(context.policy.key)
            if encrypted and key is not None:
                try:
                    plain_target(key, context, target)
                except FormatError as error:
                    encrypted, why = False, str(error)
            if not encrypted:
                yield at.finding(Code.BAD_TARGET, f"its target cannot be read: {why}")

    # files

    def _check_file(self, at: Inspected) -> Iterator[Finding]:
        if self.leases.state(at.raw.ino) is LeaseState.LEFT:
            yield at.finding(Code.LEFTOVER_LEASE, "a lease that its holder left", Repair.DROP_LEASE)
        if unfinished(at.raw):
            repair = Repair.FINISH if self._whole(at) else Repair.REMOVE
            yield at.finding(
                Code.HALF_MADE, f"a file of {at.raw.size} bytes that was never completed", repair
            )
            return
        kernel_size = self._get(at, FILE_XATTR)
        try:
            context, record = self._context(at), self._record(at)
        except FormatError as error:
            yield at.finding(Code.UNDECODABLE, str(error))
            return
        if context is not None:
            found = [*self._check_kernel_file(at, context, record, kernel_size or b"")]
            size = believe_size(at.raw.size, kernel_size or b"").real
            yield from found
            yield from self._check_end(at, FileFacts(FileMode.KERNEL, context, size, at.raw), found)
        elif record is not None:
            found = [*self._check_engine_file(at, record, kernel_size)]
            yield from found
            facts = FileFacts(FileMode.ENGINE, record.context, record.real_size, at.raw)
            yield from self._check_end(at, facts, found)
        elif doubtful(at.raw):
            yield at.finding(Code.HALF_MADE, "a file that was never completed", Repair.REMOVE)
        else:
            yield at.finding(Code.MISSING_CONTEXT, f"a file of {at.raw.size} bytes without a context")

    def _check_kernel_file(
        self, at: Inspected, context: Context, record: EngineRecord | None, kernel_size: bytes
    ) -> Iterator[Finding]:
        yield from self._check_context(at, context)
        believed = believe_size(at.raw.size, kernel_size)
        if record is not None and record.context != context:
            yield at.finding(
                Code.MISMATCHED_CONTEXTS, "the contexts of the engine's and of the kernel's attribute differ"
            )
        elif record is not None:
            sure = believed.rule in (SizeRule.BELIEVED, SizeRule.EMPTY)
            yield at.finding(
                Code.DOUBLED_ATTRIBUTES,
                "in kernel mode, with the engine's attribute beside it",
                Repair.DROP_RECORD if sure else None,
            )
        yield from self._check_mode(at, FileMode.KERNEL)
        yield from check_kernel_sizes(at, kernel_size)
        yield from self._check_objects(at, None)

    def _check_engine_file(
        self, at: Inspected, record: EngineRecord, kernel_size: bytes | None
    ) -> Iterator[Finding]:
        yield from self._check_context(at, record.context)
        if kernel_size is not None:
            yield at.finding(
                Code.DOUBLED_ATTRIBUTES,
                "in engine mode, with the kernel's size beside it",
                Repair.DROP_FILE_SIZE,
            )
        yield from self._check_mode(at, FileMode.ENGINE)
        once_kernels = kernel_size is not None
        yield from check_engine_sizes(at, record.real_size, once_kernels=once_kernels)
        yield from self._check_objects(at, None if once_kernels else Repair.CUT)

    def _check_mode(self, at: Inspected, found: FileMode) -> Iterator[Finding]:
        if self._mode is not None and found is not self._mode:
            yield at.finding(
                Code.MIXED_MODE, f"in {found.value} mode, in a subtree of {self._mode.value} mode"
            )

    def _check_objects(self, at: Inspected, cut: Repair | None) -> Iterator[Finding]:
        if self.objects is None:
            return
        layout = self._mount.layout(at.visited.stored)
        try:
            yield from check_objects(at, layout, self.objects, repair=cut)
        except NotAllowedError:
            self.objects, self.objects_refused = None, True

    def _check_end(self, at: Inspected, facts: FileFacts, found: list[Finding]) -> Iterator[Finding]:
        """What a damaged file decrypts to says nothing, and must not be written back."""
        key = self._keyring.find(facts.context.policy.key)
        if key is not None and all(one.code.severity is not Severity.DAMAGE for one in found):
            yield from check_tail(self._mount, key, at, facts)

    def _whole(self, at: Inspected) -> bool:
        """Has what is half made by its mode all that a complete file has? Its data was flushed before its context."""
        try:
            facts = look(ByPath(self._mount, at.visited.stored), at.visited.plain, thorough=True)
        except DamagedError:
            return False
        return facts is not None and raw_size(facts.real_size) == facts.raw.size

    # contexts

    def _check_context(self, at: Inspected, context: Context) -> Iterator[Finding]:
        if context.policy != at.visited.parent.policy:
            yield at.finding(Code.FOREIGN_CONTEXT, "its policy is not that of its directory")
        yield from self._check_nonce(at, context)

    def _check_nonce(self, at: Inspected, context: Context) -> Iterator[Finding]:
        other = self.nonces.other(context.nonce, at.raw.ino)
        if other is not None:
            yield at.finding(Code.REPEATED_NONCE, f"inode {other} has the same nonce")

    def _context(self, at: Inspected) -> Context | None:
        value = self._get(at, AUTH_XATTR)
        return None if value is None else Context.decode_auth(value)

    def _record(self, at: Inspected) -> EngineRecord | None:
        value = self._get(at, ENGINE_XATTR)
        return None if value is None else EngineRecord.decode(value)

    def _get(self, at: Inspected, name: str) -> bytes | None:
        return optional(ByPath(self._mount, at.visited.stored), name)
