"""Where the trees of one migration lie, and which inode lies where: that alone tells what has been done."""

import errno

from ..ceph.errors import NotFoundError
from ..ceph.interface import Mount
from ..engine import DamagedError
from ..engine.paths import components, joined
from .record import Record, hidden_of


class Places:
    """The paths of one migration (`migration`).

    Attributes:
        path: of the source, and of the new tree after the cut-over.
        hidden: the directory beside it.
        work: with the new tree (`new`) and the anchors until the cut-over.
        old: the trash.
        shards: what is offered to those who copy elsewhere (`offers`).
        manifest: what the new tree was when it was verified.
        gone: with what is being removed; `going` is the new tree in it.
    """

    def __init__(self, mount: Mount, path: bytes) -> None:
        self._mount = mount
        self.path = b"/" + b"/".join(components(path))
        self.hidden = hidden_of(self.path)
        self.work = joined(self.hidden, b"work")
        self.new = joined(self.work, b"tree")
        self.anchors = joined(self.work, b"anchors")
        self.old = joined(self.hidden, b"old")
        self.shards = joined(self.hidden, b"shards")
        self.manifest = joined(self.hidden, b"manifest")
        self.gone = joined(self.hidden, b"gone")
        self.going = joined(self.gone, b"tree")

    def number(self, path: bytes) -> int:
        """The inode that lies there; 0 for nothing."""
        try:
            return self._mount.identify(path).ino
        except NotFoundError:
            return 0

    @property
    def trees(self) -> tuple[int, int, int]:
        """The numbers of what lies at the path, in the trash, and in the place of the new tree; 0 for nothing."""
        return self.number(self.path), self.number(self.old), self.number(self.new)

    def require(self, record: Record, *trees: int) -> None:
        """Raises `DamagedError`: the trees are others."""
        if self.trees != trees:
            raise self.elsewhere(record)

    def require_source(self, record: Record) -> None:
        """The source is at its path, by its number: that alone says that what lies elsewhere is not it.

        Raises:
            DamagedError: it is not, or something is in the trash.
        """
        at, old, _ = self.trees
        if (at, old) != (record.source, 0):
            raise self.elsewhere(record)

    def elsewhere(self, record: Record) -> DamagedError:
        """What is to be raised where the trees are not as they were left."""
        return DamagedError(
            errno.EUCLEAN,
            f"while it was {record.state.value}, somebody else made, moved or removed something: the old tree is inode "
            f"{record.source:x}, the new one {record.new:x}, and they are not at the path and in "
            f"{self.hidden.decode(errors='replace')} as they were left",
            self.path,
            remedy="Move what was put in their way aside, or bring them back, and run the same again.",
        )
