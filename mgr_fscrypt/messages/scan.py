"""What a scan of a file system found: encrypted subtrees, and what is in them that does not belong there.

Found by attributes that anybody may see who may list the directories; nothing here has a place for a secret.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from .strict import decoded, expect, parsed
from .subtree import Policy, SubtreeFacts

MIXTURES = (
    "other-policy",  # a directory, file or link under another policy than the subtree's top
    "other-mode",  # a file in the other mode than new files of the subtree follow
    "plain",  # a directory, file or link without a context
    "damaged",  # a context that is none
)
MOST_ON_PAGE = 200
LARGEST_PAGE = 128 << 10
"""Characters of JSON that a page has, but for its last subtree."""
_LONGEST = 64 << 10
_LATEST = 1 << 63


@dataclass(frozen=True)
class Mixture:
    """Things of one kind that do not belong into a subtree.

    Args:
        what: one of `MIXTURES`.
        count: how many.
        example: the path of one, as stored and in ASCII; its end.
    """

    what: str
    count: int
    example: str

    def __post_init__(self) -> None:
        expect(self.what in MIXTURES, "what", " or ".join(MIXTURES))
        expect(0 < self.count < _LATEST, "count", "a number")


@dataclass(frozen=True)
class FoundSubtree:
    """One subtree that was found.

    Args:
        path: of its top directory, from the root of the file system.
        inode, mode, policy: as `SubtreeFacts` has them.
        entries: that were looked at below it.
        mixed: what does not belong there.
    """

    path: str
    inode: int
    mode: str
    policy: Policy
    entries: int
    mixed: tuple[Mixture, ...]

    def __post_init__(self) -> None:
        expect(self.path.startswith("/"), "path", "absolute")
        expect(SubtreeFacts(self.inode, self.mode, self.policy) is not None, "facts", "those of a subtree")

    @property
    def facts(self) -> SubtreeFacts:
        """What is reported of it to the register."""
        return SubtreeFacts(self.inode, self.mode, self.policy)

    def encode(self) -> bytes:
        """Give the bytes that are kept of it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read them. Raises `MessageError`."""
        return decoded(cls, parsed(data.decode("utf-8", "replace"), _LONGEST), "the subtree")


@dataclass(frozen=True)
class ScanQuestion:
    """What has a scan found, of a job that is done or on its way? Answered by a `ScanPage`.

    Args:
        job: its id.
        after: the path that the page before ended with; empty: from the begin.
        limit: how many at most.
    """

    job: str
    after: str
    limit: int

    def __post_init__(self) -> None:
        expect(0 < self.limit <= MOST_ON_PAGE, "limit", f"from 1 to {MOST_ON_PAGE}")


@dataclass(frozen=True)
class ScanPage:
    """Some of what a scan found, in order of paths as bytes.

    Args:
        found: one after the other.
        following: the last one's path, where there are more.
    """

    found: tuple[FoundSubtree, ...]
    following: str | None
