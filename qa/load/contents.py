"""What is in a file: a model in memory."""

from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE

BLOCK = 4096


class Model:
    """A file as plain bytes, and which of its blocks were written: what never was, or was punched, is a hole."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray()
        self.written: set[int] = set()
        self.pwrite(data, 0)

    def pwrite(self, data: bytes, offset: int) -> None:
        """All of `data`."""
        if data:
            stop = offset + len(data)
            self._reach(stop)
            self.data[offset:stop] = data
            self.written.update(range(offset // BLOCK, -(-stop // BLOCK)))

    def truncate(self, size: int) -> None:
        """Up or down."""
        del self.data[size:]
        self._reach(size)
        self.written = {block for block in self.written if block * BLOCK < size}

    def fallocate(self, mode: int, offset: int, length: int) -> None:
        """Punch a hole, or zero a range. The last block is whole when all of the file in it is meant."""
        size = len(self.data)
        if not mode & FALLOC_FL_KEEP_SIZE:
            self._reach(offset + length)
        stop = min(offset + length, size)
        if offset < stop:
            self.data[offset:stop] = bytes(stop - offset)
            last = -(-stop // BLOCK) if stop == size else stop // BLOCK
            self.written.difference_update(range(-(-offset // BLOCK), last))

    def fsync(self) -> None:
        """A model is always durable."""

    def next(self, offset: int, *, hole: bool) -> int | None:
        """Where data, or a hole, begins at or after `offset`; None before the end."""
        end = -(-len(self.data) // BLOCK) if offset < len(self.data) else 0
        for block in range(offset // BLOCK, end):
            if (block in self.written) is not hole:
                return max(offset, block * BLOCK)
        return None

    def _reach(self, size: int) -> None:
        self.data.extend(bytes(max(0, size - len(self.data))))
