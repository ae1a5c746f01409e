"""Vector files of the CephFS shape: runs of entries as the servers hold them, with their plaintext."""

import stat
from collections import Counter
from hashlib import sha256

from ..contents import Contents
from ..context import Context
from ..errors import HashedNameError
from ..keys import MasterKey
from ..names import Dentry, Names
from ..policy import Policy
from ..sizes import BLOCK_SIZE, SizeRule, believe_size, encode_file_size, raw_size
from ..snapshots import InheritedSnapshot, decode_snapshot
from ..symlinks import Target
from .ext4 import descriptor_of
from .fields import LARGEST_PART, FieldError, Record
from .plaintext import Part, Plaintext, make_content, seed_of
from .tally import Agreement, Tally

HEX_MAX = 12 * 1024
"""Objects up to this size stand in the file in full."""
_HOLES = "all-zero raw block where the plan has no data"
_ZERO_TAIL = "tail beyond EOF is zeros"
_GARBAGE_TAIL = "tail beyond EOF is NOT zeros"
_OTHER_TAIL = "tail beyond EOF is garbage of another kind than a decrypted hole"
_BEYOND_PLAN = "symlink beyond plan"
_HASHED = "snapshot name hashed (no alternate name: not recoverable)"
_SAME_INODE = ("mode", "real_size", "raw_size", "file", "objects", "plain_parts")
_COUNTED = ("names", "altnames", "files", "hardlinks", "plan files found", "symlinks", "snapnames", "blocks")
"""Counters in a run's ``checked`` that we count, too."""
_NOTED = (_HOLES, _ZERO_TAIL, _GARBAGE_TAIL, _BEYOND_PLAN, _HASHED)
"""Counters in a run's ``notes`` that we count, too; some more have a value in their name."""


def check_cephfs(vectors: Record, tally: Tally) -> None:
    """Compare all values of a file of this shape."""
    with tally.judging(vectors.where):
        tally.compare(vectors.place("format"), 1, vectors.integer("format"))
    tally.each(vectors, "runs", lambda run: _Run(run, tally).check())


