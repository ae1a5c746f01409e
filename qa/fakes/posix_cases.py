"""Attributes, ACLs, special files, locks, room: what POSIX has beside names and contents, on the fake and for real.

A module that runs them has the fixtures `mount` and `plain`, as for `EngineCases`.
"""

import errno
import fcntl
import os
import stat
import threading
import time

import pytest

from mgr_fscrypt.ceph.errors import ExistsError, NoAttributeError, WouldBlockError
from mgr_fscrypt.ceph.interface import Kind, Mount, RangeLock
from mgr_fscrypt.engine import DamagedError, FileMode, FileSystem, Keyring, LockedError, RefusedError
from mgr_fscrypt.engine.acls import ACCESS_ACL, DEFAULT_ACL
from mgr_fscrypt.engine.open_inodes import FILE_CAPABILITIES
from mgr_fscrypt.engine.subtrees import MODE_XATTR
from mgr_fscrypt.format import AUTH_XATTR, ENGINE_XATTR, FILE_XATTR

from .acls import GROUP, MASK, NAMED_GROUP, OTHERS, OWNER, USER, encode
from .engine_cases import CasesInATree, Tree, refused, remove

ACL = encode((OWNER, 7), (USER, 6, 1000), (GROUP, 5), (NAMED_GROUP, 4, 2000), (MASK, 7), (OTHERS, 1))
ACLS = {
    "named entries": ACL,
    "no entries for others": encode((OWNER, 7), (GROUP, 5), (OTHERS, 0)),
    "owner cannot write": encode((OWNER, 5), (USER, 7, 1000), (GROUP, 5), (MASK, 7), (OTHERS, 4)),
}
SPECIAL = {
    "FIFO": (stat.S_IFIFO, 0),
    "socket": (stat.S_IFSOCK, 0),
    "character device": (stat.S_IFCHR, os.makedev(1, 3)),
    "block device": (stat.S_IFBLK, os.makedev(259, 70000)),
}


