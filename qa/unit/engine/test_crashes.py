"""A client that dies before each of its changes, whatever it takes with it: what the next one finds."""

import contextlib

import pytest

from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.fakes.ceph import DiedError, FakeCluster, FakeExtents, FakeMount, Loss
from qa.fakes.engine_cases import SECRET
from qa.load.crashes import Client, Do, Model, Operation, judged_content

TOP = b"/s"
KEY = MasterKey(SECRET)
OLD = b"".join(bytes([letter]) * 1000 for letter in b"abcdefghij")
NEW = bytes(range(1, 252)) * 50


def do(what: Do, name: bytes = b"f", **rest: object) -> Operation:
    return Operation(what, name, **rest)  # type: ignore[arg-type]


SYNC = do(Do.SYNC, b"")


def made(name: bytes, data: bytes) -> list[Operation]:
    # a new file is completed behind the back of whoever closes it: the sync keeps the order of all changes the same
    return [do(Do.CREATE, name), do(Do.WRITE, name, data=data), do(Do.CLOSE, name), SYNC]


def write(data: bytes, offset: int) -> list[Operation]:
    return [do(Do.OPEN), do(Do.WRITE, number=offset, data=data), do(Do.CLOSE)]


def truncate(*sizes: int) -> list[Operation]:
    return [do(Do.OPEN), *(do(Do.TRUNCATE, number=size) for size in sizes), do(Do.CLOSE)]


