"""Vector files of the ext4 shape: one list of cases, each a policy with directories, files and symlinks."""

from errno import errorcode
from hashlib import sha256, sha512

from ..contents import Contents
from ..context import Context
from ..errors import FormatError
from ..keys import Inode, MasterKey
from ..modes import Flags
from ..names import Names
from ..policy import Policy
from ..symlinks import Target
from .fields import FieldError, Record
from .plaintext import Part, Plaintext, make_content, seed_of
from .tally import Agreement, Tally

BLOCK = 4096
"""Bytes of the file system's block: what is present or a hole. Data units may be smaller."""

_REGROWN = b"regrown"
"""The file that was cut and grown again: its size lies beyond its data, the same in all cases."""


def check_ext4(vectors: Record, tally: Tally) -> None:
    """Compare all values of a file of this shape."""
    with tally.judging(vectors.where):
        tally.compare(vectors.place("format"), 1, vectors.integer("format"))
    agreements = _Agreements()
    totals = {"names": 0, "files": 0, "blocks": 0, "symlinks": 0}
    titles: list[str] = []

    def check_case(record: Record) -> None:
        titles.append(record.text("case"))
        _Case(record, vectors.text("seed"), agreements, totals, tally).check()

    def check_unavailable(record: Record) -> None:
        tally.compare(record.place("case"), False, record.text("case") in titles)
        tally.compare(record.place("errno"), True, record.text("errno") in errorcode.values())

    tally.each(vectors, "cases", check_case)
    agreements.compare_all(tally)
    if "unavailable" in vectors:
        tally.each(vectors, "unavailable", check_unavailable)
    if "checked_by_generator" in vectors:
        for name, total in totals.items():
            with tally.judging(vectors.where):
                counters = vectors.record("checked_by_generator")
                tally.compare(counters.place(name), total, counters.integer(name))


class _Agreements:
    def __init__(self) -> None:
        self.uuids = Agreement()
        self.regrown = Agreement()
        self.inodes: dict[int, str] = {}

    def compare_all(self, tally: Tally) -> None:
        self.uuids.compare_all(tally)
        self.regrown.compare_all(tally)


