"""Beginning a migration: the record, and a new tree with nothing in it that lies and is encrypted as it is to be."""

import errno
from collections.abc import Callable
from dataclasses import replace

from ..ceph.interface import Mount
from ..engine import FileSystem, RefusedError
from ..engine.prospects import NAMESPACE_XATTR
from .clearing import remove_half_made
from .layouts import layout_for_copy
from .places import Places
from .plan import PADDING, Way, without_tree
from .record import Direction, Journal, Record
from .settling import path_of_all
from .trees import PlainTree, existing


class Preparing:
    """For the holder of the turn. `go_on` is called before each entry that is looked at."""

    def __init__(
        self, mount: Mount, files: FileSystem, places: Places, journal: Journal, go_on: Callable[[], None]
    ) -> None:
        self._mount = mount
        self._files = files
        self._places = places
        self._journal = journal
        self._go_on = go_on

    def begun(self, way: Way, plan: str) -> Record:
        """A new migration in the hidden directory, which is empty.

        Raises:
            RefusedError: ENOTEMPTY: it is not.
        """
        hidden, path = self._places.hidden, self._places.path
        left = next(PlainTree(self._mount).scandir(hidden), None)
        if left is not None:
            raise RefusedError(
                errno.ENOTEMPTY,
                f"something lies in {hidden.decode(errors='replace')} that is of no migration",
                path,
                remedy="Look at it, and move it away.",
            )
        self._mount.chmod(hidden, 0o700)
        record = Record(
            cluster=self._mount.identity(),
            path=path_of_all(self._mount, path),
            direction=way.direction,
            source=self._mount.stat(path).ino,
            key=way.key.hex(),
            plan=without_tree(plan),
        )
        return self._journal.write(record)

    def prepared(self, record: Record, way: Way, namespace: str | None) -> Record:
        """The new tree is there, empty or as it was left, with nothing half made in it.

        Raises:
            RefusedError: EEXIST: it was begun in another namespace.
        """
        places, plain = self._places, PlainTree(self._mount)
        encrypts = record.direction is not Direction.DECRYPT
        if existing(plain, places.work) is None:
            self._mount.mkdir(places.work, 0o700)
        elif encrypts:
            remove_half_made(self._mount, places.work, self._go_on)
        asked = namespace if namespace is not None else record.namespace
        for path, like in ((places.new, places.path), (places.anchors, places.new)):
            if existing(plain, path) is None:
                self._mount.mkdir(path, 0o700)
            if not encrypts:
                self._lay_out(path, like, asked, encrypts=encrypts)
            elif self._files.subtree(path).policy is None:
                self._lay_out(path, like, asked, encrypts=encrypts)
                self._files.create_subtree(path, way.key, padding=PADDING)
        if namespace is not None and self._mount.layout(places.new).namespace != namespace:
            raise RefusedError(
                errno.EEXIST,
                "the new tree was begun in another namespace",
                places.path,
                remedy="Go on without --namespace, or begin anew after `migrate cancel`.",
            )
        self._mount.sync()
        made = replace(
            record,
            new=self._mount.stat(places.new).ino,
            anchors=self._mount.stat(places.anchors).ino,
            namespace=asked,
        )
        return record if record == made else self._journal.write(made)

    def _lay_out(self, path: bytes, like: bytes, namespace: str, *, encrypts: bool) -> None:
        """Where the files of a tree will lie: said before it has a policy, for nobody can change it afterwards
        (doc/facts.md F13), and on its own top, which will lie elsewhere."""
        namespace = namespace or self._mount.layout(like).namespace
        given = layout_for_copy(PlainTree(self._mount), like, namespace, encrypts=encrypts)
        if not given and namespace:
            given = [(NAMESPACE_XATTR, namespace.encode())]
        for name, value in given:
            self._mount.setxattr(path, name, value)
