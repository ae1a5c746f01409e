"""Key managers: one small interface, and who implements it. Start with `interface`, `kinds` and doc/kms.md."""

from .interface import Context, Flags, Kms, Sealed, Settings
from .kinds import KINDS, Kind, open_kms

__all__ = ["KINDS", "Context", "Flags", "Kind", "Kms", "Sealed", "Settings", "open_kms"]
