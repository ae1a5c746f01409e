"""The words of ``migrate``: their options, their help, and who carries them out."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from ..engine.paths import components
from ..messages.spans import kept_for
from . import dask, migrate, pieces
from .connection import Connection
from .limit_options import add_limit_options, add_removal_limits, chosen_limits, chosen_removal_limits
from .migrate import Start, Wish
from .outcome import Exit, Failure
from .report import Reporter

PLAN = """examples:
  cephfs-fscrypt migrate plan /data --key new.key                       (plain data becomes encrypted)
  cephfs-fscrypt migrate plan /data --key new.key --old-key old.key     (encrypted data goes under another key)
  cephfs-fscrypt migrate plan /data --decrypt --key old.key             (encrypted data becomes plain)
  cephfs-fscrypt migrate plan /home --per-directory --key new.key       (each directory in it becomes a subtree)

Nothing is written. The last line is the plan's hash, which `migrate start` takes. Exit code 1: something has to go
before it can be started.
"""
START = """examples:
  cephfs-fscrypt migrate start /data --key new.key --plan HASH
  cephfs-fscrypt migrate start /data --key new.key                      (goes on after an interruption)
  cephfs-fscrypt migrate start /data --key new.key --plan HASH --copy-only
  cephfs-fscrypt migrate start /data --key new.key --exclude tmp/broken.db
  cephfs-fscrypt migrate start /data --decrypt --key old.key --plan HASH --confirm "store /data in the clear"

Copies beside the source, while others use it; then every client that can reach it has to be gone, both trees are
compared, and the new one takes the place of the old one, which is kept. Killed at any moment, it is run again.
"""
STATUS = """examples:
  cephfs-fscrypt migrate status /data
"""
VERIFY = """examples:
  cephfs-fscrypt migrate verify /data --key new.key
  cephfs-fscrypt migrate verify /data --key new.key --old-key old.key --json
  cephfs-fscrypt migrate verify /data --no-key

Reads both trees anew, before or after the cut-over, until `purge`. What was written since the cut-over differs. With
--no-key the new tree alone is read, as it is stored, and compared with what it was when it was verified. Exit
code 0: they are the same; 1: something differs, is missing, is too much, or could not be compared.
"""
ROLLBACK = """examples:
  cephfs-fscrypt migrate rollback /data --key new.key
  cephfs-fscrypt migrate rollback /data --lose-changes

The old tree takes its place again. What was written since the cut-over is in the new tree only: so both are compared
first, which needs the keys, unless --lose-changes says that it may be lost.
"""
PURGE = """examples:
  cephfs-fscrypt migrate purge /data --dry-run
  cephfs-fscrypt migrate purge /data
  cephfs-fscrypt migrate purge /data --due --files-per-second 200       (for a timer, with `start --keep-trash 7d`)

Refused while a directory of the old tree has snapshots, and where the old tree was written after it was compared,
unless --lose-changes says that this may be lost; and while something lies there that was left out by --exclude, unless
--lose-excluded says the same of that.
"""
WORKER = """examples:
  cephfs-fscrypt migrate worker --key new.key --old-key old.key --scheduler tls://HOST:8786 \\
      --tls-ca ca.crt --tls-cert worker.crt --tls-key worker.key

For `migrate start --executor dask`, on any host. When it is handed something it mounts, as --root says, which has to be
what `migrate start` has; its keys are those that are given here. It ends with SIGTERM.
"""
CANCEL = """examples:
  cephfs-fscrypt migrate cancel /data
