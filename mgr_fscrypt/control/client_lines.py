"""What the manager must not or cannot do: the line that does it on a client is the answer."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from .cluster import FileSystemMap, existing
from .refusal import RefusalError
from .results import Result
from .text import shell_word
from .values import Simplified


@dataclass(frozen=True)
class ClientLine:
    """A command for a shell on a client."""

    line: str

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return asdict(self)

    @classmethod
    def restored(cls, value: Mapping[str, Any]) -> Self:
        """Give the value that `simplified` was made from. Raises KeyError, TypeError."""
        return cls(value["line"])

    def plain(self) -> str:
        """Show it to a person: nothing but the line."""
        return self.line


def left_to_a_client(
    cluster: FileSystemMap,
    fs_name: str,
    words: Sequence[str],
    options: Mapping[str, str | bool | None] | None = None,
    *,
    why: str = "this takes what the manager must not have, nothing was changed",
) -> Result:
    """Refuse, with the line for a client.

    A protector's kind (the option `with`) has nothing behind it but the name of a key manager: what opens a key, or
    where that lies, is said on the client; here Ceph would log it.

    Args:
        cluster: the file systems that there are.
        fs_name: of which one.
        words: of `cephfs-fscrypt`.
        options: more of them, by name; those that are None or False are left out, True has no value.
        why: it is left to a client.
    """
    try:
        system = existing(cluster, fs_name)
    except RefusalError as refusal:
        return refusal.result
    kind, _, source = str((options or {}).get("with") or "").partition(":")
    if source and kind != "kms":
        return Result.failed(
            errno.EINVAL, "name the kind of the protector alone: what it is read from is said on the client"
        )
    said = [*words]
    for name, value in {**(options or {}), "fs": system.name}.items():
        if value is not None and value is not False:
            said += [f"--{name}"] if value is True else [f"--{name}", value]
    line = " ".join(map(shell_word, ["cephfs-fscrypt", *said]))
    return Result(
        errno.EOPNOTSUPP,
        f"{why}; run on a client: {line}",
        ClientLine(line),
    )
