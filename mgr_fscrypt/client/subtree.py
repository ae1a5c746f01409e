"""``subtree create|status|release|hold``."""

from ..ceph.interface import Kind
from ..engine import FileMode, Report
from ..engine.fence import strangers
from ..messages import SubtreeFacts
from .advice import shown
from .connection import Connection
from .key_files import require_full_size
from .outcome import Exit, Failure
from .progress import size_text
from .register import facts_of, tell_manager
from .remote import children
from .report import Reporter


def create(
    connection: Connection,
    reporter: Reporter,
    path: bytes,
    *,
    padding: int,
    make: bool,
    namespace: str | None,
    dry_run: bool,
) -> Exit:
    """Give an empty directory a policy, and tell the manager.

    Args:
        connection: with the key.
        reporter: what is told.
        path: of the directory.
        padding: of names.
        make: make the directory if it is not there.
        namespace: the RADOS namespace of its files; None: as the directory has it.
        dry_run: only say what would be done.
    """
    key = connection.required_key()
    require_full_size(key)
    missing = make and not connection.files.exists(path)
    if dry_run:
        if missing:
            reporter.summary(
                {"path": shown(path), "would": "make"},
                f"would make {shown(path)} and encrypt it, in engine mode, by key {key.identifier.hex()}.",
            )
            return Exit.DONE
        return _preview_create(connection, reporter, path, padding)
    if missing:
        connection.files.mkdir(path)
    if namespace is not None:
        _isolate(connection, path, namespace)
    made = connection.files.create_subtree(path, key.identifier, padding=padding)
    for warning in made.warnings:
        reporter.note(f"warning: {warning}")
    facts = _facts(connection, path)
    tell_manager(connection, reporter, path, facts)
    reporter.summary(
        _described(path, facts),
        f"{shown(path)} is encrypted, in {facts.mode} mode, by key {facts.policy.key_identifier}.",
    )
    return Exit.DONE


def status(connection: Connection, reporter: Reporter, path: bytes, *, facts_only: bool) -> Exit:
    """Tell whether a directory is encrypted and how."""
    subtree = connection.files.subtree(path)
    facts = facts_of(connection, path)
    if facts is None:
        if facts_only:
            raise Failure(Exit.NOT_FOUND, f"{shown(path)} is not encrypted: there is nothing to report")
        reporter.answer({"path": shown(path), "encrypted": False}, f"{shown(path)} is not encrypted.")
        return Exit.DONE
    if facts_only:
        Reporter().answer({}, facts.encode())
        return Exit.DONE
    state = "unlocked: the key was given" if subtree.unlocked else "locked: the key was not given"
    policy, namespace = facts.policy, connection.mount.layout(path).namespace
    lines = (
        f"path      {shown(path)}",
        f"inode     {facts.inode}",
        f"mode      {facts.mode} (whose new files are)",
        f"contents  {policy.contents}",
        f"names     {policy.names}, padded to {policy.padding} bytes",
        f"key       {policy.key_identifier}",
        f"namespace {namespace or '(the default one)'}",
        f"state     {state}",
        *(f"warning   {warning}" for warning in subtree.warnings),
    )
    value = _described(path, facts) | {
        "namespace": namespace,
        "unlocked": subtree.unlocked,
        "warnings": list(subtree.warnings),
    }
    reporter.answer(value, "\n".join(lines))
    return Exit.DONE


def release(connection: Connection, reporter: Reporter, path: bytes, *, evict: bool, dry_run: bool) -> Exit:
    """Hand a subtree to kernel clients."""
    connection.require_keys()
    if dry_run:
        return _preview_change(connection, reporter, path, FileMode.ENGINE, evict=evict)
    return _changed(connection, reporter, path, connection.files.release(path, evict=evict))


def hold(
    connection: Connection,
    reporter: Reporter,
    path: bytes,
    *,
    evict: bool,
    copy: bool,
    even_open: bool,
    dry_run: bool,
) -> Exit:
    """Take a subtree back from kernel clients, with `copy` by writing its files again, while they go on."""
    if even_open and not copy:
        raise Failure(Exit.USAGE, "--even-open goes with --copy only", remedy="add --copy, or leave it out")
    if copy:
        connection.require_keys()
    if dry_run:
        return _preview_change(connection, reporter, path, FileMode.KERNEL, evict=evict, copy=copy)
    if copy:
        report = connection.files.hold_by_copy(path, even_open=even_open)
    else:
        report = connection.files.hold(path, evict=evict)
    return _changed(connection, reporter, path, report)


