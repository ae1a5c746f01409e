"""A tree of real files, with odd ones among them, that is migrated under its users: they have it mounted *at* the
migrated path, with files open for writing, and one of them changes it all the time.

Afterwards what a kernel shows of the new tree is compared with what it shows of the old one, attribute by attribute;
and when the new one is released, with what the format says of raw dentries, attributes and objects.

`python3 -m qa.load.migrated_tree ROOT` is the user that changes it; it ends with its session.
"""

import errno
import json
import os
import random
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import cephfs
import rados

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine.paths import joined
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.migrate.record import hidden_of
from qa.demo.released import Checked, ReleasedTree
from qa.lab.cluster import Cluster

from .mounted import mounted, wait_for_end
from .program import ROOT, command

REAL = Path("/usr")
"""The files of the machine itself."""
PATH = b"/tree"
WRITTEN = b"written"
_OPEN = b"open by ceph-fuse"
_SECRET = bytes(range(64))
_PATIENCE = 3600.0
_PIECE = 1 << 20


@dataclass
class Journey:
    """One migration of such a tree, in a directory of its own that nobody else mounts.

    Attributes:
        home: does not exist yet.
        most: real files that are taken; None: all.
        sparse: bytes of the largest file, which is nearly empty.
        workers: processes that copy.
        told: what happened, with its figures.
    """

    home: bytes
    most: int | None
    sparse: int
    workers: int = 4
    told: dict[str, object] = field(default_factory=dict)

    def run(self) -> str | None:
        """From its making to its end; what was wrong, else nothing is left of it. Raises what nobody foresaw."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            key = folder / "key"
            key.touch(0o600)
            key.write_bytes(_SECRET)
            with connect(Access()) as mount:
                mount.mkdir(self.home, 0o755)
                mount.sync()
            with _fuse(self.home, folder / "whole") as whole:
                self._make(whole)
            wrong = self._migrated(key, folder, stack)
            if wrong:
                return wrong
            twin = folder / "twin"
            with _fuse(self.home, folder / "whole") as whole:
                old = whole / os.fsdecode(hidden_of(PATH))[1:] / "old"
                with mounted(os.fsdecode(PATH), _made(folder / "new"), key, "--root", os.fsdecode(self.home)):
                    seen = list(compared(old, folder / "new"))
                subprocess.run(["cp", "-a", "--sparse=always", old, twin], check=True)
            differing = [each for each in seen if each]
            self.told["entries"] = len(seen)
            if differing:
                return f"{len(differing)} of {len(seen)} differ: {differing[:5]}"
            self._command("migrate", "verify", os.fsdecode(PATH), "--no-key")
            self._command("migrate", "purge", os.fsdecode(PATH))
            self._command("subtree", "release", os.fsdecode(PATH), "--key", key)
            checked = self._released(twin)
            self.told["checked by the format"] = checked.files + checked.directories + checked.symlinks
            if checked.differences:
                return f"released: {checked.differences[:5]}"
            with _fuse(self.home, folder / "whole") as whole:
                subprocess.run(["rm", "-rf", whole / "tree"], check=True)
        return None

    def _make(self, whole: Path) -> None:
        top = whole / os.fsdecode(PATH)[1:]
        for each in (top, top / "real", top / os.fsdecode(WRITTEN)):
            each.mkdir()
        if self.most is None:
            subprocess.run(["cp", "-a", "--one-file-system", REAL, top / "real"], check=True)
        else:
            names = [os.fsencode(each) for each in islice(_files(REAL), self.most)]
            subprocess.run(
                ["cp", "-a", "--parents", "--target-directory", top / "real", "--", *names],
                check=True,
                cwd="/",
            )
        odd(top / "odd", self.sparse)
        os.sync()

    def _migrated(self, key: Path, folder: Path, stack: ExitStack) -> str | None:
        """What was wrong with a migration under its users; one of them ends with the stack at the latest."""
        path, keyed = os.fsdecode(PATH), ("--key", key)
        root = joined(self.home, PATH[1:])
        writer = subprocess.Popen(
            [sys.executable, "-m", __name__, os.fsdecode(root)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        stack.callback(writer.kill)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "at work\n"
        with _fuse(root, folder / "at-the-path") as place:
            held = os.open(place / os.fsdecode(_OPEN), os.O_RDWR | os.O_CREAT, 0o600)
            os.write(held, b"begun")
            plan = json.loads(self._command("migrate", "plan", path, *keyed, "--json").splitlines()[-1])
            begun = time.monotonic()
            how = ("--even-changed", "--evict", "--workers", str(self.workers), "--json")
            answer = self._command("migrate", "start", path, *keyed, "--plan", plan["plan"], *how)
            said = json.loads(answer.splitlines()[-1])
            self.told |= {
                "planned": plan["files"],
                "bytes": plan["bytes"],
                "seconds": round(time.monotonic() - begun, 1),
                "passes": said["passes"],
                "evicted": len(said["evicted"]),
                "gap": round(said["gap"], 4),
            }
            last, _ = writer.communicate()
            try:
                os.write(held, b"late" * _PIECE)
                os.fsync(held)
                late = "accepted"
            except OSError as error:
                late = errno.errorcode[error.errno]
            with _may_fail():
                os.close(held)
        self.told |= {"writer": last.split(), "ceph-fuse, late": late}
        if len(said["evicted"]) < 2 or late == "accepted":
            return f"a client that had it mounted at the path was let on: {self.told}"
        return None

    def _released(self, twin: Path) -> Checked:
        conf = str(Cluster.current().directory / "ceph.conf")
        library = cephfs.LibCephFS(conffile=conf, auth_id="admin")
        library.mount(mount_root=self.home)
        try:
            with rados.Rados(conffile=conf) as cluster:
                pool = library.get_default_pool()["pool_name"]
                with cluster.open_ioctx(pool) as data:
                    return ReleasedTree(library, data, MasterKey(_SECRET)).check_at(PATH, twin)
        finally:
            library.shutdown()

    def _command(self, *words: str | Path) -> str:
        answer = subprocess.run(
            command(*words, "--root", os.fsdecode(self.home)),
            stdout=subprocess.PIPE,
            check=False,
            cwd=ROOT,
            timeout=_PATIENCE,
            text=True,
        )
        if answer.returncode != 0:
            raise RuntimeError(f"{words[:2]} ended with {answer.returncode}: {answer.stdout[-2000:]}")
        return answer.stdout


def odd(top: Path, sparse: int) -> None:
    """What few trees have, all in one."""
    (top / "deep" / "er").mkdir(parents=True)
    (top / "empty").touch()
    for name in (b"\xff\xfe", b"a\nb", "größe".encode(), b"x" * 128, b"-n", b"*"):
        Path(os.fsdecode(os.fsencode(top) + b"/" + name)).write_bytes(name)
    (top / "names").write_bytes(b"of four names")
    for where in ("deep/one", "deep/er/two", "three"):
        os.link(top / "names", top / where)
    with (top / "sparse").open("wb") as file:
        for offset in (5000, sparse // 3, sparse - 3):
            file.seek(offset)
            file.write(b"end")
    (top / "noted").write_bytes(b"n" * 70_000)
    os.setxattr(top / "noted", "user.note", b"kept \xff")
    os.setxattr(top / "deep", "user.of a directory", b"")
    os.mkfifo(top / "fifo", 0o620)
    os.mknod(top / "device", stat.S_IFCHR | 0o640, os.makedev(240, 7))
    with socket.socket(socket.AF_UNIX) as made:
        # its path may be too long for a socket's address
        os.chdir(top)
        made.bind("socket")
        os.chdir("/")
    (top / "link").symlink_to("nowhere/" * 20 + "at all")
    (top / "absolute").symlink_to("/")
    os.chown(top / "noted", 12, 34)
    (top / "noted").chmod(0o4751)
    os.chown(top / "link", 12, 34, follow_symlinks=False)
    (top / "deep").chmod(0o3777)
    for each, when in ((top / "empty", 0), (top / "names", 4_000_000_000), (top / "deep", 86_400)):
        os.utime(each, (when, when))


def compared(old: Path, new: Path) -> Iterator[str]:
    """For each entry of both how it differs, empty where it does not: by what the kernel shows of either."""
    left, right = old.lstat(), new.lstat()
    # not the numbers of devices: ceph-fuse decodes them as it has stored them, which libcephfs does not
    how = [name for name in ("st_mode", "st_uid", "st_gid") if getattr(left, name) != getattr(right, name)]
    if int(left.st_mtime) != int(right.st_mtime):
        how.append("st_mtime")
    if stat.S_ISLNK(left.st_mode):
        how += ["target"] * (old.readlink() != new.readlink())
    elif sorted(_attributes(old)) != sorted(_attributes(new)):
        how.append("attributes")
    if stat.S_ISREG(left.st_mode):
        how += [name for name in ("st_size", "st_nlink") if getattr(left, name) != getattr(right, name)]
        how += ["contents"] * (not _same(old, new))
    yield f"{old}: {', '.join(how)}" if how else ""
    if stat.S_ISDIR(left.st_mode) and stat.S_ISDIR(right.st_mode):
        names, others = ({each.name for each in side.iterdir()} for side in (old, new))
        for name in sorted(names ^ others):
            yield f"{old}: {name!r} is on one side only"
        for name in sorted(names & others):
            yield from compared(old / name, new / name)


def _attributes(path: Path) -> Iterator[tuple[str, bytes]]:
    for name in os.listxattr(path, follow_symlinks=False):
        # the mark of the copy, which `purge` removes, is for root's programs to see
        if not name.startswith(("trusted.", "ceph.")):
            yield name, os.getxattr(path, name, follow_symlinks=False)


def _same(old: Path, new: Path) -> bool:
    with old.open("rb") as one, new.open("rb") as other:
        while True:
            data = one.read(_PIECE)
            if data != other.read(_PIECE):
                return False
            if not data:
                return True


def _files(top: Path) -> Iterator[Path]:
    """Files and links in the order of their names, as paths from the root."""
    for above, directories, names in os.walk(top):
        directories.sort()
        for name in sorted(names):
            path = Path(above) / name
            if path.lstat().st_size < _PIECE:
                yield path.relative_to("/")


@contextmanager
def _fuse(root: bytes, directory: Path) -> Iterator[Path]:
    """ceph-fuse, with `root` as its root."""
    directory.mkdir(exist_ok=True)
    conf, pid = Cluster.current().directory / "ceph.conf", directory.with_suffix(".pid")
    options = ["-c", conf, "--id", "admin", f"--pid-file={pid}", "-r", os.fsdecode(root), directory]
    subprocess.run(["ceph-fuse", *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = int(pid.read_text())
    try:
        yield directory
    finally:
        # one that was evicted may still have something open
        subprocess.run(["umount", "--lazy", directory], check=True)
        wait_for_end(process)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


@contextmanager
def _may_fail() -> Iterator[None]:
    try:
        yield
    except OSError:
        return


def _write(root: str) -> None:
    """Change files below `written` until the session is ended, with another one open all the time."""
    chance = random.Random(root)
    try:
        with connect(Access(root=os.fsencode(root))) as mount:
            held = mount.open(b"/open by libcephfs", os.O_RDWR | os.O_CREAT, 0o600)
            for number in count():
                mount.pwrite(held, b"%d\n" % number, 0)
                name = b"/" + WRITTEN + b"/%d" % chance.randrange(40)
                fd = mount.open(name, os.O_RDWR | os.O_CREAT, 0o600)
                mount.pwrite(fd, os.urandom(chance.randrange(1, 9000)), chance.randrange(9000))
                mount.close(fd)
                if chance.random() < 0.3:
                    mount.rename(name, b"/" + WRITTEN + b"/%d" % chance.randrange(40))
                if number == 0:
                    sys.stdout.write("at work\n")
                    sys.stdout.flush()
                time.sleep(0.02)
    except OSError as error:
        sys.stdout.write(f"{errno.errorcode[error.errno or 0]}\n")


if __name__ == "__main__":
    _write(sys.argv[1])
