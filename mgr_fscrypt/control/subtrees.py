"""The register of encrypted subtrees: what may be in it, and what it answers."""

import errno
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from ..messages import MessageError, SubtreeFacts
from ..store import ALL, OWN, Found, Order, Place, Subtree, Wanted
from .asked import normal_path
from .cluster import FileSystem, FileSystemMap, existing, names_of
from .filters import ORDERS, named_place, place, wanted
from .keys import KeyLine
from .nearest import COMPARED, hint
from .packed import PART, packed
from .paging import order_of, page_size
from .paths import parents
from .refusal import RefusalError
from .results import Result
from .subtree_detail import SubtreeDetail
from .text import is_unicode, one_line, shell_word
from .values import FileSystemCount, Overview, SubtreeLine, SubtreePage


class ListedSubtrees(Protocol):
    """Where subtrees are listed; `store.SubtreeTable` tells what it means."""

    def page(self, fscid: int | None, after: Place, limit: int) -> Found:
        """List in order."""
        ...


class SubtreeStore(Protocol):
    """Where the register is kept; `store.SubtreeTable` tells what each call means."""

    def put(self, subtree: Subtree) -> None:
        """Record a subtree."""
        ...

    def remove(self, fscid: int, path: str) -> None:
        """Drop a record."""
        ...

    def at(self, fscid: int, path: str) -> Subtree | None:
        """Find by path."""
        ...

    def with_inode(self, fscid: int, inode: int) -> Subtree | None:
        """Find by inode number."""
        ...

    def first_below(self, fscid: int, path: str) -> Subtree | None:
        """Find some subtree below a path."""
        ...

    def page(
        self, fscid: int | None, after: Place, limit: int, wanted: Wanted = ALL, order: Order = OWN
    ) -> Found:
        """List in order."""
        ...

    def counts(self) -> Mapping[tuple[int, str], int]:
        """Count by file system and mode."""
        ...

    def name_last_seen(self, fs_name: str) -> int | None:
        """Find a file system that had a name."""
        ...