def _isolate(connection: Connection, path: bytes, namespace: str) -> None:
    """Give a directory's new files a RADOS namespace: before the policy, afterwards it is EINVAL (doc/facts.md F13)."""
    if connection.mount.layout(path).namespace == namespace:
        return
    if any(True for _ in connection.files.scandir(path)):
        raise Failure(
            Exit.REFUSED,
            f"{shown(path)} is not empty: what is there would stay outside the namespace; nothing was changed",
            remedy="make a new directory, and copy the files in with `cephfs-fscrypt put`",
        )
    connection.mount.setxattr(path, "ceph.dir.layout.pool_namespace", namespace.encode())


def _facts(connection: Connection, path: bytes) -> SubtreeFacts:
    facts = facts_of(connection, path)
    if facts is None:
        raise Failure(Exit.NOT_FOUND, f"{shown(path)} is not encrypted")
    return facts


def _described(path: bytes, facts: SubtreeFacts) -> dict[str, object]:
    return {
        "path": shown(path),
        "encrypted": True,
        "inode": facts.inode,
        "mode": facts.mode,
        "contents": facts.policy.contents,
        "names": facts.policy.names,
        "padding": facts.policy.padding,
        "key_identifier": facts.policy.key_identifier,
    }


def _preview_create(connection: Connection, reporter: Reporter, path: bytes, padding: int) -> Exit:
    """Look at what `FileSystem.create_subtree` looks at, and write nothing."""
    identifier = connection.required_key().identifier.hex()
    found = connection.files.subtree(path)
    if found.policy is not None:
        raise Failure(
            Exit.REFUSED,
            f"{shown(path)} is encrypted already, by key {found.policy.key.hex()}",
            remedy="use it as it is, or make another directory",
        )
    if connection.mount.layout(path).striped:
        raise Failure(Exit.REFUSED, f"the layout of {shown(path)} stripes files over several objects")
    entries = sum(1 for _ in connection.files.scandir(path))
    if entries:
        raise Failure(
            Exit.REFUSED,
            f"{shown(path)} is not empty: {entries} entries",
            remedy="make a new directory, and copy the files in with `cephfs-fscrypt put`",
        )
    reporter.answer(
        {"path": shown(path), "would": "create", "key_identifier": identifier, "padding": padding},
        f"would encrypt {shown(path)} (empty) in engine mode: AES-256-XTS, AES-256-CBC-CTS, names padded to "
        f"{padding} bytes, key {identifier}; would tell the manager",
    )
    return Exit.DONE


def _preview_change(
    connection: Connection,
    reporter: Reporter,
    path: bytes,
    from_: FileMode,
    *,
    evict: bool,
    copy: bool = False,
) -> Exit:
    """Name what would change and the clients in the way, of which there are none for a copy."""
    _facts(connection, path)
    # a subtree's top directory has its plain path, so the stored one is the same
    others = [] if copy else strangers(connection.mount, path)
    count = size = 0
    linked = set[int]()
    for each in children(connection.files, path):
        if each.kind is not Kind.FILE:
            continue
        found = connection.files.stat(each.path)
        if found.file_mode is not from_ or found.ino in linked:
            continue
        if found.nlink > 1:
            linked.add(found.ino)
        count, size = count + 1, size + found.size
        would = "copy" if copy else "change"
        reporter.answer({"would": would, "path": shown(each.path)}, f"would {would} {shown(each.path)}")
    to = FileMode.KERNEL if from_ is FileMode.ENGINE else FileMode.ENGINE
    act = "be evicted" if evict else "have to unmount first, or be evicted with --evict"
    how = ", writing them again" if copy else ""
    lines = [f"would give {count} files ({size_text(size)}) {to.value} mode{how}"]
    lines += [f"would {act}: {each}" for each in others]
    value = {
        "path": shown(path),
        "would": "release" if to is FileMode.KERNEL else "hold",
        "copy": copy,
        "files": count,
        "bytes": size,
        "clients": [str(each) for each in others],
    }
    reporter.answer(value, "\n".join(lines))
    return Exit.DONE


def _changed(connection: Connection, reporter: Reporter, path: bytes, report: Report) -> Exit:
    for problem in report.problems:
        reporter.note(f"{shown(problem.path)}: {problem.message}. {problem.remedy}")
    facts = _facts(connection, path)
    tell_manager(connection, reporter, path, facts)
    value = _described(path, facts) | {
        "changed": report.changed,
        "unchanged": report.unchanged,
        "problems": report.problem_count,
        "evicted": [str(each) for each in report.evicted],
        "snapshots": [shown(name) for name in report.snapshots],
    }
    text = (
        f"{shown(path)} is in {facts.mode} mode: {report.changed} files changed, {report.unchanged} had it already, "
        f"{report.problem_count} problems."
    )
    if report.snapshots:
        text += (
            f"\nSnapshots keep the mode that they were taken in: {', '.join(map(shown, report.snapshots))}."
        )
    reporter.summary(value, text)
    return Exit.DONE if report.complete else Exit.DIFFERS
