"""``migrate ... --per-directory``: a directory stays plain, and each directory in it is migrated by itself, one after
the other: a subtree of its own, with a plan, a trash and a fence of its own. What lies beside them is left as it is."""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from os import fsdecode
from pathlib import Path

from ..ceph.errors import LeaseLostError
from ..ceph.interface import Kind, Mount
from ..engine import DamagedError, LockedError, RefusedError
from ..engine.paths import joined
from ..migrate import Direction, Migration, Way
from ..migrate.plan import digest, hash_of, require_same_hash
from ..migrate.record import HIDDEN, Journal, hidden_of, no_migration
from ..migrate.trees import not_of_one_file
from . import migrate
from .advice import failure_of, shown
from .connection import Connection
from .migrate import Start, Wish
from .outcome import Exit, Failure
from .report import Reporter

_NAMED = 20
"""Entries beside the directories that are named."""


@dataclass(frozen=True)
class Pieces:
    """The directories directly in a plain one, also one that a crash has left at its other place only, and what lies
    beside them: names, in their order."""

    above: bytes
    names: tuple[bytes, ...]
    beside: tuple[bytes, ...]

    @property
    def paths(self) -> list[bytes]:
        """Of the directories."""
        return [joined(self.above, each) for each in self.names]

    def part_of(self, piece: bytes, belows: Iterable[bytes]) -> tuple[bytes, ...]:
        """What of these paths, which begin at the directory above, lies in one of them; from there."""
        start = b"/" + piece.rpartition(b"/")[2] + b"/"
        return tuple(each[len(start) - 1 :] for each in belows if each.startswith(start))


def plan(connection: Connection, reporter: Reporter, wish: Wish) -> Exit:
    """Tell what would happen to each of them, and what is in its way."""
    found, way = _found(connection, wish.path, wish.exclude), _way(connection, wish)

    def plan_one(path: bytes) -> Exit:
        known = _known(connection, path, way.key)
        if not known:
            part = replace(wish, path=path, exclude=found.part_of(path, wish.exclude))
            return migrate.plan(connection, reporter, part)
        reporter.answer({"path": shown(path), "state": known}, f"{shown(path)}: {known}")
        return Exit.DONE

    code, _ = _on_each(reporter, found.paths, plan_one)
    _tell_beside(reporter, found)
    planned = _hash(connection, way, found)
    reporter.answer(
        {"path": shown(wish.path), "directories": len(found.names), "plan": planned},
        f"{shown(wish.path)}: {len(found.names)} directories, each by itself\nplan {planned}",
    )
    return code


def start(connection: Connection, reporter: Reporter, wish: Wish, how: Start) -> Exit:
    """Begin each of them, or go on with it. One that is refused is told, and does not hold up the others."""
    found, way = _found(connection, wish.path, wish.exclude), _way(connection, wish)
    known = {path: _known(connection, path, way.key) for path in found.paths}
    left = [path for path, state in known.items() if state != _ENCRYPTED]
    if "" in known.values():
        if how.plan is None:
            raise Failure(
                Exit.USAGE,
                "a migration begins with a plan",
                remedy="run `migrate plan --per-directory`, and give its hash as --plan",
            )
        require_same_hash(how.plan, _hash(connection, way, found), wish.path, even_changed=how.even_changed)

    def start_one(path: bytes) -> Exit:
        return migrate.start(
            connection,
            reporter,
            replace(wish, path=path, exclude=found.part_of(path, wish.exclude)),
            replace(
                how, piece=True, include=found.part_of(path, how.include), report=report_of(how.report, path)
            ),
        )

    code, failed = _on_each(reporter, left, start_one)
    _tell_beside(reporter, found)
    reporter.summary(
        {"path": shown(wish.path), "directories": len(found.names), "failed": failed},
        f"{shown(wish.path)}: {len(found.names)} directories"
        + (f"; {failed} failed: see to them, and run the same again." if failed else ", none failed."),
    )
    return code