class Subtrees:
    """What the commands about subtrees do.

    The register is an index of what is on the inodes. It believes the reports that it gets, because whoever
    may send one may also write the file system's caps; a later scan checks them.

    Args:
        store: where it is kept.
        cluster: the file systems that there are.
        clock: seconds since the epoch.
        key: what is known of a key of a file system.
    """

    def __init__(
        self,
        *,
        store: SubtreeStore,
        cluster: FileSystemMap,
        clock: Callable[[], float],
        key: Callable[[int, str], KeyLine | None] = lambda _fscid, _identifier: None,
    ) -> None:
        self._store = store
        self._key = key
        self._cluster = cluster
        self._clock = clock

    def adopt(self, fs_name: str, path: str, report: str | None, *, dry_run: bool = False) -> Result:
        """Register a subtree that somebody made, or what changed about it. The same report twice is once.

        Args:
            fs_name: the file system.
            path: of the top directory.
            report: a `messages.SubtreeFacts` as text.
            dry_run: only say what would be done.
        """
        try:
            found = existing(self._cluster, fs_name)
            subtree = self._reported(found, path, report)
            before = self._known(subtree)
            if before == replace(subtree, registered=before.registered if before else 0):
                return Result(status=f"{_named(subtree)} is registered already; nothing to do")
            self._require_living_key(subtree)
        except RefusalError as refusal:
            return refusal.result
        what = f"{_named(subtree)}, {subtree.mode} mode, key {subtree.key_identifier}"
        act = "register" if before is None else "update"
        if dry_run:
            return Result(status=f"would {act} {what}", changed=True)
        self._store.put(subtree)
        done = {"register": "registered", "update": "updated"}[act]
        return Result(status=f"{done} {what}", changed=True)

    def forget(self, fs_name: str, path: str, *, dry_run: bool = False) -> Result:
        """Drop a subtree from the register. Nothing on the file system changes, no key is touched."""
        try:
            fscid = self._existing_or_gone(fs_name)
            subtree = self._registered(fscid, fs_name, path)
        except RefusalError as refusal:
            return refusal.result
        if dry_run:
            return Result(
                status=f"would forget {_named(subtree)}; its files would stay as they are", changed=True
            )
        self._store.remove(fscid, subtree.path)
        return Result(status=f"forgot {_named(subtree)}; its files stay as they are", changed=True)

    def room_for(self, fs_name: str, path: str) -> Result:
        """Could a subtree be made there, as far as is registered? One that is registered at the path is the answer."""
        try:
            found, path = existing(self._cluster, fs_name), normal_path(path)
            there = self._store.at(found.fscid, path)
            if there is None:
                self._require_apart(found.fscid, fs_name, path)
        except RefusalError as refusal:
            return refusal.result
        return Result() if there is None else self.show(fs_name, path)

    def knows(self, fs_name: str, path: str) -> bool:
        """Is a subtree registered there?

        Raises:
            RefusalError: there is no such file system, or it is no path.
        """
        return self._store.at(self._existing_or_gone(fs_name), normal_path(path)) is not None

    def listing(
        self,
        fs_name: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        *,
        filters: Mapping[str, str | None] | None = None,
        sort: str | None = None,
        reverse: bool = False,
    ) -> Result:
        """List subtrees, a page at a time.

        Args:
            fs_name: only of this file system.
            after: `SubtreePage.following` of the page before, with the same filters and order.
            limit: at most so many; `paging.PAGE` when not given.
            filters: `mode`, `master-key` (its name or 32 hexadecimal digits), `tenant`, `state` (of the key),
                `below` (a directory) and `text` (in the path): only what fits all that are there.
            sort: one of `filters.ORDERS`, within each file system.
            reverse: backwards, file systems too.
        """
        try:
            limit = page_size(limit)
            order = order_of(sort, ORDERS, reverse=reverse)
            chosen = wanted(filters or {})
            fscid = None if fs_name is None else self._existing_or_gone(fs_name)
            start = place(after, chosen, order)
        except RefusalError as refusal:
            return refusal.result
        names = names_of(self._cluster)
        end: Place | None = start
        once = chosen.looked_through(order)

        def found() -> Iterator[SubtreeLine]:
            nonlocal end
            left = limit
            while left > 0 and end is not None:
                part = self._store.page(fscid, end, left if once else min(left, PART), chosen, order)
                yield from (_line(subtree, names.get(subtree.fscid)) for subtree in part.subtrees)
                left, end = left - len(part.subtrees), part.following
                if once:
                    # it has looked through as many as a page may
                    return

        lines = packed(found(), vars, lambda line: SubtreeLine(**line))
        return Result(answer=SubtreePage(lines, named_place(end, order), filtered=chosen != ALL))

    def show(self, fs_name: str, path: str) -> Result:
        """All that is known of one subtree, and of its key."""
        try:
            fscid = self._existing_or_gone(fs_name)
            subtree = self._registered(fscid, fs_name, path)
        except RefusalError as refusal:
            return refusal.result
        key = self._key(fscid, subtree.key_identifier)
        return Result(answer=SubtreeDetail(_line(subtree, names_of(self._cluster).get(fscid)), key))

    def overview(self, *, version: str, ceph: str) -> Result:
        """Count what is registered, by file system.

        Args:
            version: of this module.
            ceph: of the cluster's manager.
        """
        counts = self._store.counts()
        names = names_of(self._cluster)
        gone = {fscid for fscid, _ in counts} - names.keys()
        last_names = {fscid: self._store.page(fscid, Place(), 1).subtrees[0].fs_name for fscid in gone}
        counted = tuple(
            FileSystemCount(
                fscid=fscid,
                name=name,
                present=fscid in names,
                engine=counts.get((fscid, "engine"), 0),
                kernel=counts.get((fscid, "kernel"), 0),
            )
            for fscid, name in sorted((names | last_names).items())
        )
        return Result(answer=Overview(version=version, ceph=ceph, file_systems=counted))

    def _existing_or_gone(self, fs_name: str) -> int:
        """Give the number of a file system, or of one that is gone and left records behind."""
        try:
            return existing(self._cluster, fs_name).fscid
        except RefusalError:
            fscid = self._store.name_last_seen(fs_name) if is_unicode(fs_name) else None
            if fscid is None or fscid in names_of(self._cluster):
                raise
            return fscid

    def _reported(self, found: FileSystem, path: str, report: str | None) -> Subtree:
        if not report:
            raise RefusalError(
                errno.EINVAL,
                "no report was given, nothing was changed; give it with --report or -i FILE.json",
            )
        path = normal_path(path)
        try:
            facts = SubtreeFacts.decode(report)
        except MessageError as error:
            raise RefusalError(
                errno.EINVAL,
                f"the report is not one of a subtree: {error}; nothing was changed; "
                "`cephfs-fscrypt subtree status PATH --facts` prints one",
            ) from error
        return Subtree(
            fscid=found.fscid,
            path=path,
            fs_name=found.name,
            inode=facts.inode,
            mode=facts.mode,
            contents=facts.policy.contents,
            names=facts.policy.names,
            padding=facts.policy.padding,
            key_identifier=facts.policy.key_identifier,
            registered=int(self._clock()),
        )

    def _known(self, subtree: Subtree) -> Subtree | None:
        """Give the record that a report is about; refuse a report that contradicts the register."""
        before = self._store.at(subtree.fscid, subtree.path)

        if before is not None:
            same = (before.inode, before.key_identifier) == (subtree.inode, subtree.key_identifier)
            if not same:
                raise RefusalError(
                    errno.EEXIST,
                    f"{_named(before)} is registered with inode {before.inode} and key "
                    f"{before.key_identifier}, nothing was changed; {_forget_first(before)}",
                )
            return before
        moved = self._store.with_inode(subtree.fscid, subtree.inode)
        if moved is not None:
            raise RefusalError(
                errno.EEXIST,
                f"inode {subtree.inode} is registered as {_named(moved)}, nothing was changed; "
                f"{_forget_first(moved)}",
            )
        self._require_apart(subtree.fscid, subtree.fs_name, subtree.path)
        return None

    def _require_apart(self, fscid: int, fs_name: str, path: str) -> None:
        above = (self._store.at(fscid, parent) for parent in parents(path))
        around = next(filter(None, above), None) or self._store.first_below(fscid, path)
        if around is not None:
            raise RefusalError(
                errno.EEXIST,
                f"{one_line(f'subtree {path} of {fs_name}')} and the registered {_named(around)} lie one in the other, "
                f"which policies do not allow, nothing was changed; {_forget_first(around)}",
            )

    def _require_living_key(self, subtree: Subtree) -> None:
        key = self._key(subtree.fscid, subtree.key_identifier)
        if key is not None and key.state == "destroyed":
            raise RefusalError(
                errno.EPERM,
                f"the key {subtree.key_identifier} of {_named(subtree)} was destroyed: nothing can read it, nothing "
                "was changed; remove its files, or bring them back from a backup under another key",
            )

    def _registered(self, fscid: int, fs_name: str, path: str) -> Subtree:
        path = normal_path(path)
        subtree = self._store.at(fscid, path)
        if subtree is None:
            raise unregistered(self._store, fscid, fs_name, path)
        return subtree