"""

_MOST_WORKERS = 64

Add = Callable[[str, str, str], argparse.ArgumentParser]
"""Makes the parser of a verb by its name, what it does, and its examples."""


def add_parsers(add: Add) -> None:
    """Register the verbs; `add` gives each the options of the cluster and of keys."""
    one = _on_path(add("plan", "tell what a migration would do, and what is in its way", PLAN))
    _direction(one)
    _exclude(one)
    one = _on_path(add("start", "migrate a directory, or go on with it", START))
    _direction(one)
    _exclude(one)
    one.add_argument(
        "--include",
        metavar="BELOW",
        type=_below,
        action="append",
        default=[],
        help="what an earlier --exclude left out is migrated after all; repeatable",
    )
    _report(one)
    one.add_argument("--plan", metavar="HASH", help="what `migrate plan` ended with; needed to begin")
    one.add_argument(
        "--even-changed", action="store_true", help="though the tree has changed since it was planned"
    )
    one.add_argument(
        "--namespace",
        metavar="NAME",
        help="keep its files in this RADOS namespace, which clients can be kept out of by `ceph fscrypt gate`",
    )
    one.add_argument("--confirm", metavar="SENTENCE", help="with --decrypt: the sentence that it asks for")
    one.add_argument(
        "--copy-only", action="store_true", help="stop before the cut-over; the source stays in place"
    )
    _workers(one, "copy, and compare,")
    dask.add_executor(one)
    add_limit_options(one)
    one.add_argument(
        "--keep-trash",
        type=_keeping,
        metavar="TIME",
        help="such as 7d: from when on `purge --due` may remove the old tree; after the cut-over, from now on",
    )
    ways = one.add_mutually_exclusive_group()
    ways.add_argument(
        "--offline", action="store_true", help="nobody uses it: checked before anything is copied"
    )
    ways.add_argument("--evict", action="store_true", help="cut off the clients that can reach it")
    _on_path(add("status", "tell how far a migration is", STATUS))
    one = _on_path(add("verify", "compare both trees of a migration", VERIFY))
    _old_key(one)
    one.add_argument(
        "--no-key", action="store_true", help="compare the new tree, as it is stored, with its manifest"
    )
    _workers(one, "compare")
    _report(one)
    one = _on_path(add("rollback", "bring the old tree back", ROLLBACK))
    _old_key(one)
    one.add_argument("--evict", action="store_true", help="cut off the clients that can reach it")
    _workers(one, "compare")
    one.add_argument(
        "--lose-changes", action="store_true", help="without comparing: what was written since may be lost"
    )
    _dry_run(one)
    one = _on_path(add("purge", "remove the old tree, for good", PURGE))
    one.add_argument(
        "--lose-changes", action="store_true", help="what was written into the old tree late may be lost"
    )
    one.add_argument(
        "--lose-excluded",
        action="store_true",
        help="what was left out, and is in the old tree only, may be lost",
    )
    one.add_argument(
        "--due", action="store_true", help="only where the time of `start --keep-trash` has come: for a timer"
    )
    add_removal_limits(one)
    _dry_run(one)
    one = _on_path(add("cancel", "remove the new tree, before the cut-over", CANCEL))
    add_removal_limits(one)
    _dry_run(one)
    one = add("worker", "copy for migrations of other hosts, by Dask", WORKER)
    _old_key(one)
    dask.add_scheduler(one)


def run(options: argparse.Namespace, connection: Connection, reporter: Reporter) -> Exit:
    """Carry out one of the verbs."""
    path = b"/" + b"/".join(components(options.path))
    verb = options.command.removeprefix("migrate ")
    if verb in ("plan", "start"):
        return _begin(verb, options, connection, reporter, path)
    if not options.per_directory:
        return _act(verb, options, connection, reporter, path, options.report if verb == "verify" else None)

    def act(piece: bytes) -> Exit:
        report = pieces.report_of(options.report, piece) if verb == "verify" else None
        return _act(verb, options, connection, reporter, piece, report)

    return pieces.on_each(connection, reporter, path, act)


def _begin(
    verb: str, options: argparse.Namespace, connection: Connection, reporter: Reporter, path: bytes
) -> Exit:
    if options.per_directory and options.decrypt:
        raise Failure(
            Exit.USAGE,
            "--per-directory makes a subtree of each directory",
            remedy="decrypt them one by one",
        )
    wish = Wish(path, options.decrypt, options.old_key, tuple(options.exclude))
    if verb == "plan":
        plan = pieces.plan if options.per_directory else migrate.plan
        return plan(connection, reporter, wish)
    how = Start(
        plan=options.plan,
        even_changed=options.even_changed,
        confirm=options.confirm,
        offline=options.offline,
        evict=options.evict,
        copy_only=options.copy_only,
        namespace=options.namespace,
        workers=options.workers,
        scheduler=dask.chosen_scheduler(options),
        limits=chosen_limits(options),
        include=tuple(options.include),
        report=options.report,
        keep=options.keep_trash,
    )
    start = pieces.start if options.per_directory else migrate.start
    return start(connection, reporter, wish, how)


def _act(
    verb: str,
    options: argparse.Namespace,
    connection: Connection,
    reporter: Reporter,
    path: bytes,
    report: Path | None,
) -> Exit:
    match verb:
        case "status":
            return migrate.status(connection, reporter, path)
        case "verify":
            return migrate.verify(
                connection,
                reporter,
                Wish(path, old_key=options.old_key),
                Start(report=report, workers=options.workers),
                no_key=options.no_key,
            )
        case "rollback":
            return migrate.rollback(
                connection,
                reporter,
                Wish(path, old_key=options.old_key),
                Start(evict=options.evict, workers=options.workers),
                lose_changes=options.lose_changes,
                dry_run=options.dry_run,
            )
        case "purge":
            return migrate.purge(
                connection,
                reporter,
                path,
                lose_changes=options.lose_changes,
                lose_excluded=options.lose_excluded,
                due=options.due,
                limits=chosen_removal_limits(options),
                dry_run=options.dry_run,
            )
        case "cancel":
            return migrate.cancel(
                connection, reporter, path, limits=chosen_removal_limits(options), dry_run=options.dry_run
            )
        case other:
            raise ValueError(f"the parser knows a verb that is not carried out: {other}")


def _on_path(one: argparse.ArgumentParser) -> argparse.ArgumentParser:
    one.add_argument("path", type=os.fsencode, help="the directory, as a path from the mount's root")
    one.add_argument(
        "--per-directory",
        action="store_true",
        help="it is plain, and stays so: each directory in it by itself, one after the other",
    )
    return one


def _workers(one: argparse.ArgumentParser, what: str) -> None:
    one.add_argument(
        "--workers",
        type=_count,
        default=migrate.WORKERS,
        metavar="N",
        help=f"processes that {what} at the same time (default: {migrate.WORKERS})",
    )


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"from 1 to {_MOST_WORKERS}")
    return count


def _keeping(text: str) -> int:
    try:
        return kept_for(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _below(text: str) -> bytes:
    """From the directory that is migrated, whether or not it is written with a slash."""
    return b"/" + os.fsencode(text).lstrip(b"/")


def _exclude(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--exclude",
        metavar="BELOW",
        type=_below,
        action="append",
        default=[],
        help="leave out this file, or directory with all in it, by its path from the directory that is migrated; "
        "repeatable, and kept for later runs. At the cut-over it goes into the trash, and is nowhere else",
    )


def _report(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--report",
        metavar="DIR",
        type=Path,
        help="tell what came of comparing each entry, in files of this local directory: same.jsonl, differ.jsonl, "
        "missing.jsonl, extra.jsonl, error.jsonl",
    )


def _direction(one: argparse.ArgumentParser) -> None:
    one.add_argument("--decrypt", action="store_true", help="from encrypted to plain; --key is the source's")
    _old_key(one)


def _old_key(one: argparse.ArgumentParser) -> None:
    one.add_argument("--old-key", metavar="FILE", help="the key of a source that is encrypted")


def _dry_run(one: argparse.ArgumentParser) -> None:
    one.add_argument("--dry-run", action="store_true", help="only tell what would be done")
