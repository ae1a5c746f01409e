"""What is told of a key manager that is known on a file system. Its credentials lie on hosts, and are not in it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KmsFacts:
    """One key of one key manager, as an administrator named it.

    Args:
        name: what we call it.
        kind: which kind of key manager.
        address: where it is.
        key: which of its keys.
        file: name of the file with what opens it, on each host that uses it.
        options: what else its kind knows, each as NAME=VALUE.
    """

    name: str
    kind: str
    address: str
    key: str
    file: str
    options: tuple[str, ...]
