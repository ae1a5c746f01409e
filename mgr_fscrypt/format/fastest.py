"""Which of the unit ciphers this machine uses."""

from functools import cache

from .accelerator import load_accelerator
from .libcrypto import load_libcrypto_units
from .portable import PortableFactory
from .units import UnitCipherFactory


@cache
def fastest() -> UnitCipherFactory:
    """The fastest implementation on this machine; each was checked against known answers before use."""
    return load_accelerator() or load_libcrypto_units() or PortableFactory()
