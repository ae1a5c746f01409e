"""Key managers: one small interface, and who implements it. Start with `interface`, `kinds` and doc/kms.md."""

from .credentials import Standing, standing, trust
from .interface import Context, Flags, Kms, Sealed, Settings
from .kinds import KINDS, Kind, open_kms

__all__ = [
    "KINDS",
    "Context",
    "Flags",
    "Kind",
    "Kms",
    "Sealed",
    "Settings",
    "Standing",
    "open_kms",
    "standing",
    "trust",
]