class PosixCases(CasesInATree):
    """The cases."""

    # extended attributes

    def test_attributes_are_the_users_own(self, tree: Tree) -> None:
        path = tree.make(b"f", b"data")
        for name in ("user.comment", "trusted.theirs", "security.theirs"):
            tree.fs.setxattr(path, name, b"\0any bytes\xff")
            assert tree.fs.getxattr(path, name) == b"\0any bytes\xff"
            assert tree.plain.getxattr(tree.stored(b"f"), name) == b"\0any bytes\xff", "not encrypted"
        tree.fs.setxattr(path, "user.empty", b"")
        assert tree.fs.getxattr(path, "user.empty") == b""
        assert sorted(tree.fs.listxattr(path)) == [
            "security.theirs",
            "trusted.theirs",
            "user.comment",
            "user.empty",
        ]
        tree.fs.removexattr(path, "user.comment")
        with pytest.raises(NoAttributeError):
            tree.fs.getxattr(path, "user.comment")
        with pytest.raises(NoAttributeError):
            tree.fs.removexattr(path, "user.comment")
        assert tree.read(path) == b"data"

    def test_the_flags_of_setting(self, tree: Tree) -> None:
        path = tree.make(b"f")
        with pytest.raises(NoAttributeError):
            tree.fs.setxattr(path, "user.a", b"1", os.XATTR_REPLACE)
        tree.fs.setxattr(path, "user.a", b"1", os.XATTR_CREATE)
        with pytest.raises(ExistsError):
            tree.fs.setxattr(path, "user.a", b"2", os.XATTR_CREATE)
        assert tree.fs.getxattr(path, "user.a") == b"1"
        tree.fs.setxattr(path, "user.a", b"3", os.XATTR_REPLACE)
        assert tree.fs.getxattr(path, "user.a") == b"3"

    @pytest.mark.parametrize("size", [4095, 4096, 4097, 60_000])
    def test_large_values_and_many_names(self, tree: Tree, size: int) -> None:
        path = tree.make(b"f")
        tree.fs.setxattr(path, "user.large", b"x" * size)
        assert tree.fs.getxattr(path, "user.large") == b"x" * size
        names = [f"user.{'n' * 100}{number:02}" for number in range(size // 1500)]
        for name in names:
            tree.fs.setxattr(path, name, b"")
        assert sorted(tree.fs.listxattr(path)) == sorted(["user.large", *names])

    @pytest.mark.parametrize("kind", ["file", "directory", "link", "subtree"])
    def test_what_holds_the_encryption_is_hidden_and_stays(self, tree: Tree, kind: str) -> None:
        path = {"subtree": tree.path, "file": tree.make(b"f", b"data")}.get(kind, tree.path + b"/x")
        if kind == "directory":
            tree.fs.mkdir(path)
        elif kind == "link":
            tree.fs.symlink(b"target", path)
            tree.mount.sync()
        stored = path if kind == "subtree" else tree.stored(path.rpartition(b"/")[2])
        before = {name: tree.plain.getxattr(stored, name) for name in tree.plain.listxattr(stored)}
        assert tree.fs.listxattr(path) == []
        for name in (ENGINE_XATTR, MODE_XATTR, AUTH_XATTR, FILE_XATTR, "trusted.fscrypt.new"):
            with refused(errno.EPERM):
                tree.fs.setxattr(path, name, b"x")
            with refused(errno.EPERM):
                tree.fs.removexattr(path, name)
        for name in (ENGINE_XATTR, MODE_XATTR, FILE_XATTR):
            with pytest.raises(NoAttributeError):
                tree.fs.getxattr(path, name)
        # as the kernel shows it, in both modes
        context = tree.record(b"f").context if kind == "file" else tree.auth(stored)
        assert tree.fs.getxattr(path, AUTH_XATTR) == context.encode_auth()
        assert {name: tree.plain.getxattr(stored, name) for name in tree.plain.listxattr(stored)} == before

    def test_no_key_is_needed(self, tree: Tree) -> None:
        path = tree.make(b"f")
        (entry,) = tree.locked.scandir(tree.path)
        seen = tree.path + b"/" + entry.name
        tree.locked.setxattr(seen, "user.a", b"1")
        assert tree.locked.listxattr(seen) == ["user.a"]
        assert tree.fs.getxattr(path, "user.a") == b"1"
        assert tree.locked.getxattr(seen, AUTH_XATTR) == tree.fs.getxattr(path, AUTH_XATTR)
        tree.locked.removexattr(seen, "user.a")
        assert tree.fs.listxattr(path) == []

    def test_outside_of_subtrees_ours_are_protected_too(self, tree: Tree) -> None:
        tree.mount.mkdir(tree.path + b".plain", 0o755)
        try:
            tree.fs.setxattr(tree.path + b".plain", "user.a", b"1")
            assert tree.fs.listxattr(tree.path + b".plain") == ["user.a"]
            with pytest.raises(NoAttributeError):
                tree.fs.getxattr(tree.path + b".plain", AUTH_XATTR)
            with refused(errno.EPERM):
                tree.fs.setxattr(tree.path + b".plain", MODE_XATTR, b"kernel")
            assert tree.fs.listxattr(b"/") == []
        finally:
            tree.mount.rmdir(tree.path + b".plain")

    def test_only_files_and_directories_have_user_attributes(self, tree: Tree) -> None:
        tree.fs.symlink(b"target", tree.path + b"/link")
        tree.fs.mknod(tree.path + b"/fifo", stat.S_IFIFO | 0o600)
        for name in (b"/link", b"/fifo"):
            with refused(errno.EPERM):
                tree.fs.setxattr(tree.path + name, "user.a", b"1")
            tree.fs.setxattr(tree.path + name, "trusted.a", b"1")
            assert tree.fs.listxattr(tree.path + name) == ["trusted.a"]

    def test_the_layout_of_a_file_stays(self, tree: Tree) -> None:
        path = tree.make(b"f")
        with refused(errno.EINVAL):
            tree.fs.setxattr(path, "ceph.file.layout.stripe_count", b"2")

    def test_half_made_things_have_no_attributes(self, tree: Tree) -> None:
        stored = tree.stored(b"half")
        tree.plain.close(tree.plain.open(stored, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o200))
        path = tree.path + b"/half"
        for act in (
            lambda: tree.fs.listxattr(path),
            lambda: tree.fs.getxattr(path, "user.a"),
            lambda: tree.fs.setxattr(path, "user.a", b"1"),
            lambda: tree.fs.removexattr(path, "user.a"),
        ):
            with pytest.raises(DamagedError):
                act()
        assert tree.plain.listxattr(stored) == []

    def test_what_is_being_made_here_is_published_for_it(self, tree: Tree) -> None:
        with tree.fs.create(tree.path + b"/f", 0o640) as file:
            file.pwrite(b"data", 0)
            tree.fs.setxattr(tree.path + b"/f", "user.a", b"1")
            assert tree.plain.stat(tree.stored(b"f")).mode == stat.S_IFREG | 0o640
        assert tree.fs.getxattr(tree.path + b"/f", "user.a") == b"1"

    def test_a_program_that_is_changed_has_no_rights_of_its_own_any_more(self, tree: Tree) -> None:
        rights = b"\x01\x00\x00\x02\x00\x04" + bytes(14)
        path = tree.make(b"f", b"program")
        changes = (
            lambda file: file.pwrite(b"x", 0),
            lambda file: file.truncate(5),
            lambda file: file.fallocate(0x11, 0, 1),
        )
        for change in changes:
            tree.fs.setxattr(path, FILE_CAPABILITIES, rights)
            with tree.fs.open(path, os.O_RDWR) as file:
                assert tree.fs.getxattr(path, FILE_CAPABILITIES) == rights
                change(file)
            with pytest.raises(NoAttributeError):
                tree.fs.getxattr(path, FILE_CAPABILITIES)
        tree.fs.setxattr(path, FILE_CAPABILITIES, rights)
        tree.fs.open(path, os.O_RDWR | os.O_TRUNC).close()
        assert tree.fs.listxattr(path) == []

    # ACLs

    def test_an_acl_is_kept_and_goes_with_the_mode(self, tree: Tree) -> None:
        path = tree.make(b"f", b"data", 0o600)
        tree.fs.setxattr(path, ACCESS_ACL, ACL)
        assert tree.fs.getxattr(path, ACCESS_ACL) == ACL
        assert tree.fs.listxattr(path) == [ACCESS_ACL]
        assert tree.fs.stat(path).permissions == 0o771
        tree.fs.chmod(path, 0o640)
        assert tree.fs.getxattr(path, ACCESS_ACL) == encode(
            (OWNER, 6), (USER, 6, 1000), (GROUP, 5), (NAMED_GROUP, 4, 2000), (MASK, 4), (OTHERS, 0)
        )
        tree.fs.setxattr(path, ACCESS_ACL, encode((OWNER, 6), (GROUP, 4), (OTHERS, 4)))
        assert tree.fs.stat(path).permissions == 0o644
        with pytest.raises(NoAttributeError):
            tree.fs.getxattr(path, ACCESS_ACL)
        with refused(errno.EACCES):
            tree.fs.setxattr(path, DEFAULT_ACL, ACL)
        assert tree.read(path) == b"data"

    @pytest.mark.parametrize(
        "junk", [b"", b"junk", ACL[:-1], encode((OWNER, 7)), encode((OWNER, 2), (GROUP, 0), (OTHERS, 0))]
    )
    def test_an_acl_that_is_none_or_marks_what_is_half_made(self, tree: Tree, junk: bytes) -> None:
        path = tree.make(b"f", b"data", 0o644)
        with refused(errno.EINVAL):
            tree.fs.setxattr(path, ACCESS_ACL, junk)
        assert tree.fs.stat(path).permissions == 0o644

    @pytest.mark.parametrize("acl", ACLS.values(), ids=ACLS)
    def test_children_get_what_a_plain_create_gives_them(self, tree: Tree, mount: Mount, acl: bytes) -> None:
        ours, theirs = tree.path + b"/ours", tree.path + b".plain"
        tree.fs.mkdir(ours)
        mount.mkdir(theirs, 0o755)
        try:
            tree.fs.setxattr(ours, DEFAULT_ACL, acl)
            tree.plain.setxattr(theirs, DEFAULT_ACL, acl)
            for mode in (0o644, 0o600, 0o755, 0o666, 0o777, 0o640, 0o400):
                name = b"%o" % mode
                tree.fs.create(ours + b"/f" + name, mode).close()
                tree.fs.mkdir(ours + b"/d" + name, mode)
                tree.fs.mknod(ours + b"/p" + name, mode | stat.S_IFIFO)
                fd = tree.plain.open(theirs + b"/f" + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
                tree.plain.close(fd)
                tree.plain.mkdir(theirs + b"/d" + name, mode)
                tree.plain.mknod(theirs + b"/p" + name, mode | stat.S_IFIFO, 0)
                for kind in (b"f", b"d", b"p"):
                    stored = tree.stored(b"ours", kind + name)
                    expected = _rights(tree.plain, theirs + b"/" + kind + name)
                    assert _rights(tree.plain, stored) == expected, f"{kind.decode()} {mode:o}"
            tree.fs.symlink(b"target", ours + b"/l")
            assert tree.fs.listxattr(ours + b"/l") == []
        finally:
            remove(mount, theirs)

    def test_a_default_acl_cannot_hide_the_mark(self, tree: Tree) -> None:
        top = tree.path + b"/d"
        tree.fs.mkdir(top)
        tree.fs.setxattr(top, DEFAULT_ACL, ACLS["owner cannot write"])
        with tree.fs.create(top + b"/f", 0o644) as file:
            file.pwrite(b"data", 0)
            assert tree.plain.stat(tree.stored(b"d", b"f")).mode & 0o7777 == 0o200
        assert tree.read(top + b"/f") == b"data"
        assert tree.fs.stat(top + b"/f").permissions == 0o444
        tree.fs.setxattr(top, DEFAULT_ACL, encode((OWNER, 2), (GROUP, 0), (OTHERS, 0)))
        for act in (lambda: tree.fs.create(top + b"/g", 0o644), lambda: tree.fs.mkdir(top + b"/g", 0o644)):
            with refused(errno.EINVAL):
                act()
        assert not tree.fs.exists(top + b"/g")

    # special files

    @pytest.mark.parametrize(("bits", "device"), SPECIAL.values(), ids=SPECIAL)
    def test_special_files(self, tree: Tree, bits: int, device: int) -> None:
        path = tree.path + b"/special"
        tree.fs.mknod(path, bits | 0o640, device)
        found = tree.fs.stat(path)
        assert (found.kind, found.kind_bits, found.permissions) == (Kind.SPECIAL, bits, 0o640)
        assert (found.rdev, found.size, found.encrypted) == (device, 0, False)
        stored = tree.stored(b"special")
        for name in (AUTH_XATTR, ENGINE_XATTR, FILE_XATTR):
            with pytest.raises(NoAttributeError):
                tree.plain.getxattr(stored, name)
        with refused(errno.EEXIST):
            tree.fs.mknod(path, bits | 0o640, device)
        with refused(errno.EINVAL):
            tree.fs.open(path)
        tree.fs.chmod(path, 0o600)
        tree.fs.chown(path, 7, 8)
        tree.fs.link(path, tree.path + b"/second")
        tree.fs.rename(path, tree.path + b"/third")
        found = tree.fs.stat(tree.path + b"/third")
        assert (found.permissions, found.uid, found.nlink, found.kind_bits) == (0o600, 7, 2, bits)
        with pytest.raises(LockedError):
            tree.locked.mknod(tree.path + b"/other", bits | 0o640, device)
        for entry in list(tree.locked.scandir(tree.path)):
            assert entry.kind is Kind.SPECIAL
            tree.locked.unlink(tree.path + b"/" + entry.name)

    @pytest.mark.parametrize("bits", [0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK])
    def test_mknod_makes_nothing_else(self, tree: Tree, bits: int) -> None:
        with refused(errno.EINVAL):
            tree.fs.mknod(tree.path + b"/x", bits | 0o640)
        assert not tree.fs.exists(tree.path + b"/x")

    # room

    def test_how_much_room_there_is(self, tree: Tree) -> None:
        path = tree.make(b"f")
        found = tree.fs.statfs(path)
        assert 0 < found.available <= found.blocks
        assert found.block_size > 0
        assert found.longest_name == 128
        assert tree.fs.statfs(b"/").longest_name == tree.locked.statfs(tree.path).longest_name == 255
        tree.make(b"n" * 128)
        with refused(errno.ENAMETOOLONG):
            tree.fs.create(tree.path + b"/" + b"n" * 129)

    # locks

    def test_a_lock_excludes_other_handles_here_and_elsewhere(self, tree: Tree) -> None:
        path = tree.make(b"f", b"data")
        with _elsewhere(tree) as other, tree.fs.open(path) as one, tree.fs.open(path) as two:
            with other.open(path) as three:
                one.flock(fcntl.LOCK_EX)
                for file in (two, three):
                    with pytest.raises(WouldBlockError):
                        file.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
                    with pytest.raises(WouldBlockError):
                        file.flock(fcntl.LOCK_EX, timeout=0.05)
                one.flock(fcntl.LOCK_SH)
                two.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
                three.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
                with pytest.raises(WouldBlockError):
                    one.flock(fcntl.LOCK_EX | fcntl.LOCK_NB)
                three.flock(fcntl.LOCK_UN)
                two.close()
                one.flock(fcntl.LOCK_EX | fcntl.LOCK_NB)
            with other.open(path) as three:
                one.close()
                three.flock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_a_lock_outlives_the_opening_of_others_for_writing(self, tree: Tree) -> None:
        path = tree.make(b"f", b"data")
        with _elsewhere(tree) as other, tree.fs.open(path) as reader, other.open(path) as rival:
            reader.flock(fcntl.LOCK_EX)
            with tree.fs.open(path, os.O_RDWR) as writer:
                writer.pwrite(b"DATA", 0)
                with pytest.raises(WouldBlockError):
                    rival.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
            with pytest.raises(WouldBlockError):
                rival.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
            reader.flock(fcntl.LOCK_UN)
            rival.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)

    def test_whoever_waits_gets_the_lock_and_sees_what_was_written(self, tree: Tree) -> None:
        path = tree.make(b"f", b"data")
        seen: list[bytes] = []

        def wait(file_system: FileSystem) -> None:
            with file_system.open(path) as file:
                file.flock(fcntl.LOCK_SH, timeout=30)
                seen.append(file.pread(100, 0))

        with _elsewhere(tree) as other, tree.fs.open(path, os.O_RDWR) as file:
            file.flock(fcntl.LOCK_EX)
            waiting = threading.Thread(target=wait, args=(other,))
            waiting.start()
            file.pwrite(b" and more", 4)
            time.sleep(0.1)
            assert waiting.is_alive()
            file.flock(fcntl.LOCK_UN)
            waiting.join()
        assert seen == [b"data and more"]

    def test_ranges_are_locked_against_other_owners_here_and_elsewhere(self, tree: Tree) -> None:
        path = tree.make(b"f", b"data" * 100)
        with _elsewhere(tree) as other, tree.fs.open(path, os.O_RDWR) as file, other.open(path) as far:
            file.lock_range(RangeLock(fcntl.F_WRLCK, 0, 10, 77), 1)
            file.lock_range(RangeLock(fcntl.F_RDLCK, 20, 10), 1)
            for rival, owner in ((file, 2), (far, 1)):
                for taken in (RangeLock(fcntl.F_RDLCK, 9, 1), RangeLock(fcntl.F_WRLCK, 29, 0)):
                    with pytest.raises(WouldBlockError):
                        rival.lock_range(taken, owner)
                rival.lock_range(RangeLock(fcntl.F_RDLCK, 25, 0), owner)
                rival.lock_range(RangeLock(fcntl.F_WRLCK, 10, 10), owner)
                rival.lock_range(RangeLock(fcntl.F_UNLCK, 0, 0), owner)
                assert rival.range_blocker(RangeLock(fcntl.F_WRLCK, 5, 1), owner) == RangeLock(
                    fcntl.F_WRLCK, 0, 10, 77
                )
                assert rival.range_blocker(RangeLock(fcntl.F_WRLCK, 10, 10), owner) is None
            # a part of it is given back, and what was written is seen then
            file.pwrite(b"DATA and more", 398)
            file.lock_range(RangeLock(fcntl.F_UNLCK, 4, 0), 1)
            far.lock_range(RangeLock(fcntl.F_WRLCK, 4, 0), 1)
            assert far.pread(100, 398) == b"DATA and more"
            with pytest.raises(WouldBlockError):
                far.lock_range(RangeLock(fcntl.F_WRLCK, 3, 1), 1)
            # the last handle here gives back what is left
            file.close()
            far.lock_range(RangeLock(fcntl.F_WRLCK, 0, 0), 1, timeout=10)

    def test_nothing_is_asked_of_ceph_for_files_without_locks(self, tree: Tree) -> None:
        path = tree.make(b"f", b"data")
        with tree.fs.open(path) as file:
            file.lock_range(RangeLock(fcntl.F_UNLCK, 0, 0), 1)
            assert file.range_blocker(RangeLock(fcntl.F_WRLCK, 0, 0), 1) is None

    def test_locks_in_kernel_mode(self, tree: Tree, mount: Mount) -> None:
        top = tree.path + b".k"
        mount.mkdir(top, 0o755)
        try:
            tree.fs.create_subtree(top, tree.key.identifier, mode=FileMode.KERNEL)
            tree.fs.create(top + b"/f").close()
            with tree.fs.open(top + b"/f") as one, tree.fs.open(top + b"/f") as two:
                one.flock(fcntl.LOCK_EX)
                with pytest.raises(WouldBlockError):
                    two.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            remove(mount, top)

    # handles

    def test_a_handle_is_of_its_file_whatever_has_the_name(self, tree: Tree) -> None:
        path = tree.make(b"f", b"data")
        other = tree.make(b"g", b"")
        with tree.fs.open(path, os.O_RDWR) as file:
            with _elsewhere(tree) as elsewhere:
                elsewhere.rename(path, tree.path + b"/moved")
                elsewhere.rename(other, path)
            file.chmod(0o604)
            file.chown(7, -1)
            file.utimens(1e9, 2e9)
            found = file.attributes
        moved = tree.fs.stat(tree.path + b"/moved")
        for each in (found, moved):
            assert (each.permissions, each.uid, each.gid, each.size) == (0o604, 7, 0, 4)
            assert (each.atime, each.mtime, each.file_mode) == (1e9, 2e9, FileMode.ENGINE)
        assert tree.fs.stat(path).permissions == 0o644
        assert found.ino == moved.ino

    def test_a_handle_of_what_is_being_made(self, tree: Tree) -> None:
        with tree.fs.create(tree.path + b"/f", 0o644) as file:
            with pytest.raises(RefusedError):
                file.chmod(0o200)
            file.chmod(0o600)
            assert file.attributes.permissions == 0o600
            assert tree.plain.stat(tree.stored(b"f")).mode & 0o7777 == 0o200
        assert tree.fs.stat(tree.path + b"/f").permissions == 0o600


def _elsewhere(tree: Tree) -> FileSystem:
    """Another client with the key."""
    keyring = Keyring()
    keyring.add(tree.key)
    return FileSystem(tree.plain, keyring, durable_close=True)


def _rights(mount: Mount, path: bytes) -> tuple[int, dict[str, bytes]]:
    """Permissions and ACLs."""
    acls = [name for name in mount.listxattr(path) if name.startswith("system.")]
    return mount.stat(path).mode, {name: mount.getxattr(path, name) for name in acls}
