"""One file under random operations of one client or several, compared with a model of it in memory, byte by byte.

Several clients take turns: what one has written others see after its fsync or close, or at once where it writes
durably. What one client's program may expect of its own handles is no less than POSIX.
"""

import errno
import math
import os
import random
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Sequence_
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from mgr_fscrypt.engine.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE

from .contents import BLOCK, Model
from .doors import DURABLE, Door, Handle, PathHandle

_OBJECT = 4 << 20
_NEAR = 192 << 10
LARGEST = 2 * _OBJECT + _NEAR
_LONGEST = 64 << 10
_CHECK_EVERY = 250
_TOLD = 12
_OWN_READS = 0.8
_SWITCH = 1 / 12
"""How likely the writer is another one than before: a lease changes hands with it."""


@dataclass(frozen=True)
class _Opened:
    """A client's handle, the name that it was opened by, and how."""

    client: int
    name: bytes
    flags: int
    handle: Handle


class _MismatchError(Exception):
    """The file is not what the model says."""


class Sequence:
    """A sequence of operations on one file, which is made by the first of them.

    Args:
        doors: one for each client, to one directory.
        name: the file's; others that begin with it are used, too.
        direct: all handles that write do so durably (O_DIRECT, O_SYNC, O_DSYNC).

    Attributes:
        done: how many operations were done.
    """

    def __init__(
        self, doors: Sequence_[Door], name: bytes, chance: random.Random, *, direct: bool = False
    ) -> None:
        self._doors = doors
        self._all_names = (name, name + b".second", name + b".third")
        self._names = [name]
        self._chance = chance
        self._direct = direct
        self.done = 0
        self._content = Model()
        self._opened: dict[int, _Opened] = {}
        self._writer = 0
        self._unacknowledged: int | None = None
        # caches, by client and name, that show all that was written
        self._current: set[tuple[int, bytes]] = set()
        self._trail: deque[str] = deque(maxlen=_TOLD)
        self._operations: list[tuple[int, Callable[[], None]]] = [
            (24, self._read),
            (6, self._read_vectored),
            (3, self._read_anew),
            (22, self._write),
            (6, self._write_vectored),
            (8, self._write_past_the_end),
            (5, self._append),
            (12, self._truncate),
            (8, self._punch),
            (6, self._zero),
            (4, self._fsync),
            (4, self._reopen),
            (2, self._empty),
            (3, self._replace),
            (3, self._rename),
            (4, self._link_or_unlink),
            (1, self._remove),
        ]
        if all(door.finds_holes for door in doors):
            self._operations.append((6, self._seek))
        else:
            self._operations += [(4, self._read_mapped), (4, self._write_mapped)]

    def run(self, count: int, patience: float = math.inf) -> str | None:
        """Do that many operations, or as many as `patience` seconds have room for.

        What went wrong first, with the operation's number and the last ones, or None.
        """
        weights = [weight for weight, _ in self._operations]
        end = time.monotonic() + patience
        try:
            self._create()
            while self.done < count and time.monotonic() < end:
                (_, operation) = self._chance.choices(self._operations, weights)[0]
                operation()
                self.done += 1
                if self.done % _CHECK_EVERY == 0:
                    self._compare_all()
            self._compare_all()
            self._close_all()
        except (_MismatchError, OSError) as error:
            wrong = f"operation {self.done + 1}: {error!r}; the last ones: {'; '.join(self._trail)}"
            for opened in self._opened.values():
                with suppress(OSError):
                    opened.handle.close()
            return wrong
        return None

    # operations that look

    def _read(self) -> None:
        offset, length, opened = self._place(), self._length(), self._reader()
        self._say(f"{opened.client} reads {length} at {offset}")
        self._compare(opened.handle, offset, length)

    def _read_vectored(self) -> None:
        offset, opened = self._place(), self._reader()
        lengths = [self._length() for _ in range(self._chance.randrange(1, 5))]
        self._say(f"{opened.client} reads {lengths} at {offset}")
        buffers = [bytearray(length) for length in lengths]
        found = opened.handle.preadv(buffers, offset)
        self._judge(b"".join(buffers)[:found], offset, sum(lengths))

    def _read_anew(self) -> None:
        offset, length, opened = self._place(), self._length(), self._reader()
        name = self._chance.choice(self._names)
        self._say(f"{opened.client} opens {name!r} and reads {length} at {offset}")
        with closing(self._doors[opened.client].open(name, os.O_RDONLY)) as handle:
            self._current.add((opened.client, name))
            self._compare(handle, offset, length)

    def _read_mapped(self) -> None:
        opened, found = self._mappable(self._reader()), self._stretch()
        if found is None or not isinstance(opened.handle, PathHandle):
            return
        offset, length = found
        self._say(f"{opened.client} maps {length} at {offset}")
        self._judge(opened.handle.read_mapped(length, offset), offset, length)

    def _seek(self) -> None:
        offset, hole, opened = self._place(), self._chance.random() < 0.5, self._reader()
        self._say(f"{opened.client} seeks a {'hole' if hole else 'stored block'} from {offset}")
        expected = self._content.next(offset, hole=hole)
        if expected is None and hole and offset < len(self._content.data):
            expected = len(self._content.data)
        try:
            found = opened.handle.seek(offset, os.SEEK_HOLE if hole else os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO or expected is not None:
                raise
            return
        if found != expected:
            raise _MismatchError(f"it is at {found}, not {expected}")

    # operations that change

    def _write(self) -> None:
        self._write_at(min(self._place(), len(self._content.data)))

    def _write_past_the_end(self) -> None:
        self._write_at(self._place())

    def _write_at(self, offset: int) -> None:
        opened = self._changing()
        offset = self._start(opened.flags, offset)
        data = self._chance.randbytes(min(self._length(), LARGEST - offset))
        if data:
            self._say(f"{opened.client} writes {len(data)} at {offset}")
            self._require_all(opened.handle.pwrite(data, offset), len(data))
            self._content.pwrite(data, offset)
            self._changed(opened)

    def _write_vectored(self) -> None:
        opened = self._changing()
        offset = self._start(opened.flags, self._place())
        parts = [self._chance.randbytes(self._length()) for _ in range(self._chance.randrange(1, 5))]
        data = b"".join(parts)
        if offset + len(data) <= LARGEST:
            self._say(f"{opened.client} writes {[len(part) for part in parts]} at {offset}")
            self._require_all(opened.handle.pwritev(parts, offset), len(data))
            self._content.pwrite(data, offset)
            self._changed(opened)

    def _append(self) -> None:
        """Through a handle of its own."""
        client, name = self._changing().client, self._chance.choice(self._names)
        size = len(self._content.data)
        data = self._chance.randbytes(min(self._length(), LARGEST - size))
        if data:
            self._say(f"{client} appends {len(data)} to {name!r}")
            flags = self._durable() | os.O_WRONLY | os.O_APPEND
            with closing(self._doors[client].open(name, flags)) as handle:
                self._current.add((client, name))
                self._require_all(handle.pwrite(data, 0), len(data))
            self._content.pwrite(data, size)
            self._changed(_Opened(client, name, flags, handle))

    def _write_mapped(self) -> None:
        opened, found = self._mappable(self._changing()), self._stretch()
        if found is None or not isinstance(opened.handle, PathHandle):
            return
        offset, length = found
        data = self._chance.randbytes(length)
        self._say(f"{opened.client} writes {length} at {offset} through memory")
        opened.handle.write_mapped(data, offset)
        self._content.pwrite(data, offset)
        self._changed(opened)

    def _truncate(self) -> None:
        opened, size = self._changing(), self._place()
        self._say(f"{opened.client} truncates {len(self._content.data)} to {size}")
        opened.handle.truncate(size)
        self._content.truncate(size)
        self._changed(opened)

    def _punch(self) -> None:
        opened, offset, length = self._changing(), self._place(), self._length()
        self._say(f"{opened.client} punches {length} at {offset}")
        for file in (opened.handle, self._content):
            file.fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
        self._changed(opened)

    def _zero(self) -> None:
        opened, offset, keep = self._changing(), self._place(), self._chance.choice((0, FALLOC_FL_KEEP_SIZE))
        length = min(self._length(), LARGEST - offset)
        if length:
            self._say(f"{opened.client} zeroes {length} at {offset}{', size kept' if keep else ''}")
            for file in (opened.handle, self._content):
                file.fallocate(FALLOC_FL_ZERO_RANGE | keep, offset, length)
            self._changed(opened)

    # handles and names

    def _fsync(self) -> None:
        opened = self._reader()
        self._say(f"{opened.client} fsyncs")
        opened.handle.fsync()

    def _reopen(self) -> None:
        client = self._reader().client
        self._close(client)
        self._at(client)

    def _empty(self) -> None:
        """By O_TRUNC; the new handle takes the place of the old one."""
        client, name = self._changing().client, self._chance.choice(self._names)
        flags = self._flags()
        self._say(f"{client} opens {name!r} with O_TRUNC")
        handle = self._doors[client].open(name, flags | os.O_TRUNC)
        self._close(client)
        self._opened[client] = _Opened(client, name, flags, handle)
        self._content.truncate(0)
        self._current = {(client, name)}
        self._unacknowledged = client

    def _replace(self) -> None:
        """Rename a new file over it. One of two names is not replaced: libcephfs would lose sight of the other.

        libfuse keeps a name that was removed while it was open, as another, until it is closed.
        """
        client = self._changing().client
        if len(self._names) > 1:
            self._unlink_one(client)
        if self._doors[client].stat(self._names[0]).links > 1:
            return
        data = self._chance.randbytes(self._length())
        (name,) = self._names
        new = name + b".new"
        flags = self._durable() | os.O_RDWR | os.O_CREAT | os.O_EXCL
        with closing(self._doors[client].open(new, flags)) as handle:
            self._require_all(handle.pwrite(data, 0), len(data))
        self._look_at_all()
        self._say(f"{client} renames {len(data)} bytes over it")
        self._doors[client].rename(new, name)
        self._leave_the_old(client)
        self._content = Model(data)

    def _rename(self) -> None:
        client = self._changing().client
        old, new = self._chance.choice(self._names), self._unused_name()
        self._say(f"{client} renames {old!r} to {new!r}")
        self._doors[client].rename(old, new)
        self._names[self._names.index(old)] = new
        kept = {(client, new)} if (client, old) in self._current else set()
        self._current = {(each, name) for each, name in self._current if name not in (old, new)} | kept
        self._lose_name(client, old)
        opened = self._opened.get(client)
        if opened is not None and opened.name == old:
            self._opened[client] = replace(opened, name=new)

    def _link_or_unlink(self) -> None:
        client = self._changing().client
        if len(self._names) > 1:
            self._unlink_one(client)
            return
        new = self._unused_name()
        self._say(f"{client} links {self._names[0]!r} to {new!r}")
        self._doors[client].link(self._names[0], new)
        self._names.append(new)
        self._current = {(each, name) for each, name in self._current if name != new}

    def _unlink_one(self, client: int) -> None:
        gone = self._names.pop(self._chance.randrange(2))
        self._say(f"{client} unlinks {gone!r}")
        self._doors[client].unlink(gone)
        self._current = {(each, name) for each, name in self._current if each == client or name != gone}
        self._lose_name(client, gone)

    def _remove(self) -> None:
        """All names, while it is open; it is used on, closed, and made anew."""
        client = self._changing().client
        self._look_at_all()
        self._say(f"{client} removes {self._names!r}")
        for name in self._names:
            self._doors[client].unlink(name)
        self._names = [self._all_names[0]]
        self._leave_the_old(client)
        self._create()

    def _create(self) -> None:
        client, flags = self._writer, self._flags()
        (name,) = self._names
        self._say(f"{client} makes {name!r}")
        handle = self._doors[client].open(name, flags | os.O_CREAT | os.O_EXCL)
        self._opened[client] = _Opened(client, name, flags, handle)
        self._content = Model()
        self._current = {(client, name)}
        self._unacknowledged = client

    # turns

    def _changing(self) -> _Opened:
        """The handle of the one who writes now."""
        if self._chance.random() < _SWITCH:
            self._writer = self._chance.randrange(len(self._doors))
        return self._at(self._writer)

    def _reader(self) -> _Opened:
        """The handle of one who reads: mostly the writer's."""
        if self._chance.random() < _OWN_READS:
            return self._at(self._writer)
        return self._at(self._chance.randrange(len(self._doors)))

    def _at(self, client: int) -> _Opened:
        """The handle of a client; it shows what all of them have written."""
        if self._unacknowledged not in (None, client):
            self._acknowledge(self._unacknowledged)
        opened = self._opened.get(client)
        if opened is not None and not self._shows_all(opened):
            self._close(client)
            opened = None
        if opened is None:
            opened = self._opened[client] = self._open(client)
        return opened

    def _open(self, client: int) -> _Opened:
        name, flags = self._chance.choice(self._names), self._flags()
        self._say(f"{client} opens {name!r} with {flags:#o}")
        handle = self._doors[client].open(name, flags)
        self._current.add((client, name))
        return _Opened(client, name, flags, handle)

    def _shows_all(self, opened: _Opened) -> bool:
        return (
            not self._doors[opened.client].caches
            or bool(opened.flags & os.O_DIRECT)
            or (opened.client, opened.name) in self._current
        )

    def _mappable(self, opened: _Opened) -> _Opened:
        """Memory is what the kernel has cached, by handles with O_DIRECT, too: open it anew where others wrote."""
        if (opened.client, opened.name) in self._current:
            return opened
        self._close(opened.client)
        return self._at(opened.client)

    def _acknowledge(self, client: int) -> None:
        if self._chance.random() < 0.3:
            self._close(client)
        else:
            self._say(f"{client} fsyncs")
            self._opened[client].handle.fsync()
        self._unacknowledged = None

    def _changed(self, opened: _Opened) -> None:
        self._current &= {(opened.client, opened.name)}
        if len(self._doors) > 1 and not opened.flags & DURABLE:
            self._unacknowledged = opened.client

    def _close(self, client: int) -> None:
        self._say(f"{client} closes")
        self._opened.pop(client).handle.close()
        if self._unacknowledged == client:
            self._unacknowledged = None

    def _close_all(self) -> None:
        for client in list(self._opened):
            self._close(client)

    def _lose_name(self, client: int, name: bytes) -> None:
        """Others who have it open by a name that this client has taken away open it anew, where names are followed."""
        for each, opened in list(self._opened.items()):
            if each != client and opened.name == name and self._doors[each].caches:
                self._close(each)

    def _look_at_all(self) -> None:
        """So that all who have it open show what it is now."""
        for client in list(self._opened):
            self._at(client)

    def _leave_the_old(self, client: int) -> None:
        """Whoever has open what has no name any more sees it as it was, and can write it."""
        opened = self._opened.get(client)
        if opened is not None and opened.flags & os.O_APPEND == 0:
            data = self._chance.randbytes(self._chance.randrange(1, 2 * BLOCK))
            self._say(f"{client} writes {len(data)} at 0 of what has no name")
            self._require_all(opened.handle.pwrite(data, 0), len(data))
            self._content.pwrite(data, 0)
            opened.handle.fsync()
            self._changed(opened)
        for each in self._opened.values():
            if each.client != client and self._doors[each.client].caches:
                if each.flags & os.O_DIRECT:
                    self._say(f"{each.client} reads what has no name, with O_DIRECT")
                    self._judge(each.handle.pread(4 * BLOCK, 0), 0, 4 * BLOCK)
            elif self._shows_all(each):
                self._say(f"{each.client} reads what has no name")
                self._compare(each.handle, 0, 4 * BLOCK)
        self._close_all()
        self._current.clear()

    # parts

    def _flags(self) -> int:
        return self._durable() | os.O_RDWR | (os.O_APPEND if self._chance.random() < 0.1 else 0)

    def _durable(self) -> int:
        if not self._direct:
            return 0
        return self._chance.choice((os.O_DIRECT, os.O_DIRECT, os.O_SYNC, os.O_DSYNC, os.O_DIRECT | os.O_SYNC))

    def _start(self, flags: int, offset: int) -> int:
        """Where a write begins."""
        return len(self._content.data) if flags & os.O_APPEND else offset

    def _unused_name(self) -> bytes:
        return self._chance.choice([name for name in self._all_names if name not in self._names])

    def _say(self, what: str) -> None:
        self._trail.append(what)

    def _require_all(self, done: int, length: int) -> None:
        if done != length:
            raise _MismatchError(f"{done} of {length} bytes were written")

    def _compare_all(self) -> None:
        for client in range(len(self._doors)):
            opened = self._at(client)
            self._say(f"{client} reads the whole file")
            self._compare(opened.handle, 0, LARGEST)

    def _compare(self, handle: Handle, offset: int, length: int) -> None:
        if handle.size != len(self._content.data):
            raise _MismatchError(f"its size is {handle.size}, not {len(self._content.data)}")
        self._judge(handle.pread(length, offset), offset, length)

    def _judge(self, found: bytes, offset: int, length: int) -> None:
        expected = bytes(self._content.data[offset : offset + length])
        if len(found) != len(expected):
            raise _MismatchError(f"{len(found)} bytes at {offset}, not {len(expected)}")
        if found != expected:
            wrong = [at for at, (one, two) in enumerate(zip(found, expected, strict=True)) if one != two]
            raise _MismatchError(
                f"{len(wrong)} bytes between {offset + wrong[0]} and {offset + wrong[-1]} are wrong: "
                f"the first is {found[wrong[0]]:02x}, not {expected[wrong[0]]:02x}"
            )

    def _stretch(self) -> tuple[int, int] | None:
        """An offset and a length within the file, or None where it is empty."""
        size = len(self._content.data)
        if not size:
            return None
        offset = min(self._place(), size - 1)
        return offset, min(self._length(), size - offset)

    def _place(self) -> int:
        """An offset: near a block's edge, near the end, in the file, or anywhere; around the start of an object."""
        around = self._chance.choices((0, _OBJECT, 2 * _OBJECT), (6, 1, 1))[0]
        match self._chance.randrange(4):
            case 0:
                place = around + self._chance.randint(-_NEAR, _NEAR) // BLOCK * BLOCK
                place += self._chance.randint(-2, 2)
            case 1:
                place = len(self._content.data) + self._chance.randint(-2 * BLOCK, 2 * BLOCK)
            case 2 if self._content.data:
                place = self._chance.randrange(len(self._content.data))
            case _:
                place = around + self._chance.randint(-_NEAR, _NEAR)
        return min(abs(place), LARGEST)

    def _length(self) -> int:
        """Mostly short, sometimes whole blocks."""
        if self._chance.randrange(4) == 0:
            return self._chance.randrange(1, _LONGEST // BLOCK + 1) * BLOCK
        return self._chance.randrange(1, self._chance.choice((16, BLOCK, 4 * BLOCK, _LONGEST)) + 1)
