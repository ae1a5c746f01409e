"""File contents in bulk: data units, numbered in the file from 0, under the file's own key (doc/format.md D1)."""

import ctypes
from threading import Lock
from types import TracebackType

from .buffers import Buffer, address_of
from .context import Context
from .errors import ContentsError
from .fastest import fastest
from .keys import Inode, MasterKey, Secretive, derive_iv_rule, derive_key
from .units import UnitCipherFactory


class Contents(Secretive):
    """Enciphers the data units of one file: its own context and the master key give the key.

    On CephFS a unit is a block of 4096 bytes and its number is the file offset / 4096, whatever object it
    lies in. Calls take turns, so threads may share one. ``close`` wipes the key schedules.

    Raises (constructor): ``MasterKeyError`` and ``PolicyRefusedError`` as ``derive_key``.
    """

    def __init__(
        self,
        master: MasterKey,
        file: Context,
        inode: Inode | None = None,
        *,
        factory: UnitCipherFactory | None = None,
    ) -> None:
        policy = file.policy
        key = derive_key(master, file, policy.contents_mode, inode)
        self.unit_size = policy.data_unit_size
        self._ivs = derive_iv_rule(master, policy, inode)
        self._cipher = (factory or fastest()).open(policy.contents_mode, key, self.unit_size)
        self._turn = Lock()
        self._open = True

    def __enter__(self) -> "Contents":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_open", False):
            self.close()

    def encrypt_into(self, plain: Buffer, target: Buffer, first_unit: int) -> None:
        """Encrypt whole units from ``plain`` into ``target``, which has the same size or is ``plain`` itself.

        The caller has zeroed what lies past the end of the file (doc/format.md D4).

        Raises:
            ContentsError: not whole units, buffers that differ in size or overlap in part, a read-only
                target, a position out of range, or a closed object. The target is then not to be used.
        """
        self._run(True, plain, target, first_unit)

    def decrypt_into(self, stored: Buffer, target: Buffer, first_unit: int, *, holes: bool = False) -> None:
        """Decrypt whole units from ``stored`` into ``target``.

        With ``holes`` a unit whose stored bytes are all zero is a hole and stays zero: right for what plain
        reads of CephFS return, which show holes as zeros (doc/format.md D5).
        Raises as ``encrypt_into``.
        """
        gaps = self._find_holes(stored) if holes else []
        self._run(False, stored, target, first_unit)
        if gaps:
            view = memoryview(target).cast("B")
            for start in gaps:
                view[start : start + self.unit_size] = bytes(self.unit_size)

    def encrypt(self, plain: Buffer, first_unit: int) -> bytes:
        """``encrypt_into`` new memory."""
        target = bytearray(memoryview(plain).nbytes)
        self.encrypt_into(plain, target, first_unit)
        return bytes(target)

    def decrypt(self, stored: Buffer, first_unit: int, *, holes: bool = False) -> bytes:
        """``decrypt_into`` new memory."""
        target = bytearray(memoryview(stored).nbytes)
        self.decrypt_into(stored, target, first_unit, holes=holes)
        return bytes(target)

    def close(self) -> None:
        """Wipe the key schedules. Further calls raise ``ContentsError``; closing again does nothing."""
        with self._turn:
            if self._open:
                self._open = False
                self._cipher.close()

    def _run(self, encrypt: bool, source: Buffer, target: Buffer, first_unit: int) -> None:
        with (
            self._turn,
            address_of(source) as (source_at, size),
            address_of(target, writable=True) as (target_at, target_size),
        ):
            if not self._open:
                raise ContentsError("these contents are closed: their key is gone")
            if size % self.unit_size or size != target_size:
                raise ContentsError(
                    f"{size} bytes into {target_size}: both are the same whole units of {self.unit_size}"
                )
            if source_at != target_at and abs(source_at - target_at) < size:
                raise ContentsError("the buffers overlap in part: give the same one, or disjoint ones")
            units = size // self.unit_size
            if first_unit < 0 or first_unit + units > self._ivs.units:
                raise ContentsError(f"units {first_unit} to {first_unit + units} cannot be addressed")
            done = 0
            while done < units:
                first_iv = self._ivs.of(first_unit + done)
                run = min(units - done, self._ivs.modulus - first_iv)
                at = done * self.unit_size
                self._cipher.run(encrypt, source_at + at, target_at + at, first_iv, run)
                done += run

    def _find_holes(self, stored: Buffer) -> list[int]:
        """Offsets of units that are all zero; only units whose first word is zero are looked at in full."""
        view = memoryview(stored).cast("B")
        if view.nbytes % self.unit_size:
            return []
        words = view.cast("Q")[:: self.unit_size // ctypes.sizeof(ctypes.c_uint64)].tolist()
        if 0 not in words:
            return []
        zeros = bytes(self.unit_size)
        starts = (index * self.unit_size for index, word in enumerate(words) if word == 0)
        return [start for start in starts if bytes(view[start : start + self.unit_size]) == zeros]