def unregistered(listed: ListedSubtrees, fscid: int, fs_name: str, path: str) -> RefusalError:
    """What is said of a path at which no subtree is registered: the nearest that is one."""
    known = [each.path for each in listed.page(fscid, Place(), COMPARED).subtrees]
    next_step = hint(path, known, f"see `ceph fscrypt subtree ls {shell_word(fs_name)}`")
    return RefusalError(
        errno.ENOENT, f"no subtree {path} is registered on {fs_name}, nothing was changed; {next_step}"
    )


def _forget_first(other: Subtree) -> str:
    words = f"{shell_word(other.fs_name)} {shell_word(other.path)}"
    return f"if that is gone, run `ceph fscrypt subtree forget {words}` first"


def _named(subtree: Subtree) -> str:
    return one_line(f"subtree {subtree.path} of {subtree.fs_name}")


def _line(subtree: Subtree, name: str | None) -> SubtreeLine:
    return SubtreeLine(
        fs_name=subtree.fs_name if name is None else name,
        present=name is not None,
        path=subtree.path,
        inode=subtree.inode,
        mode=subtree.mode,
        contents=subtree.contents,
        names=subtree.names,
        padding=subtree.padding,
        key_identifier=subtree.key_identifier,
        registered=subtree.registered,
    )