class _Run:
    def __init__(self, record: Record, tally: Tally) -> None:
        self._record, self._tally = record, tally
        self._object_size = record.integer("object_size")
        if not 0 < self._object_size <= LARGEST_PART or self._object_size % BLOCK_SIZE:
            raise FieldError(f"{record.place('object_size')}: {self._object_size} is no object's size")
        self._cases: dict[bytes, tuple[str, MasterKey, Policy]] = {}
        self._counted = Counter(dict.fromkeys(_COUNTED, 0))
        self._notes = Counter(dict.fromkeys(_NOTED, 0))
        self._directories: set[bytes] = set()
        self._inodes: dict[bytes, dict[str, object]] = {}

    def check(self) -> None:
        tally, record = self._tally, self._record
        tally.each(record, "cases", self._check_case)
        tally.each(record, "entries", self._check_entry)
        self._check_snapshots()
        self._compare_counters("checked", self._counted)
        self._compare_counters("notes", self._notes)
        tally.notes.update(self._notes)

    def _check_case(self, record: Record) -> None:
        tally = self._tally
        master, policy = MasterKey(record.hex("master")), Policy.decode(record.hex("policy"))
        key = master.identifier if policy.version == 2 else descriptor_of(master)
        tally.compare(record.place("id"), key, record.hex("id"))
        tally.compare(record.place("policy"), key, policy.key)
        tally.compare(record.place("policy"), policy.encode(), record.hex("policy"))
        policy.check_for_cephfs()
        self._cases[policy.key] = (record.text("name"), master, policy)

    def _context(self, record: Record, name: str) -> Context:
        """The context in an auth field, compared with its case's policy."""
        stored = record.hex(name)
        context = Context.decode_auth(stored)
        self._tally.compare(record.place(name), context.encode_auth(), stored)
        _, _, policy = self._case(record, context)
        self._tally.compare(f"{record.place(name)}: policy", policy.encode(), context.policy.encode())
        return context

    def _case(self, record: Record, context: Context) -> tuple[str, MasterKey, Policy]:
        if context.policy.key not in self._cases:
            raise FieldError(f"{record.where}: no case has the key {context.policy.key.hex()}")
        return self._cases[context.policy.key]

    def _check_entry(self, record: Record) -> None:
        tally = self._tally
        directory = self._context(record, "dir_auth")
        self._directories.add(directory.encode_auth())
        _, master, policy = self._case(record, directory)
        names = Names(master, directory)
        plain = record.hex("plain")
        dentry = Dentry(record.text("dname").encode(), record.hex("alternate_name"))
        made = names.encode(plain)
        tally.compare(record.place("dname"), made.dname, dentry.dname)
        tally.compare(record.place("alternate_name"), made.alternate_name, dentry.alternate_name)
        self._counted["names"] += 1
        self._counted["altnames"] += bool(dentry.alternate_name)
        with tally.judging(record.where):
            tally.compare(record.place("plain"), names.decode(dentry.dname, dentry.alternate_name), plain)
        self._check_inode(record, policy, plain)

    def _check_inode(self, record: Record, policy: Policy, plain: bytes) -> None:
        tally, mode = self._tally, record.integer("mode")
        kind = stat.S_IFMT(mode)
        tally.compare(f"{record.place('mode')}: regular file", "objects" in record, kind == stat.S_IFREG)
        tally.compare(f"{record.place('mode')}: symlink", "target" in record, kind == stat.S_IFLNK)
        tally.compare(f"{record.place('mode')}: type and permissions", kind | stat.S_IMODE(mode), mode)
        if "auth" not in record:
            special = kind in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
            tally.compare(f"{record.where}: special file without auth", True, special)
            self._notes[f"no auth on mode {kind:o}"] += 1
            return
        tally.compare(
            f"{record.place('mode')}: kind with auth",
            True,
            kind in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR),
        )
        context = self._context(record, "auth")
        tally.compare(
            f"{record.place('auth')}: the directory's policy", policy.encode(), context.policy.encode()
        )
        if kind == stat.S_IFDIR:
            self._directories.add(context.encode_auth())
            self._notes[f"mode {kind:o} has auth"] += 1
        elif kind == stat.S_IFLNK:
            self._check_symlink(record, context, plain)
        elif kind == stat.S_IFREG:
            self._check_file(record, context)

    def _check_symlink(self, record: Record, context: Context, name: bytes) -> None:
        _, master, _ = self._case(record, context)
        target = Target(master, context)
        plain, stored = record.hex("target_plain"), record.text("target").encode()
        self._tally.compare(record.place("target"), target.encode(plain), stored)
        self._tally.compare(record.place("target_plain"), target.decode(stored), plain)
        self._counted["symlinks"] += 1
        self._notes[_BEYOND_PLAN] += name == b"L%d" % len(plain)

    def _check_file(self, record: Record, context: Context) -> None:
        self._counted["files"] += 1
        self._check_link(record, context)
        self._check_size(record)
        title, master, _ = self._case(record, context)
        parts = [self._part(part, title) for part in record.records("plain_parts")]
        with Contents(master, context) as contents:
            _Objects(record, Plaintext(parts, BLOCK_SIZE), contents, self._object_size, self._tally).check(
                self._counted, self._notes
            )

    def _check_link(self, record: Record, context: Context) -> None:
        """All names of one inode show the same file."""
        shown = {name: record.value(name) for name in _SAME_INODE}
        first = self._inodes.setdefault(context.encode_auth(), shown)
        if first is not shown:
            self._counted["hardlinks"] += 1
            self._tally.compare(f"{record.where}: another name of the same inode", first, shown)
        else:
            self._counted["plan files found"] += 1

    def _check_size(self, record: Record) -> None:
        raw, stored = record.integer("raw_size"), record.hex("file")
        size = believe_size(raw, stored)
        self._tally.compare(record.place("real_size"), size.real, record.integer("real_size"))
        self._tally.compare(record.place("raw_size"), raw_size(size.real), raw)
        if raw:
            self._tally.compare(record.place("file"), encode_file_size(record.integer("real_size")), stored)
        else:
            self._tally.compare(record.place("file"), 8, len(stored))
        value = int.from_bytes(stored, "little")
        if size.rule is SizeRule.EMPTY and value:
            self._notes[f"stale fscrypt_file {value} with raw size 0"] += 1

    def _part(self, record: Record, title: str) -> Part:
        seed = seed_of(record)
        if seed is None:
            record.true("zeros")
        elif f"/{title}" not in seed:
            raise FieldError(f"{record.place('seed')}: not a seed of {title}")
        data = make_content(record.where, seed, record.integer("len"))
        self._tally.compare(record.place("sha256"), sha256(data).digest(), record.hex("sha256"))
        return Part(record.integer("off"), data)

    def _check_snapshots(self) -> None:
        """Inherited names agree with the snapshots, and with each other on the number, of their owner."""
        own: set[tuple[bytes, bytes]] = set()
        inherited: list[tuple[str, bytes, InheritedSnapshot]] = []

        def check_snapshot(record: Record) -> None:
            self._counted["snapnames"] += 1
            directory = self._context(record, "dir_auth")
            known = directory.encode_auth() in self._directories
            self._tally.compare(f"{record.place('dir_auth')}: a directory here", True, known)
            stored = record.text("name").encode()
            entry = InheritedSnapshot.decode(stored)
            place = f"{record.place('owner_auth')} is there"
            self._tally.compare(place, entry is not None, "owner_auth" in record)
            owner = self._context(record, "owner_auth") if entry else directory
            if entry:
                inherited.append((record.place("name"), owner.encode_auth(), entry))
            else:
                own.add((owner.encode_auth(), stored))
            self._check_snapshot_name(record, owner, entry)

        self._tally.each(self._record, "snapshots", check_snapshot)
        owners: dict[bytes, Agreement] = {}
        for place, auth, entry in inherited:
            self._tally.compare(f"{place}: made in its owner", True, (auth, entry.dname) in own)
            owners.setdefault(auth, Agreement()).add(place, entry.owner)
        for numbers in owners.values():
            numbers.compare_all(self._tally)

    def _check_snapshot_name(self, record: Record, owner: Context, entry: InheritedSnapshot | None) -> None:
        tally, stored = self._tally, record.text("name").encode()
        _, master, _ = self._case(record, owner)
        names = Names(master, owner)
        if record.one_of("plain", "hashed") == "plain":
            plain = record.hex("plain")
            tally.compare(record.place("plain"), decode_snapshot(names, stored), plain)
            made = names.encode(plain).dname
            tally.compare(
                record.place("name"), InheritedSnapshot(made, entry.owner).encode() if entry else made, stored
            )
            self._notes[f"snapshot {'inherited ' if entry else ''}{plain!r}"] += 1
            return
        record.true("hashed")
        try:
            decode_snapshot(names, stored)
        except HashedNameError:
            tally.compare(record.place("hashed"), True, True)
        else:
            tally.fail(f"{record.place('hashed')}: the name can be recovered")
        self._notes[_HASHED] += 1

    def _compare_counters(self, name: str, counted: Counter[str]) -> None:
        if name not in self._record:
            return
        for key, count in counted.items():
            with self._tally.judging(self._record.where):
                counters = self._record.record(name)
                if (count or key in counters) and key != _OTHER_TAIL:
                    self._tally.compare(counters.place(key), count, counters.integer(key))


