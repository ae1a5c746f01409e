"""Telling the manager about a subtree. The register is an index: a subtree is none the worse for not being in it."""

import errno
import shlex
from dataclasses import dataclass

from ..ceph.errors import CephError
from ..messages import SubtreeFacts
from .advice import shown
from .connection import Connection
from .report import Reporter


@dataclass(frozen=True)
class Registration:
    """The outcome of telling the manager.

    Args:
        refusal: why it did not take the report; None when it did.
        command: what an administrator runs to register the subtree by hand.
    """

    refusal: str | None
    command: str


def register(connection: Connection, path: bytes, facts: SubtreeFacts) -> Registration:
    """Report a subtree to the manager's module, through the monitors."""
    where = connection.mount.absolute(path).decode("utf-8", "surrogateescape")
    report = facts.encode()
    fs_name = "FS"
    try:
        fs_name = connection.file_system_name()
        connection.mount.cluster.command("fscrypt subtree adopt", fs=fs_name, path=where, report=report)
        refusal = None
    except CephError as error:
        refusal = error.strerror or str(error)
    command = shlex.join(["ceph", "fscrypt", "subtree", "adopt", fs_name, where, "--report", report])
    return Registration(refusal, command)


def tell_manager(connection: Connection, reporter: Reporter, path: bytes, facts: SubtreeFacts) -> None:
    """Register it, or say how an administrator does."""
    registration = register(connection, path, facts)
    if registration.refusal is not None:
        reporter.note(
            f"warning: the manager was not told ({registration.refusal}). The subtree is complete without it; "
            f"to list it there, have an administrator run:\n  {registration.command}"
        )


def tell_manager_anew(
    connection: Connection, reporter: Reporter, path: bytes, facts: SubtreeFacts | None
) -> None:
    """Another directory is at the path by now, or one that is no subtree (None): the register forgets the old one."""
    where = connection.mount.absolute(path).decode("utf-8", "surrogateescape")
    fs_name = "FS"
    try:
        fs_name = connection.file_system_name()
        connection.mount.cluster.command("fscrypt subtree forget", fs=fs_name, path=where)
    except CephError as error:
        if error.errno != errno.ENOENT:  # it never knew it
            command = shlex.join(["ceph", "fscrypt", "subtree", "forget", fs_name, where])
            reporter.note(
                f"warning: the manager was not told that another directory is at {shown(path)} "
                f"({error.strerror or error}). Where it lists the old one, have an administrator run:\n  {command}"
            )
    if facts is not None:
        tell_manager(connection, reporter, path, facts)
