"""The cluster, the guest and the key of one witness."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect, connect_guarded
from mgr_fscrypt.ceph.interface import Mount
from mgr_fscrypt.engine import FileSystem, Keyring, Mode, policy_of
from mgr_fscrypt.format import AUTH_XATTR, Context, MasterKey, Policy
from qa.lab.cluster import Cluster
from qa.load.program import command, done, run

from .guest import Guest
from .guest_door import GuestDoor
from .misreading import misread

MOUNTED = "/tmp/cephfs"  # noqa: S108 - a tmpfs of the guest's own
_MONITOR = re.compile(r"v1:([\d.:]+)")


@dataclass(frozen=True)
class Kind:
    """A policy of a subtree, and how long names may be in it that libcephfs can make."""

    name: str
    padding: int
    contents: Mode
    longest: int

    def policy(self, key: MasterKey) -> Policy:
        return policy_of(key.identifier, self.padding, self.contents)


KINDS = (
    Kind("xts-32", 32, Mode.AES_256_XTS, 128),
    Kind("xts-16", 16, Mode.AES_256_XTS, 144),
    Kind("xts-4", 4, Mode.AES_256_XTS, 148),
    Kind("essiv-32", 32, Mode.AES_128_CBC, 128),
)
"""The first of them is the default."""


@dataclass(frozen=True)
class Place:
    """Everything that the parts of the story work with."""

    cluster: Cluster
    guest: Guest
    key_file: Path

    @property
    def key(self) -> MasterKey:
        return MasterKey(self.key_file.read_bytes())

    def mount(self, at: str = MOUNTED, *, apart: bool = False) -> None:
        """The guest's kernel mounts the whole file system; `apart` as a client of its own, which shares nothing."""
        conf = (self.cluster.directory / "ceph.conf").read_text()
        found = _MONITOR.search(conf)
        assert found is not None
        secret = self.cluster.ceph("auth", "get-key", "client.admin").strip()
        options = f"name=admin,secret={secret}{',noshare' * apart}"
        self.guest.ask("mount", f"{found[1]}:/", at, options)

    def unmount(self, at: str = MOUNTED) -> None:
        self.guest.ask("unmount", at)

    def unlock(self, at: str = MOUNTED) -> tuple[int, str]:
        """By our own program, in the guest."""
        return self.program("unlock", at, "--key", "-", stdin=self.key_file.read_bytes())

    def program(self, *words: str, stdin: bytes = b"") -> tuple[int, str]:
        """`cephfs-fscrypt` in the guest: exit code, and what it said."""
        code, said = self.guest.ask("run", ["python", *command(*words)[1:]], stdin)
        return int(code), str(said)

    def door(self, subtree: str) -> GuestDoor:
        """The guest's way to a subtree."""
        return GuestDoor(self.guest, MOUNTED + subtree)

    @contextmanager
    def engine(self, *, guarded: bool = False) -> Iterator[FileSystem]:
        """A client of our engine, with the key; `guarded` beside kernels that truncate (doc/facts.md F4)."""
        keyring = Keyring()
        keyring.add(self.key)
        with (connect_guarded if guarded else connect)(Access()) as mount:
            files = FileSystem(mount, keyring, durable_close=True)
            with files:
                yield files

    def misread(self, path: bytes, content: bytes) -> bytes:
        """What a kernel reads of this file, which it may read, where it misreads its end (misreading.py)."""
        with self.engine(guarded=True) as files:
            context = Context.decode_auth(files.getxattr(path, AUTH_XATTR))
        return misread(self.key, context, content)

    @contextmanager
    def stored(self) -> Iterator[Mount]:
        """What is stored, without a key."""
        with connect(Access()) as mount:
            yield mount

    def create(self, subtree: str, kind: Kind) -> None:
        """A subtree in engine mode."""
        with self.engine() as files:
            files.mkdir(subtree)
            files.create_subtree(subtree, self.key.identifier, padding=kind.padding, contents=kind.contents)

    def change(self, verb: str, subtree: str) -> None:
        """`subtree release` or `hold`; the manager's own clients are known, and others are evicted."""
        keyed = ("--key", self.key_file) if verb == "release" else ()
        answer = run("subtree", verb, subtree, *keyed, "--evict")
        if answer.returncode != 0:
            raise RuntimeError(f"subtree {verb} {subtree}: {answer.stderr.decode()} {answer.stdout.decode()}")

    def adopt(self, subtree: str) -> str:
        """Register a subtree that somebody else made; what the manager knows of it then."""
        facts = done("subtree", "status", subtree, "--facts")
        self.cluster.ceph("fscrypt", "subtree", "adopt", "cephfs", subtree, "-i", "-", stdin=facts)
        shown = self.cluster.ceph_json("fscrypt", "subtree", "show", "cephfs", subtree)
        return json.dumps(shown)

    def fsck(self, subtree: str) -> dict[str, set[str]]:
        """What `fsck` finds, by path below the subtree."""
        answer = run("fsck", subtree, "--key", self.key_file, "--json")
        found: dict[str, set[str]] = {}
        for line in answer.stdout.decode().splitlines():
            told = json.loads(line)
            if "finding" in told:
                path = os.path.relpath(told["path"], subtree)
                found.setdefault(path, set()).add(told["finding"])
        if answer.returncode not in (0, 1):
            raise RuntimeError(f"fsck {subtree}: {answer.stderr.decode()}")
        return found
