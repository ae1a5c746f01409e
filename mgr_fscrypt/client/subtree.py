"""``subtree create|status|release|hold``."""

from contextlib import closing

from ..engine import FileMode, Mode, Prospect, Report, State, Wish, policy_of
from ..engine.fence import strangers
from ..format import Policy
from ..messages import SubtreeFacts
from ..subtree_facts import facts_of
from .advice import shown
from .connection import Connection
from .key_files import require_full_size
from .outcome import Exit, Failure
from .progress import size_text
from .register import tell_manager
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
    policy = policy_of(key.identifier, padding, Mode.AES_256_XTS)
    wish = Wish(policy, namespace=namespace, make=make)
    if dry_run:
        found = connection.files.prospect(path, wish)
        _warn(reporter, found)
        return _previewed(reporter, path, found, policy)
    found = connection.files.make_subtree(path, wish)
    _warn(reporter, found)
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
    facts = facts_of(connection.files, path)
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


def _facts(connection: Connection, path: bytes) -> SubtreeFacts:
    facts = facts_of(connection.files, path)
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


def _warn(reporter: Reporter, found: Prospect) -> None:
    for warning in found.warnings:
        reporter.note(f"warning: {warning}")


def _previewed(reporter: Reporter, path: bytes, found: Prospect, policy: Policy) -> Exit:
    identifier = policy.key.hex()
    value: dict[str, object] = {"path": shown(path), "namespace": found.namespace}
    if found.state is State.DONE:
        reporter.answer(
            value | {"would": "nothing"}, f"{shown(path)} is encrypted so already, by key {identifier}"
        )
        return Exit.DONE
    would = "make" if found.state is State.MISSING else "create"
    first = "would make it, and encrypt it" if would == "make" else "would encrypt it (it is empty)"
    reporter.answer(
        value | {"would": would, "key_identifier": identifier, "padding": policy.padding},
        f"{shown(path)}: {first} in engine mode: {policy.contents_mode.title}, {policy.names_mode.title}, names padded "
        f"to {policy.padding} bytes, key {identifier}, namespace {found.namespace or '(the default one)'}; would tell "
        "the manager",
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
    would = "copy" if copy else "change"
    with closing(connection.files.mode_changes(path, from_)) as changes:
        for each in changes:
            count, size = count + 1, size + each.size
            reporter.answer({"would": would, "path": shown(each.plain)}, f"would {would} {shown(each.plain)}")
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
