"""What `fsck` can find, by name (doc/fsck.md). Codes are stable: scripts may lean on them."""

from dataclasses import dataclass, field
from enum import Enum

from ..walking import Visited


class Severity(Enum):
    """How bad a finding is."""

    DAMAGE = "damage"
    """No client that worked as it should leaves this behind, not even one that died."""
    INTERRUPTED = "interrupted"
    """A client or a job that died left it. Nothing that was acknowledged is lost by it."""
    UNKNOWN = "unknown"
    """It could not be looked at."""
    NOTE = "note"
    """Worth knowing; nothing has to be done."""


class Code(Enum):
    """One kind of finding: its word, its severity, and what a person can do where `--repair` does nothing."""

    MISSING_CONTEXT = (
        "missing-context",
        Severity.DAMAGE,
        "Something that does not know encryption put it there: move it out and copy it in, or restore it.",
    )
    FOREIGN_CONTEXT = (
        "foreign-context",
        Severity.DAMAGE,
        "It was moved there from another policy: move it back, and copy it instead.",
    )
    NESTED_POLICY = (
        "nested-policy",
        Severity.DAMAGE,
        "Move the directory out of the subtree, and copy what is in it.",
    )
    MISMATCHED_CONTEXTS = (
        "mismatched-contexts",
        Severity.DAMAGE,
        "Restore the file: its two contexts differ, and nobody can tell which of them its contents belong to.",
    )
    UNDECODABLE = (
        "undecodable",
        Severity.DAMAGE,
        "Restore it from a snapshot or a backup, or remove it.",
    )
    REPEATED_NONCE = (
        "repeated-nonce",
        Severity.DAMAGE,
        "Copy one of the two to a new name, remove it, and rename the copy: they share their keys.",
    )
    ODD_SIZE = (
        "odd-size",
        Severity.DAMAGE,
        "Something that does not know encryption wrote it: copy out what can be read, and restore the rest.",
    )
    SIZE_TOO_LARGE = (
        "size-too-large",
        Severity.DAMAGE,
        "Something cut the file that does not know encryption: compare it with a backup.",
    )
    DISCARDED_SIZE = (
        "discarded-size",
        Severity.DAMAGE,
        "Kernel clients show its raw size, with zeros at the end: truncate it to its size through a kernel mount.",
    )
    SHORT_OBJECT = (
        "short-object",
        Severity.DAMAGE,
        "Bytes of the file are lost: restore it from a snapshot or a backup.",
    )
    FOREIGN_NAME = (
        "foreign-name",
        Severity.DAMAGE,
        "Something that does not know encryption made it: move it out through a plain mount, and copy it in.",
    )
    BAD_NAME = (
        "bad-name",
        Severity.DAMAGE,
        "It was renamed or damaged without the key: rename it back, or restore it; its contents are as they were.",
    )
    POISONED_NAME = (
        "poisoned-name",
        Severity.DAMAGE,
        "Copy what is in it to a new name, saying this one as it is stored, and remove it.",
    )
    BAD_TARGET = (
        "bad-target",
        Severity.DAMAGE,
        "Remove the link, and make it again.",
    )
    HALF_MADE = (
        "half-made",
        Severity.INTERRUPTED,
        "Remove it, or give it a mode through a plain mount: nothing in it was ever acknowledged.",
    )
    UNSETTLED_SIZE = (
        "unsettled-size",
        Severity.INTERRUPTED,
        "The next client that writes the file cuts it.",
    )
    STRAY_BYTES = (
        "stray-bytes",
        Severity.INTERRUPTED,
        "Copy the file to a new name, and rename the copy over it.",
    )
    TAIL = (
        "tail",
        Severity.INTERRUPTED,
        "Copy the file to a new name, and rename the copy over it: kernels show those bytes once it grows.",
    )
    DOUBLED_ATTRIBUTES = (
        "doubled-attributes",
        Severity.INTERRUPTED,
        "Run the `subtree release` or `subtree hold` again that was cut short.",
    )
    MIXED_MODE = (
        "mixed-mode",
        Severity.INTERRUPTED,
        "Run the `subtree release` or `subtree hold` again that was cut short.",
    )
    UNREADABLE = (
        "unreadable",
        Severity.UNKNOWN,
        "Run it again as a user and a Ceph entity that may read it; what is named above it comes first.",
    )
    HASHED_NAME = (
        "hashed-name",
        Severity.NOTE,
        "See it with a kernel client: if its name is not whole there, rename it, for it hides others.",
    )
    SPECIAL_WITH_CONTEXT = (
        "special-with-context",
        Severity.NOTE,
        "Kernels give special files no context, and take no notice of one.",
    )
    LEFTOVER_LEASE = (
        "leftover-lease",
        Severity.NOTE,
        "The next client that writes the file takes it over.",
    )
    NOT_CHECKED = (
        "not-checked",
        Severity.NOTE,
        "Give the Ceph entity the capabilities that doc/fsck.md names, or run it below.",
    )

    def __init__(self, word: str, severity: Severity, remedy: str) -> None:
        self.word = word
        self.severity = severity
        self.remedy = remedy


class Repair(Enum):
    """What `--repair` does, as it is told before."""

    REMOVE = "remove it"
    FINISH = "finish it: give it a mode for its owner only"
    SETTLE = "settle its sizes: the smaller of the two wins, and what lies beyond is cut"
    CUT = "cut away what its objects have beyond its end"
    ZERO_TAIL = "write its last block again, with zeros past the end of the file"
    DROP_RECORD = "remove the engine's attribute: the kernel's say the same"
    DROP_FILE_SIZE = "remove the kernel's size: the file is in engine mode"
    DROP_CONTEXT = "remove the context"
    DROP_LEASE = "remove the lease that its dead holder left"


@dataclass(frozen=True)
class Finding:
    """One thing that was found: where, what exactly, and what `--repair` would do (None: nothing).

    Attributes:
        stored: the path as stored, for plain mounts.
        plain: the path as its reader sees it.
        detail: what was seen, for people.
        visited: the entry; None for what is said of the whole.
    """

    code: Code
    stored: bytes
    plain: bytes
    ino: int
    detail: str
    repair: Repair | None = None
    visited: Visited | None = field(default=None, repr=False)