class _Case:
    def __init__(
        self, record: Record, seed: str, agreements: _Agreements, totals: dict[str, int], tally: Tally
    ) -> None:
        self._record, self._agreements, self._totals, self._tally = record, agreements, totals, tally
        self._seed = f"{seed}/{record.text('case')}"
        self._master = MasterKey(record.hex("master_key"))
        self._policy = Policy.decode(record.hex("policy"))
        self._uuid = record.hex("fs_uuid")
        self._names: set[bytes] = set()
        self._paths: set[bytes] = set()

    def check(self) -> None:
        self._check_policy()
        tally, record = self._tally, self._record
        tally.each(record, "dirs", self._check_directory)
        tally.each(record, "files", self._check_file)
        tally.each(record, "symlinks", self._check_symlink)

    def _check_policy(self) -> None:
        tally, record, policy = self._tally, self._record, self._policy
        tally.compare(record.place("policy"), policy.encode(), record.hex("policy"))
        for name, value in (
            ("policy_version", policy.version),
            ("contents_mode", int(policy.contents_mode)),
            ("filenames_mode", int(policy.names_mode)),
            ("flags", int(policy.flags)),
            ("log2_data_unit_size", policy.log2_data_unit_size),
        ):
            tally.compare(record.place(name), value, record.integer(name))
        key = self._master.identifier if policy.version == 2 else descriptor_of(self._master)
        name = "key_identifier" if policy.version == 2 else "key_descriptor"
        tally.compare(record.place(name), key, record.hex(name))
        tally.compare(record.place("policy"), key, policy.key)
        tally.compare(record.place("fs_uuid"), 16, len(self._uuid))
        self._agreements.uuids.add(record.place("fs_uuid"), self._uuid)
        self._check_refusal()

    def _check_refusal(self) -> None:
        """CephFS refuses exactly the policies that its kernel client refuses."""
        policy = self._policy
        refused = bool(
            policy.flags & (Flags.IV_INO_LBLK_64 | Flags.IV_INO_LBLK_32) or policy.log2_data_unit_size
        )
        try:
            policy.check_for_cephfs()
        except FormatError:
            self._tally.compare(f"{self._record.where}: refused on CephFS", True, refused)
        else:
            self._tally.compare(f"{self._record.where}: refused on CephFS", False, refused)

    def _inode(self, record: Record) -> tuple[Context, Inode]:
        """The record's context and inode, compared."""
        tally = self._tally
        context = Context.decode(record.hex("context"))
        tally.compare(record.place("context"), context.encode(), record.hex("context"))
        tally.compare(record.place("context"), self._policy.encode(), context.policy.encode())
        tally.compare(record.place("nonce"), context.nonce, record.hex("nonce"))
        number = record.integer("ino")
        other = self._agreements.inodes.setdefault(number, record.where)
        tally.compare(record.place("ino"), record.where, other)
        path = record.hex("path")
        named_once = (path == b"" or path in self._names) and path not in self._paths
        self._paths.add(path)
        tally.compare(f"{record.place('path')}: an entry, once", True, named_once)
        return context, Inode(self._uuid, number)

    def _check_directory(self, record: Record) -> None:
        context, inode = self._inode(record)
        names = Names(self._master, context, inode)
        path = record.hex("path")

        def check_entry(entry: Record) -> None:
            self._totals["names"] += 1
            plain, cipher = entry.hex("plain"), entry.hex("cipher")
            self._names.add(path + b"/" + plain if path else plain)
            self._tally.compare(entry.place("cipher"), names.encrypt(plain), cipher)
            self._tally.compare(entry.place("plain"), names.decrypt(cipher), plain)

        self._tally.each(record, "entries", check_entry)

    def _check_symlink(self, record: Record) -> None:
        self._totals["symlinks"] += 1
        context, inode = self._inode(record)
        target = Target(self._master, context, inode)
        plain, cipher = record.hex("plain"), record.hex("cipher")
        self._tally.compare(record.place("cipher"), target.encrypt(plain), cipher)
        self._tally.compare(record.place("plain"), target.decrypt(cipher), plain)

    def _check_file(self, record: Record) -> None:
        self._totals["files"] += 1
        tally = self._tally
        context, inode = self._inode(record)
        plaintext = Plaintext([self._part(part) for part in record.records("content")], BLOCK)
        size = record.integer("size")
        if record.hex("path") == _REGROWN:
            self._agreements.regrown.add(record.place("size"), size)
        else:
            tally.compare(record.place("size"), plaintext.end, size)
        runs = plaintext.runs()
        tally.compare(record.place("logical_blocks"), runs, record.items("logical_blocks"))
        digest, stored = sha256(), []
        with Contents(self._master, context, inode) as contents:
            scale = BLOCK // contents.unit_size
            for first, last in runs:
                plain = plaintext.row(first, last)
                cipher = contents.encrypt(plain, first * scale)
                tally.compare(f"{record.where}: decrypted", contents.decrypt(cipher, first * scale), plain)
                digest.update(cipher)
                stored.append(cipher)
                self._totals["blocks"] += last - first + 1
            tally.compare(record.place("cipher_sha256"), digest.digest(), record.hex("cipher_sha256"))
            blocks = plaintext.blocks()
            expected = {}
            if blocks:
                expected["first_block"] = (blocks[0], stored[0][:BLOCK])
            if len(blocks) > 1:
                expected["last_block"] = (blocks[-1], stored[-1][-BLOCK:])
            for name in ("first_block", "last_block"):
                tally.compare(f"{record.place(name)} is there", name in expected, name in record)
            for name, (block, cipher) in expected.items():
                tally.compare(record.place(name), cipher, record.hex(name))
                plain = contents.decrypt(record.hex(name), block * scale)
                tally.compare(f"{record.place(name)}: decrypted", plaintext.row(block, block), plain)

    def _part(self, record: Record) -> Part:
        source = record.record("gen")
        if source.one_of("seed", "zeros") == "zeros":
            return Part(record.integer("off"), make_content(source.where, None, source.integer("zeros")))
        seed = seed_of(source)
        if seed is None or self._seed not in seed:
            raise FieldError(f"{source.place('seed')}: not a seed of {self._seed}")
        return Part(record.integer("off"), make_content(source.where, seed, source.integer("len")))


def descriptor_of(master: MasterKey) -> bytes:
    """The descriptor that tools give a v1 key: the start of SHA-512 of SHA-512; the kernel takes any."""
    return sha512(sha512(master.expose()).digest()).digest()[:8]
