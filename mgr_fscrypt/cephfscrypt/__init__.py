"""Encrypted CephFS for Python programs.

>>> from mgr_fscrypt import cephfscrypt
>>> with cephfscrypt.connect(key="vault.key") as files:
...     with files.text("/vault/letter.txt", "w") as letter:
...         letter.write("Dear Ada,")
...     files.stat("/vault/letter.txt").size
9
9

`connect` gives a `Client`. What lies behind it is described in doc/python.md; `spec` has the same for fsspec.

What is named here stays as it is from one release to the next; what is not may change.
"""

from ..ceph.errors import CephError, NotFoundError, SessionLostError, UnreachableError
from ..ceph.interface import Kind
from ..engine import (
    Attributes,
    BusyError,
    DamagedError,
    DirEntry,
    EngineError,
    File,
    FileSystem,
    LockedError,
    NameKind,
    RefusedError,
    Subtree,
)
from ..format import MasterKey
from ..keys.errors import KeyStoreError
from ..keys.passphrase import Passphrase
from .client import Client
from .connecting import connect
from .streams import Stream

__all__ = [
    "Attributes",
    "BusyError",
    "CephError",
    "Client",
    "DamagedError",
    "DirEntry",
    "EngineError",
    "File",
    "FileSystem",
    "KeyStoreError",
    "Kind",
    "LockedError",
    "MasterKey",
    "NameKind",
    "NotFoundError",
    "Passphrase",
    "RefusedError",
    "SessionLostError",
    "Stream",
    "Subtree",
    "UnreachableError",
    "connect",
]
