"""Jobs about one subtree: what is asked for beside its path, and what comes of it.

Options and results are these dataclasses as JSON objects. No name of what lies inside a subtree is in them, but as it
is stored.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from .job import Option
from .strict import KEY_IDENTIFIER, KEY_IDENTIFIER_IS, decoded, expect
from .subtree import CIPHERS, MODES, PADDINGS, SubtreeFacts

CREATE, RELEASE, HOLD, REMOVE, LOOK = "create", "release", "hold", "rm", "adopt"
"""The kinds of these jobs, as the commands are called that ask for them."""
MISSING, EMPTY, DONE = "missing", "empty", "done"
"""What lay where a subtree was to be made: nothing, an empty directory, or just such a subtree."""

T = TypeVar("T")


@dataclass(frozen=True)
class CreateOptions:
    """Have a subtree.

    Args:
        key: identifier of its master key.
        contents: name of the contents mode; that of names goes with it.
        padding: of names, in bytes.
        mode: whose new files are: engine or kernel.
        namespace: the RADOS namespace of its files; empty: as the directory has it.
        subvolume: the path is that of a subvolume, whose data directory is meant.
        dry_run: only look whether it could be made.
    """

    key: str
    contents: str
    padding: int
    mode: str
    namespace: str
    subvolume: bool
    dry_run: bool

    def __post_init__(self) -> None:
        expect(KEY_IDENTIFIER.fullmatch(self.key) is not None, "key", KEY_IDENTIFIER_IS)
        known = [contents for contents, _ in CIPHERS]
        expect(self.contents in known, "contents", " or ".join(known))
        expect(self.padding in PADDINGS, "padding", "4, 8, 16 or 32")
        expect(self.mode in MODES, "mode", "engine or kernel")


@dataclass(frozen=True)
class CreateResult:
    """What was found, and with no dry run made.

    Args:
        path: of the subtree's top directory, in the file system.
        found: `MISSING`, `EMPTY` or `DONE`.
        namespace: the RADOS namespace of its files; empty: the default one.
        warnings: what its administrator should know.
        facts: of the subtree; None where it was only looked at.
    """

    path: str
    found: str
    namespace: str
    warnings: tuple[str, ...]
    facts: SubtreeFacts | None


@dataclass(frozen=True)
class ReleaseOptions:
    """Give a subtree's files kernel mode; with `dry_run` only count them."""

    dry_run: bool


@dataclass(frozen=True)
class HoldOptions:
    """Give a subtree's files engine mode, with `copy` by new inodes; with `dry_run` only count them."""

    copy: bool
    dry_run: bool


@dataclass(frozen=True)
class ModeResult:
    """What became of a subtree's files.

    Args:
        changed: files that were given their new mode, or would be.
        unchanged: files that had it.
        problems: files that could not be given it.
        bytes: real sizes of the files that would be changed; 0 where they were.
        snapshots: of the top directory: they keep the mode that they were taken in.
        clients: others that can reach it, who have to go first; of a dry run only.
        facts: of the subtree, as it is now.
    """

    changed: int
    unchanged: int
    problems: int
    bytes: int
    snapshots: tuple[str, ...]
    clients: tuple[str, ...]
    facts: SubtreeFacts


@dataclass(frozen=True)
class RemoveOptions:
    """Remove a subtree.

    Args:
        inode: of its top directory: where another one is at the path, nothing is removed.
        contents: with all that lies in it.
        dry_run: only say what would go.
    """

    inode: int
    contents: bool
    dry_run: bool


@dataclass(frozen=True)
class RemoveResult:
    """What was removed, beside the top, or would be; as the MDSs count, which may be some seconds late."""

    files: int
    directories: int


@dataclass(frozen=True)
class LookOptions:
    """Find out what a directory is.

    Args:
        verify: with its key, see whether names in it decrypt; the job waits for the key.
        dry_run: nobody registers what is found.
    """

    verify: bool
    dry_run: bool


@dataclass(frozen=True)
class FoundMetadata:
    """Metadata of google/fscrypt that was found in the directory `path`: descriptors of policies and protectors."""

    path: str
    policies: tuple[str, ...]
    protectors: tuple[str, ...]


@dataclass(frozen=True)
class LookResult:
    """What a directory is.

    Args:
        path: of the directory.
        facts: of the subtree; None where it is not encrypted, or so that it cannot be registered.
        refusal: why it cannot be registered though it is encrypted; empty where it can.
        namespace: the RADOS namespace of its files.
        verified: do names in it decrypt with its key? None: nobody has looked.
        csi: is it where ceph-csi encrypts?
        metadata: of google/fscrypt, nearest first.
        advice: what to do about that, as sentences.
    """

    path: str
    facts: SubtreeFacts | None
    refusal: str
    namespace: str
    verified: bool | None
    csi: bool
    metadata: tuple[FoundMetadata, ...]
    advice: tuple[str, ...]


Options = CreateOptions | ReleaseOptions | HoldOptions | RemoveOptions | LookOptions
Results = CreateResult | ModeResult | RemoveResult | LookResult


def as_options(options: Options) -> Mapping[str, Option]:
    """As a wish has them."""
    return asdict(options)


def as_result(result: Results) -> Mapping[str, Any]:
    """As an outcome has it."""
    return asdict(result)


def read(kind: type[T], value: Mapping[str, Any], name: str) -> T:
    """Options or a result, as `kind` has them.

    Raises:
        MessageError: they are others.
    """
    return decoded(kind, dict(value), name)
