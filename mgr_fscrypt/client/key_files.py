"""Master keys from files and standard input, and new ones into files.

A key file holds the key's bytes as they are, or as hexadecimal digits. Nobody but its owner may read it.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..ceph.prctl import keep_out_of_core_dumps
from ..format import NEW_KEY_SIZE, MasterKey
from ..keys import private_files
from .outcome import Exit, Failure

SMALLEST, LARGEST = 32, 64
"""Bytes that a key which was made elsewhere may have."""
STANDARD_INPUT = "-"

_DIGITS = re.compile(rb"[0-9a-fA-F]+")
_FORMS = "64 raw bytes or 128 hexadecimal digits (keys made elsewhere: 32 to 64 bytes)"


def read_key(source: str) -> MasterKey:
    """Read a master key.

    Args:
        source: a file's name, or "-" for standard input.

    Raises:
        Failure: the file is not there, is not safe, or does not hold a key.
    """
    keep_out_of_core_dumps()
    where = "standard input" if source == STANDARD_INPUT else f"key file {source}"
    data = sys.stdin.buffer.read(4 * LARGEST) if source == STANDARD_INPUT else _read_safely(Path(source))
    digits = data.strip(b"\r\n")
    secret = data
    # no random key consists of hexadecimal digits only: chance (22/256)^32
    if _DIGITS.fullmatch(digits):
        secret = b"" if len(digits) % 2 else bytes.fromhex(digits.decode())
    if not SMALLEST <= len(secret) <= LARGEST:
        raise Failure(
            Exit.USAGE,
            f"{where} holds {len(data)} bytes, which is no master key: it must be {_FORMS}",
            remedy="make a new key with `cephfs-fscrypt key generate FILE`; in a raw key, a newline at the end counts",
        )
    return MasterKey(secret)


def require_full_size(key: MasterKey) -> None:
    """Refuse a key that is shorter than those that new subtrees get.

    Raises:
        Failure: it is.
    """
    if len(key) != NEW_KEY_SIZE:
        raise Failure(
            Exit.USAGE,
            f"the key has {len(key)} bytes: a new subtree takes one of {NEW_KEY_SIZE}",
            remedy="make one with `cephfs-fscrypt key generate FILE`",
        )


def write_new_key(file: Path) -> MasterKey:
    """Make a random master key in a new file that only its owner may read; durable when it returns.

    Raises:
        Failure: the file exists, or cannot be made.
    """
    key = MasterKey(os.urandom(NEW_KEY_SIZE))
    write_key(file, key)
    return key


def write_key(file: Path, key: MasterKey) -> None:
    """Put a master key into a new file. As `write_new_key`."""
    try:
        with _never_overwritten(file):
            private_files.write_private(file, key.expose())
    except OSError as error:
        raise Failure(Exit.USAGE, f"cannot make {file}: {error.strerror}") from error


def require_absent(file: Path) -> None:
    """Refuse a name that a key could not be written under, before anything else is done.

    Raises:
        Failure: there is a file of that name.
    """
    with _never_overwritten(file):
        private_files.require_absent(file)


@contextmanager
def _never_overwritten(file: Path) -> Iterator[None]:
    try:
        yield
    except private_files.PresentFileError as error:
        raise Failure(
            Exit.REFUSED,
            f"{file} exists, and a key file is never overwritten: what its key encrypted would be lost",
            remedy="choose another name",
        ) from error


def _read_safely(file: Path) -> bytes:
    try:
        return private_files.read_private(
            file, "key file", limit=4 * LARGEST, irregular="give a pipe as `--key -`"
        )
    except private_files.AbsentFileError as error:
        # a key that was given in place of a file must not reach a log as well
        named = "of the name that was given" if _DIGITS.fullmatch(os.fsencode(file)) else str(file)
        raise Failure(
            Exit.NOT_FOUND,
            f"there is no key file {named}",
            remedy="make a new key with `cephfs-fscrypt key generate FILE`",
        ) from error
    except private_files.UnsafeFileError as error:
        raise Failure(Exit.REFUSED, str(error), remedy=error.remedy) from error
