"""The optional compiled accelerator: building it on request, finding it, and proving it before use.

``python3 -m mgr_fscrypt.format.build`` compiles accelerator.c with the system's ``cc``. The library's file name
holds the digest of its source, so one built from another source is never loaded. It is looked for in
``directory()`` and, unless that is named by the environment, beside its source, where packages put it.
"""

import ctypes
import logging
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from .errors import ContentsError
from .modes import Mode
from .self_test import passes_self_test
from .units import UnitCipher, UnitCipherFactory, essiv_key

DIRECTORY_VARIABLE = "CEPHFS_FSCRYPT_ACCELERATOR"
"""The environment variable that names the folder of the compiled library."""

_SOURCE = Path(__file__).with_name("accelerator.c")
_log = logging.getLogger(__name__)


def directory() -> Path:
    """Where the compiled library lies: ``$CEPHFS_FSCRYPT_ACCELERATOR``, else the user's cache folder."""
    if named := os.environ.get(DIRECTORY_VARIABLE):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "cephfs-fscrypt"


def library_path(folder: Path) -> Path:
    """The library's path in ``folder``; its name follows from the source and the machine."""
    digest = sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    return folder / f"accelerator-{os.uname().machine}-{digest}.so"


def build_accelerator(folder: Path, compiler: str = "cc") -> Path:
    """Compile the accelerator into ``folder``; a library that is there is replaced at once, or not at all.

    Raises:
        OSError: the folder cannot be written, or there is no compiler.
        subprocess.CalledProcessError: the compiler refused; its ``stderr`` says why.
    """
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = library_path(folder)
    with tempfile.TemporaryDirectory(dir=folder) as workplace:
        made = Path(workplace) / path.name
        command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-z,now"]
        command += ["-o", str(made), str(_SOURCE), "-l:libcrypto.so.3"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        made.chmod(0o755)
        made.replace(path)
    return path


def load_accelerator(folder: Path | None = None) -> UnitCipherFactory | None:
    """The compiled accelerator's factory, once it passed its self-test.

    None where it was never built. Where it is there and is not used (others may write it, it does not load, it
    answers wrongly), a warning is logged that says which.
    """
    found = next(_found(folder), None)
    if found is None:
        return None
    path, status = found
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        _log.warning("accelerator %s is not used: others than its user may write it", path)
        return None
    try:
        factory = _AcceleratorFactory(path)
    except (OSError, AttributeError) as error:
        _log.warning("accelerator %s is not used: it does not load (%s): build it again", path, error)
        return None
    return factory if passes_self_test(factory) else None


def _found(folder: Path | None) -> Iterator[tuple[Path, os.stat_result]]:
    """Libraries that are there, in ``folder`` or in the places where they may lie; what is installed comes first."""
    installed = () if folder or os.environ.get(DIRECTORY_VARIABLE) else (_SOURCE.parent,)
    for place in (*installed, folder or directory()):
        with suppress(OSError):
            path = library_path(place)
            yield path, path.stat()


class _AcceleratorFactory:
    """Makes ciphers of the compiled library; its calls let go of the interpreter's lock."""

    name = "accelerator"

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        self._new = library.fscrypt_units_new
        self._new.restype, self._new.argtypes = pointer, [pointer, pointer, integer]
        self.run = library.fscrypt_units_run
        self.run.restype = integer
        self.run.argtypes = [pointer, integer, pointer, pointer, ctypes.c_uint64, ctypes.c_size_t]
        self.free = library.fscrypt_units_free
        self.free.restype, self.free.argtypes = None, [pointer]

    def open(self, mode: Mode, key: bytes, unit_size: int) -> UnitCipher:
        """See ``UnitCipherFactory``."""
        if mode not in (Mode.AES_256_XTS, Mode.AES_128_CBC):
            raise ContentsError(f"{mode.title} is no mode for contents")
        pointer = self._new(key, essiv_key(key) if mode is Mode.AES_128_CBC else None, unit_size)
        if not pointer:
            raise ContentsError(f"OpenSSL refuses this key for {mode.title}")
        return _AcceleratorUnits(self, pointer)


class _AcceleratorUnits:
    def __init__(self, library: _AcceleratorFactory, pointer: int) -> None:
        self._library, self._pointer = library, pointer

    def run(self, encrypt: bool, source: int, target: int, first_iv: int, units: int) -> None:
        if not self._library.run(self._pointer, encrypt, source, target, first_iv, units):
            raise ContentsError("OpenSSL failed to encipher a data unit: do not use the target")

    def close(self) -> None:
        self._library.free(self._pointer)
        self._pointer = 0