class _Objects:
    """The objects of one file, built again from the plaintext."""

    def __init__(
        self, record: Record, plaintext: Plaintext, contents: Contents, object_size: int, tally: Tally
    ) -> None:
        self._record, self._plaintext, self._contents = record, plaintext, contents
        self._blocks_each = object_size // BLOCK_SIZE
        self._tally = tally

    def check(self, counted: Counter[str], notes: Counter[str]) -> None:
        record, tally = self._record, self._tally
        tally.compare(
            f"{record.place('plain_parts')}: inside the file",
            True,
            self._plaintext.end <= record.integer("real_size"),
        )
        self._look_at_tail(notes)
        stored = self._encrypt()
        objects = record.record("objects")
        for number in stored:
            tally.compare(f"{objects.place(str(number))} is there", True, str(number) in objects)
        for name in objects.names():
            if not name.isdecimal() or len(name) > 20 or str(int(name)) != name:
                raise FieldError(f"{objects.where}: {name!r} is no object's number")
            blocks = stored.get(int(name), {})
            size = (max(blocks) + 1) * BLOCK_SIZE if blocks else 0
            data = b"".join(blocks.get(block, bytes(BLOCK_SIZE)) for block in range(size // BLOCK_SIZE))
            holes = size // BLOCK_SIZE - len(blocks)
            counted["blocks"] += len(blocks)
            notes[_HOLES] += holes
            self._compare_object(objects.record(name), int(name), data)

    def _compare_object(self, record: Record, number: int, data: bytes) -> None:
        tally = self._tally
        tally.compare(record.place("size"), len(data), record.integer("size"))
        tally.compare(record.place("sha256"), sha256(data).digest(), record.hex("sha256"))
        tally.compare(f"{record.place('hex')} is there", len(data) <= HEX_MAX, "hex" in record)
        stored = data
        if "hex" in record:
            stored = record.hex("hex")
            tally.compare(record.place("hex"), data, stored)
        first = number * self._blocks_each
        if len(stored) % BLOCK_SIZE:
            raise FieldError(f"{record.where}: {len(stored)} bytes are not whole blocks")
        plain = self._contents.decrypt(stored, first, holes=True)
        known = set(self._plaintext.blocks())
        expected = b"".join(
            self._plaintext.row(block, block) if block in known else bytes(BLOCK_SIZE)
            for block in range(first, first + len(stored) // BLOCK_SIZE)
        )
        tally.compare(f"{record.where}: decrypted", expected, plain)

    def _encrypt(self) -> dict[int, dict[int, bytes]]:
        """Ciphertext blocks by object and place in the object."""
        stored: dict[int, dict[int, bytes]] = {}
        for first, last in self._plaintext.runs():
            cipher = self._contents.encrypt(self._plaintext.row(first, last), first)
            for block in range(first, last + 1):
                number, place = divmod(block, self._blocks_each)
                at = (block - first) * BLOCK_SIZE
                stored.setdefault(number, {})[place] = cipher[at : at + BLOCK_SIZE]
        return stored

    def _look_at_tail(self, notes: Counter[str]) -> None:
        """Kernels leave garbage past the end after unaligned uncached writes (doc/format.md D4): take that, too.

        It is what an all-zero block decrypts to; another kind is told. Only an object that stands in the file
        in full shows it, and its digest still proves each of its bytes.
        """
        real = self._record.integer("real_size")
        block, start = divmod(real, BLOCK_SIZE)
        if not start or block not in self._plaintext.blocks():
            return
        number, place = divmod(block, self._blocks_each)
        holder = self._record.record("objects").record(str(number))
        stored = b""
        if "hex" in holder:
            stored = holder.hex("hex")[place * BLOCK_SIZE : (place + 1) * BLOCK_SIZE]
        tail = self._contents.decrypt(stored, block)[start:] if len(stored) == BLOCK_SIZE else b""
        if not any(tail):
            notes[_ZERO_TAIL] += 1
            return
        notes[_GARBAGE_TAIL] += 1
        self._plaintext.set_tail(block, start, tail)
        if tail != self._contents.decrypt(bytes(BLOCK_SIZE), block)[start:]:
            notes[_OTHER_TAIL] += 1