def on_each(connection: Connection, reporter: Reporter, path: bytes, act: Callable[[bytes], Exit]) -> Exit:
    """Act upon each of them that is migrated, or was and is kept.

    Raises:
        NotFoundError: there is none.
    """
    kept = [each for each in _found(connection, path).paths if _migration(connection, each).record()]
    if not kept:
        raise no_migration(path)
    return _on_each(reporter, kept, act)[0]


def report_of(report: Path | None, piece: bytes) -> Path | None:
    """Where the entries of one of them are told: in a directory of its name."""
    return None if report is None else report / fsdecode(piece.rpartition(b"/")[2])


_ENCRYPTED = "encrypted under this key"


def _on_each(reporter: Reporter, paths: Iterable[bytes], act: Callable[[bytes], Exit]) -> tuple[Exit, int]:
    """The first exit code that is not 0, and how many failed. What concerns all of them ends it."""
    code, failed = Exit.DONE, 0
    for path in paths:
        try:
            came = act(path)
        except Exception as error:
            failure = failure_of(error)
            if failure is None or _of_all(error):
                raise
            reporter.failure(failure)
            came = failure.code
            failed += 1
        code = code or came
    return code, failed


def _of_all(error: Exception) -> bool:
    return (
        isinstance(error, OSError)
        and not_of_one_file(error)
        and not isinstance(error, LockedError | LeaseLostError)
    )


def _found(connection: Connection, path: bytes, exclude: Iterable[bytes] = ()) -> Pieces:
    mount = connection.mount
    if connection.files.subtree(path).policy is not None:
        raise RefusedError(
            errno.EXDEV,
            "it is encrypted: a directory in it cannot be a subtree of its own",
            path,
            remedy="Migrate it as a whole, without --per-directory. Nothing was changed.",
        )
    names, beside = set[bytes](), set[bytes]()
    for entry in mount.scandir(path):
        if entry.kind is not Kind.DIRECTORY:
            beside.add(entry.name)
        elif entry.name.startswith(HIDDEN):
            names |= _named_by(mount, path, entry.name)
        else:
            names.add(entry.name)
    left_out = {each for each in names if b"/" + each in exclude}
    return Pieces(path, tuple(sorted(names - left_out)), tuple(sorted(beside | left_out)))


def _named_by(mount: Mount, above: bytes, hidden: bytes) -> set[bytes]:
    """Whose hidden directory it is: a crash may have left nothing of that name. None where nobody can tell."""
    try:
        record = Journal(mount, joined(above, hidden), lambda: None).read()
    except DamagedError:
        return set()
    if record is None:
        return set()
    name = record.path.encode("utf-8", "surrogateescape").rpartition(b"/")[2]
    return {name} if hidden_of(joined(above, name)) == joined(above, hidden) else set()


def _way(connection: Connection, wish: Wish) -> Way:
    migrate.add_old_key(connection, wish)
    return Way(wish.path, Direction.ENCRYPT, connection.required_key().identifier)


def _known(connection: Connection, path: bytes, key: bytes) -> str:
    """How far it is; empty where nothing was begun."""
    record = _migration(connection, path).record()
    if record is not None:
        return record.state.value
    policy = connection.files.subtree(path).policy
    return _ENCRYPTED if policy is not None and policy.key == key else ""


def _migration(connection: Connection, path: bytes) -> Migration:
    return Migration(connection.mount, connection.files, path)


def _hash(connection: Connection, way: Way, found: Pieces) -> str:
    """Of the directories' names: each has its own look at what is in it, right before it is begun."""
    names = [each.decode("latin-1") for each in found.names]
    return hash_of(connection.mount, way, digest(["per-directory", *names]))


def _tell_beside(reporter: Reporter, found: Pieces) -> None:
    for each in found.beside[:_NAMED]:
        reporter.note(
            f"{shown(joined(found.above, each))}: lies beside the directories, and is left as it is"
        )
    if len(found.beside) > _NAMED:
        reporter.note(
            f"{shown(found.above)}: {len(found.beside) - _NAMED} more lie there, and are left as they are"
        )
