"""A program that uses a key by the Python API (doc/python.md): as files, and by fsspec.

It prints all that it has, hands over what can be handed over, and makes mistakes with secrets, the last of which ends
it: with a traceback.
"""

import logging
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

from mgr_fscrypt.cephfscrypt import Client, MasterKey, Passphrase, connect
from mgr_fscrypt.cephfscrypt.spec import CephFscryptFileSystem

_TEXT = b"Meet me under the oak.\n"


def main(conf: str, key: str, phrase: str, top: str) -> None:
    """Do it all.

    Args:
        conf: Ceph's configuration file.
        key: a file with a master key.
        phrase: one with a passphrase, which opens that key where it is kept.
        top: a subtree under it.

    Raises:
        WrongSecretError: in the end, as it should.
    """
    logging.basicConfig(level=logging.DEBUG)
    words, secret = Path(phrase).read_text().strip(), Path(key).read_bytes()
    master, passphrase = MasterKey(secret), Passphrase(words)
    for number, more in enumerate(
        ({"key": key}, {"key": master}, {"open": f"passphrase:{phrase}"}, {"open": passphrase})
    ):
        with connect(conf=conf, **more) as files:
            _use(files, f"{top}/programmed-{number}")
    _by_fsspec({"conf": conf, "key": key}, f"{top}/programmed-0")
    _by_fsspec({"conf": conf, "open": f"passphrase:{phrase}"}, f"{top}/programmed-0")
    mistakes: tuple[dict[str, Any], ...] = (
        {"key": secret},
        {"key": secret.hex()},
        {"key": master},
        {"open": words},
        {"open": passphrase},
        {"open": f"passphrase:{words}"},
    )
    for mistake in mistakes:
        try:
            CephFscryptFileSystem(conf=conf, **mistake)
        except (TypeError, ValueError):
            traceback.print_exc()
        else:
            raise AssertionError("a secret was taken for the name of a file")
    with connect(conf=conf, open=Passphrase(words[::-1])) as files:
        _use(files, f"{top}/refused")


def _use(files: Client, path: str) -> None:
    with files.stream(path, "wb") as stream:
        stream.write(_TEXT)
        print(files, vars(files), files.keyring, files.key, stream)
    if files.stat(path).size != len(_TEXT):
        raise AssertionError("a file is not what was written")


def _by_fsspec(options: dict[str, Any], path: str) -> None:
    fs = CephFscryptFileSystem(**options)
    print(fs, vars(fs), fs.to_json())
    with fs.open(path) as opened:
        for each in (fs, opened):
            sys.stdout.flush()
            sys.stdout.buffer.write(pickle.dumps(each))
        if pickle.loads(pickle.dumps(opened)).read() != _TEXT:  # noqa: S301 - our own
            raise AssertionError("a file is not what was written")
