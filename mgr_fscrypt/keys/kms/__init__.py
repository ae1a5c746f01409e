"""Key managers: one small interface, and who implements it. Start with `interface`, `kinds` and doc/kms.md."""

from .credentials import Standing, standing, trust
from .interface import SIGNING_KEY, Context, Flags, Kms, Sealed, Settings
from .kinds import KINDS, Kind, open_kms, signs

__all__ = [
    "KINDS",
    "SIGNING_KEY",
    "Context",
    "Flags",
    "Kind",
    "Kms",
    "Sealed",
    "Settings",
    "Standing",
    "open_kms",
    "signs",
    "standing",
    "trust",
]
