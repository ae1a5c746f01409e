"""Telling the manager about a subtree. The register is an index: a subtree is none the worse for not being in it."""

import shlex
from dataclasses import dataclass

from ..ceph.errors import CephError
from ..messages import Policy, SubtreeFacts
from .connection import Connection


@dataclass(frozen=True)
class Registration:
    """The outcome of telling the manager.

    Args:
        refusal: why it did not take the report; None when it did.
        command: what an administrator runs to register the subtree by hand.
    """

    refusal: str | None
    command: str


def facts_of(connection: Connection, path: bytes) -> SubtreeFacts | None:
    """Look at the top directory of a subtree; None when it is not encrypted.

    Raises:
        MessageError: its policy is one that the manager does not know.
    """
    subtree = connection.files.subtree(path)
    if subtree.policy is None or subtree.mode is None:
        return None
    policy = Policy(
        contents=subtree.policy.contents_mode.title,
        names=subtree.policy.names_mode.title,
        padding=subtree.policy.padding,
        key_identifier=subtree.policy.key.hex(),
    )
    return SubtreeFacts(inode=connection.files.stat(path).ino, mode=subtree.mode.value, policy=policy)


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
