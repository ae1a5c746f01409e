"""What an identity that is bound to a tenant may do: what is the tenant's beyond doubt, and nothing else."""

import errno
from collections.abc import Callable, Mapping
from typing import Any

from ..control import RefusalError, Result
from ..door.desk import Desk
from .operations import Operation, Value

_FREE = frozenset({"api show"})
"""What tells of nobody's things."""
_OF_SUBTREES = frozenset({"subtree", "gate"})
_NOT_THEIRS = frozenset(
    {
        *("subtree create", "subtree adopt", "subtree scanned"),
        *("gate set", "gate show", "gate preview"),
        *("api certificate add", "api user add"),
    }
)
"""They make a tenant's what was not, change what others may do, or tell of all; of clients, who are nobody's, too."""


def bound(
    tenant: str,
    operation: Operation,
    takes: frozenset[str],
    arguments: Mapping[str, Value],
    desk: Desk,
    asked: Callable[[Callable[[], Result]], Result],
) -> dict[str, Value]:
    """The arguments with which the operation keeps to the tenant's things.

    Args:
        tenant: whose.
        operation: which one.
        takes: the names of all its arguments.
        arguments: as they were given.
        desk: knows what is whose.
        asked: asks the database.

    Raises:
        RefusalError: it does not, or nobody can tell.
    """
    said = dict(arguments)
    command, noun = operation.command, operation.command.split()[0]
    if command in _FREE:
        return said
    if command in _NOT_THEIRS:
        raise _not_theirs(tenant, command)
    if "tenant" in takes:
        if said.get("tenant", tenant) != tenant:
            raise _not_theirs(tenant, command)
        return said | {"tenant": tenant}
    if noun == "key" and {"fs", "key"} <= takes:
        shown = asked(lambda: desk.keys.show(str(said["fs"]), str(said["key"])))
        _check(tenant, command, shown, _value(shown))
    elif noun in _OF_SUBTREES and {"fs", "path"} <= takes:
        _check_subtree(tenant, command, str(said["fs"]), str(said["path"]), desk, asked)
    elif noun == "job" and "job" in takes:
        shown = desk.jobs.show(str(said["job"]))
        job = _value(shown)
        _check_subtree(tenant, command, str(job.get("fs_name")), str(job.get("path")), desk, asked)
    else:
        raise _not_theirs(tenant, command)
    return said


def _check_subtree(
    tenant: str,
    command: str,
    fs: str,
    path: str,
    desk: Desk,
    asked: Callable[[Callable[[], Result]], Result],
) -> None:
    shown = asked(lambda: desk.subtrees.show(fs, path))
    _check(tenant, command, shown, _value(shown).get("key") or {})


def _check(tenant: str, command: str, shown: Result, key: Mapping[str, Any]) -> None:
    if shown.code == errno.EAGAIN:
        raise RefusalError(shown.code, shown.status)
    # what is not there and what is another's are told alike
    if key.get("tenant") != tenant:
        raise _not_theirs(tenant, command)


def _value(shown: Result) -> Mapping[str, Any]:
    return {} if shown.answer is None or not shown.success else shown.answer.simplified()


def _not_theirs(tenant: str, command: str) -> RefusalError:
    return RefusalError(
        errno.EPERM,
        f"{command} is not about what is known to be of the tenant {tenant}, nothing was changed; "
        "ask somebody whose access is not bound to a tenant",
    )
