"""Names that libcephfs cannot make, made by the engine through a kernel: our program runs in the guest, beside the
guest's mount, with `--kernel-mount`."""

from mgr_fscrypt.format import AUTH_XATTR, Context, Names
from qa.load.doors import EngineDoor
from qa.load.tree import Found, Path_, walk

from .guest_door import GuestDoor
from .place import KINDS, MOUNTED, Place
from .reading import LONGEST, compare_guest
from .tally import Tally
from .trees import Builder, build_names, data_of

SUBTREE, SPOILT = "/long-names", "/spoilt"
_LOCAL = "/tmp/tree"  # noqa: S108 - a tmpfs of the guest's own
_OTHER = "/tmp/other"  # noqa: S108 - as above
_LINK, _SECOND = b"l" * 240, b"h" * 250


def give(place: Place, tally: Tally) -> None:
    """The engine puts a tree of the guest's own into a subtree of engine mode, twice: names are made, then replaced.
    Both sides list it; it is released, and the kernel reads it. The guest's mount is gone before and after."""
    tally.begin("the engine gives long names through a kernel")
    place.create(SUBTREE, KINDS[0])
    made = _tree(place)
    expected = {(b"tree",): Found(made[(b"names",)].kind, permissions=0o755)}
    expected |= {(b"tree", *path): one for path, one in made.items()}
    tally.compare("long names", sum(len(path[-1]) > KINDS[0].longest for path in made) > 10, True)
    place.mount()
    tally.compare("exit code of `cephfs-fscrypt unlock`", place.unlock()[0], 0)
    tally.compare("exit code of `put` without a kernel", _put(place)[0], 3)
    tally.compare("`put`", _put(place, "--kernel-mount", MOUNTED), (0, ""))
    _compare_listings(place, tally, expected)
    tally.compare("`put --replace`", _put(place, "--kernel-mount", MOUNTED, "--replace"), (0, ""))
    _compare_listings(place, tally, expected)
    place.unmount()
    tally.compare("findings of fsck", place.fsck(SUBTREE), {})
    place.change("release", SUBTREE)
    place.mount()
    tally.compare("exit code of `cephfs-fscrypt unlock`", place.unlock()[0], 0)
    compare_guest(place, tally, SUBTREE, expected)
    _hold_fact(place, tally)
    place.unmount()


def _hold_fact(place: Place, tally: Tally) -> None:
    """What libcephfs makes in a directory with a long name has that name's ciphertext beside, on 20.2 (doc/facts.md
    F8a): so the engine makes nothing there by itself."""
    place.guest.ask("encrypt", MOUNTED + SPOILT, KINDS[0].policy(place.key).encode())
    place.door(SPOILT).mkdir(_SECOND)
    with place.stored() as mount:
        names = Names(place.key, Context.decode_auth(mount.getxattr(SPOILT.encode(), AUTH_XATTR)))
        dentry = names.encode(_SECOND)
        directory = SPOILT.encode() + b"/" + dentry.dname
        mount.mkdir(directory + b"/made", 0o755)
        mount.sync()
        place.cluster.ceph("tell", "mds.*", "flush", "journal")
        spoils = place.cluster.ceph("--version").split()[2].startswith("20.")
        expected = {b"made": dentry.alternate_name} if spoils else {}
        tally.compare("what libcephfs stores beside a name", mount.alternate_names(directory), expected)


def _tree(place: Place) -> dict[Path_, Found]:
    place.guest.ask("of_door", "/", "mkdir", _LOCAL.encode())
    builder = Builder(GuestDoor(place.guest, _LOCAL))
    build_names(builder, range(KINDS[0].longest - 1, LONGEST + 1, 9))
    builder.symlink(b"target", _LINK)
    builder.file((b"one",), lambda file: file.pwrite(data_of("one", 5000), 0))
    builder.link((b"one",), (_SECOND,))
    return builder.made


def _put(place: Place, *options: str) -> tuple[int, str]:
    conf = str(place.cluster.directory / "ceph.conf")
    # all of it is emulated
    words = ("put", "--quiet", "--conf", conf, "--timeout", "60", "--key", "-", *options, _LOCAL, SUBTREE)
    return place.program(*words, stdin=place.key_file.read_bytes())


def _compare_listings(place: Place, tally: Tally, expected: dict[Path_, Found]) -> None:
    """By an engine that has no kernel, with what is in all of it; and by a kernel that did not make them."""
    with place.engine() as files:
        tally.compare_trees(SUBTREE, dict(walk(EngineDoor(files, SUBTREE.encode()))), expected)
    place.mount(_OTHER, apart=True)
    tally.compare("exit code of `cephfs-fscrypt unlock`", place.unlock(_OTHER)[0], 0)
    door = GuestDoor(place.guest, _OTHER + SUBTREE)
    for directory in ((), *(path for path, one in expected.items() if one.kind.value == "directory")):
        names = sorted(path[-1] for path in expected if path[:-1] == directory)
        tally.compare(f"names in {directory}", sorted(door.names(b"/".join(directory))), names)
    place.unmount(_OTHER)
