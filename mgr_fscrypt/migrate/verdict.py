"""What a comparison came to."""

from dataclasses import dataclass, field

CLASSES = ("same", "differ", "missing", "extra", "error")
_LISTED = 100


@dataclass
class Verdict:
    """How many of each class there are, and the bytes of the files that were compared; `listed` are the first hundred
    of those that are not the same: class, path below the top, and how they differ. `manifest` is the digest of the
    manifest that was written meanwhile, if one was."""

    same: int = 0
    differ: int = 0
    missing: int = 0
    extra: int = 0
    error: int = 0
    size: int = 0
    listed: list[tuple[str, bytes, str]] = field(default_factory=list)
    manifest: str = ""

    @property
    def equal(self) -> bool:
        """Are both the same?"""
        return not (self.differ or self.missing or self.extra or self.error)

    def add(self, kind: str, below: bytes, how: str = "") -> None:
        """Count one."""
        setattr(self, kind, getattr(self, kind) + 1)
        if kind != "same" and len(self.listed) < _LISTED:
            self.listed.append((kind, below or b"/", how))