FILE = made(b"f", OLD)
# a hole of blocks 3 to 11, then data
SPARSE = [*FILE[:2], do(Do.WRITE, number=50000, data=NEW), do(Do.CLOSE), SYNC]
ACTS: dict[str, tuple[list[Operation], list[Operation]]] = {
    "create with contents": ([], made(b"f", NEW)),
    "create empty": ([], [do(Do.CREATE), do(Do.CLOSE), SYNC]),
    "create and close, without a sync": ([], made(b"f", NEW)[:3]),
    "create, fsync, then go on": (
        [],
        [*made(b"f", OLD)[:2], do(Do.FSYNC), do(Do.WRITE, number=9000, data=NEW), do(Do.CLOSE)],
    ),
    "create, truncate, write again": (
        [],
        [
            *made(b"f", OLD)[:2],
            do(Do.TRUNCATE, number=5000),
            do(Do.WRITE, number=9000, data=NEW),
            do(Do.CLOSE),
            SYNC,
        ],
    ),
    "write inside a block": (FILE, write(b"X" * 100, 5000)),
    "write inside, over blocks": (FILE, write(NEW[:6000], 3000)),
    "write up to the end": (FILE, write(NEW[:2000], 8000)),
    "grow within the last block": (FILE, write(NEW[:500], 10000)),
    "grow over blocks": (FILE, write(NEW[:9000], 5000)),
    "grow over a gap": (FILE, write(b"b", 50000)),
    "append twice": (
        FILE,
        [
            do(Do.OPEN),
            do(Do.WRITE, number=10000, data=NEW[:700]),
            do(Do.FSYNC),
            do(Do.WRITE, number=10700, data=NEW[:7000]),
            do(Do.CLOSE),
        ],
    ),
    "write inside, fsync, and again": (
        FILE,
        [
            do(Do.OPEN),
            do(Do.WRITE, number=5000, data=b"X" * 100),
            do(Do.FSYNC),
            do(Do.WRITE, number=100, data=b"Y" * 100),
            do(Do.CLOSE),
        ],
    ),
    "write in a hole": (SPARSE, write(NEW[:6000], 20000)),
    "truncate up": (FILE, truncate(20001)),
    "truncate up within the block": (FILE, truncate(12000)),
    "truncate down": (FILE, truncate(4097)),
    "truncate to a boundary": (FILE, truncate(8192)),
    "truncate within the block": (FILE, truncate(9000)),
    "truncate to nothing": (FILE, truncate(0)),
    "truncate into a hole": (SPARSE, truncate(30001)),
    "truncate down and up": (FILE, truncate(5000, 12000)),
    "truncate down, fsync, and up": (
        FILE,
        [
            do(Do.OPEN),
            do(Do.TRUNCATE, number=5000),
            do(Do.FSYNC),
            do(Do.TRUNCATE, number=12000),
            do(Do.WRITE, number=6000, data=b"Y" * 10),
            do(Do.CLOSE),
        ],
    ),
    "punch over blocks": (FILE, [do(Do.OPEN), do(Do.PUNCH, number=3000, length=6000), do(Do.CLOSE)]),
    "punch up to the end": (FILE, [do(Do.OPEN), do(Do.PUNCH, number=4096, length=99999), do(Do.CLOSE)]),
    "punch, write in it, and punch again": (
        FILE,
        [
            do(Do.OPEN),
            do(Do.PUNCH, number=0, length=8192),
            do(Do.WRITE, number=4000, data=b"Y" * 200),
            do(Do.FSYNC),
            do(Do.PUNCH, number=4050, length=5),
            do(Do.WRITE, number=12000, data=b"Y"),
            do(Do.CLOSE),
        ],
    ),
    "replace": (FILE, [*made(b"f.new", NEW), do(Do.RENAME, b"f.new", other=b"f")]),
    "rename": (FILE, [do(Do.RENAME, other=b"g")]),
    "link and unlink": (FILE, [do(Do.LINK, other=b"g"), do(Do.UNLINK)]),
    "mkdir, and make in it": ([], [do(Do.MKDIR, b"d"), *made(b"d/f", NEW)]),
    "mkdir and rmdir": ([], [do(Do.MKDIR, b"d"), do(Do.RMDIR, b"d")]),
    "symlink": ([], [do(Do.SYMLINK, b"l", other=b"target"), do(Do.UNLINK, b"l")]),
    "chmod": (FILE, [do(Do.CHMOD, number=0o600)]),
}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody completes anything meanwhile here, or wants a lease: do not wait for it, and let nothing be done beside
    the operations, whose changes are counted."""
    monkeypatch.setattr("mgr_fscrypt.engine.open_inodes.QUANTUM", 3600)
    monkeypatch.setattr("mgr_fscrypt.engine.waiting._STEPS", (0,))
    monkeypatch.setattr("mgr_fscrypt.engine.inodes._PAUSES", (0,))


def opened(mount: FakeMount) -> FileSystem:
    keyring = Keyring()
    keyring.add(KEY)
    return FileSystem(mount, keyring)


def run(operations: list[Operation], model: Model, client: Client) -> None:
    for operation in operations:
        model.begin(operation)
        client.do(operation)
        model.end(operation)


def crashed(
    before: list[Operation], act: list[Operation], changes: int, loss: Loss, growth: Do
) -> tuple[str | None, bool]:
    """What is wrong after a death before the change of that number, or at the end of an act that has fewer; and
    whether it had fewer."""
    mount = FakeMount(FakeCluster())
    mount.mkdir(TOP, 0o755)
    model = Model()
    with opened(mount) as files:
        files.create_subtree(TOP, KEY.identifier)
        run(before, model, Client(files, TOP))
    dying = FakeMount(mount.cluster)
    dying.die_after(changes, loss)
    ended = False
    with contextlib.suppress(DiedError), opened(dying) as files:
        run(act, model, Client(files, TOP))
        ended = True
        dying.die_after(0, loss)
        dying.sync()
    assert dying.dead
    mount.cluster.leases.clear()
    objects = FakeExtents(mount.cluster)
    keyless = Client(FileSystem(FakeMount(mount.cluster), Keyring()), TOP)
    with opened(FakeMount(mount.cluster)) as files:
        heir = Client(files, TOP)
        wrong = keyless.check(0, objects)
        found = heir.look()
        wrong = wrong or model.judge(found)
        if growth is Do.TRUNCATE:
            wrong = wrong or heir.repair(found, 0, objects) or heir.grow_all(found, growth)
        else:
            wrong = wrong or heir.grow_all(found, growth) or heir.clear_away(found)
    if wrong is None:
        model.accept(found)
        with opened(FakeMount(mount.cluster)) as files:
            wrong = model.judge(Client(files, TOP).look())
    if mount.cluster.leases:
        wrong = "a lease is left"
    return wrong, ended


@pytest.mark.parametrize("growth", [Do.WRITE, Do.TRUNCATE], ids=lambda do: f"then a {do.value}")
@pytest.mark.parametrize("loss", Loss, ids=lambda loss: f"loses {loss.value}")
@pytest.mark.parametrize("name", ACTS)
def test_a_client_that_dies_at_any_change(name: str, loss: Loss, growth: Do) -> None:
    before, act = ACTS[name]
    for changes in range(100):
        wrong, ended = crashed(before, act, changes, loss, growth)
        assert wrong is None, f"before change {changes}: {wrong}"
        if ended:
            assert changes >= len({one.do for one in act} - {Do.OPEN, Do.CLOSE, Do.SYNC}), (
                "each act changes something"
            )
            return
    raise AssertionError("it never ends")


@pytest.mark.parametrize(
    ("content", "states", "fine"),
    [
        (b"a" * 5000, [b"a" * 5000], True),
        (b"a" * 4096 + b"b" * 904, [b"a" * 5000, b"b" * 5000], True),
        (b"a" * 4000 + b"b" * 1000, [b"a" * 5000, b"b" * 5000], False),
        (b"a" * 5000, [b"a" * 5000, b"a" * 6000], True),
        (b"a" * 5000 + bytes(1000), [b"a" * 5000, b"a" * 6000], False),
        (b"a" * 5500, [b"a" * 5000, b"a" * 6000], False),
        (b"", [b"a"], False),
    ],
)
def test_what_the_model_allows(content: bytes, states: list[bytes], fine: bool) -> None:
    assert (judged_content(content, states) is None) is fine
