"""What each operation needs besides the module itself, and so which of them answer while something does not work."""

from collections.abc import Collection

from ..control.outages import DATABASE, KEY_MANAGER, SERVERS, SERVICE
from .operations import Operation

_NOTHING = frozenset(
    {"service status", "doctor", "metrics", "api show", "api login", "api session ls", "api session revoke"}
)
"""What tells of others that they are down is not down with them."""
_THE_SERVICE = frozenset({"kms ls", "kms test", "key lock", "key unlock", "key rescan"})
_BOTH = frozenset(
    {"scan", "subtree scanned", "subtree bundle"}
    | {f"subtree {verb}" for verb in ("create", "adopt", "rm", "release", "hold", "verify")}
)
_A_KEY = frozenset(
    {"key unlock", "subtree create", "subtree verify"}
    | {f"migrate {verb}" for verb in ("plan", "start", "verify", "rollback")}
)
"""It may be one behind a key manager that does not answer."""
_CLIENTS = frozenset({"client", "gate"})


def needs(operation: Operation) -> frozenset[str]:
    """What an operation needs, as `control.outages` calls it: without, it may not answer, or what it begins waits."""
    noun = operation.command.partition(" ")[0]
    if operation.command in _NOTHING or operation.path.startswith("/lines/"):
        found = set()
    elif noun == "job" or operation.command in _THE_SERVICE:
        found = {SERVICE}
    elif noun == "migrate" or operation.command in _BOTH:
        found = {DATABASE, SERVICE}
    else:
        found = {DATABASE}
    if operation.command in _A_KEY:
        found.add(KEY_MANAGER)
    if noun in _CLIENTS or operation.command == "apply":
        found.add(SERVERS)
    return frozenset(found)


def working(operations: Collection[Operation], down: Collection[str]) -> list[str]:
    """Those that answer all the same, as programs ask for them: method and path."""
    return [f"{each.method} {each.path}" for each in operations if not needs(each) & set(down)]
