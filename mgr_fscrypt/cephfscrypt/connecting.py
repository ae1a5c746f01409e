"""From where a file system is, and what opens its keys, to a `Client`."""

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..ceph.access import Access
from ..ceph.connect import connect as mounted
from ..ceph.connect import connect_guarded
from ..ceph.guard.mount import GuardedMount
from ..ceph.mount import CephMount
from ..ceph.prctl import keep_out_of_core_dumps
from ..client.given_keys import GivenKeys, kept_keys, keys_of
from ..client.key_files import read_key
from ..client.openers import Given, given, openers_of
from ..client.outcome import Failure
from ..custody import CREDENTIALS
from ..format import MasterKey
from ..keys.errors import KeyStoreError
from ..keys.opener import Opener
from .client import Client

_KEY_IN_DIGITS = re.compile(r"[0-9a-fA-F]{32,}")
_STANDARD_INPUT = "-"
PathName = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a file system is, and where what opens its keys lies. There is no secret in it, only names of files.

    Attributes:
        file_system: its name; by default the cluster's default one.
        entity: who connects.
        conf: Ceph's configuration file; by default what Ceph itself would take.
        keyring: where the entity's Ceph key is; by default what the configuration says.
        root: the directory of the file system that is mounted as `/`.
        key: a file with a master key, which only its owner may read.
        open: what opens keys that are kept in the cluster, each as `KIND:FILE`, or `kms`.
        credentials: the directory with those of key managers.
        guarded: libcephfs lives in a child process, for those who live long and meet files in kernel mode.
        durable_close: also small new files are durable when they are closed.
        timeout: seconds after which a cluster that does not answer counts as unreachable.

    Raises:
        TypeError: the bytes of a key in place of a file's name.
        ValueError: what cannot be one of these; it is not repeated, for it may be a secret in the wrong place.
    """

    file_system: str | None = None
    entity: str = "client.admin"
    conf: str | None = None
    keyring: str | None = None
    root: str = "/"
    key: str | None = None
    open: tuple[str, ...] = ()
    credentials: str = str(CREDENTIALS)
    guarded: bool = False
    durable_close: bool = False
    timeout: int = 10

    def __post_init__(self) -> None:
        for name in ("conf", "keyring", "key", "credentials"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _file_name(name, value))
        object.__setattr__(self, "open", _words(self.open))
        for _ in self._given():
            pass
        if self.key is not None and self.open:
            raise ValueError("`key` and `open` are two ways to the same: give one of them")

    def require_absolute(self) -> None:
        """For whoever may be in another directory when it is used.

        Raises:
            ValueError: a file is named from the current directory.
        """
        files = [self.conf, self.keyring, self.key, self.credentials]
        files += [each.source for each in self._given()]
        if not all(name is None or name.startswith("/") for name in files):
            raise ValueError("name files from the root (/...): others read these names in other directories")

    @property
    def access(self) -> Access:
        """How to reach it."""
        return Access(
            conf=_path(self.conf),
            entity=self.entity,
            keyring=_path(self.keyring),
            file_system=self.file_system,
            root=os.fsencode(self.root),
            timeout=self.timeout,
        )

    def connect(self, key: MasterKey | None = None, openers: Sequence[Opener] = ()) -> Client:
        """Connect, with more of what this program has in its memory. Raises as `connect`."""
        access = self.access
        with ExitStack() as held:
            try:
                keys = self._keys(access, held, key, openers)
            except Failure as failure:
                raise KeyStoreError(failure.happened, remedy=failure.remedy) from failure
            mount = held.enter_context(self._mounted(access))
            held.enter_context(keys.watched())
            return Client(mount, keys, held.pop_all(), durable_close=self.durable_close)

    def _mounted(self, access: Access) -> AbstractContextManager[CephMount | GuardedMount]:
        if self.guarded:
            return connect_guarded(access)
        return mounted(access)

    def _keys(
        self, access: Access, held: ExitStack, key: MasterKey | None, openers: Sequence[Opener]
    ) -> GivenKeys:
        if key is not None or openers:
            # what reads a secret from a file does so by itself
            keep_out_of_core_dumps()
        if not (self.open or openers):
            return keys_of(read_key(self.key) if self.key is not None else key)

        def found(managers: Opener) -> Iterable[Opener]:
            wanted = tuple(self._given())
            return (*(openers_of(wanted, managers) if wanted else ()), *openers)

        return held.enter_context(kept_keys(access, Path(self.credentials), found))

    def _given(self) -> Iterable[Given]:
        for text in self.open:
            try:
                one = given(text)
            except argparse.ArgumentTypeError as error:
                raise ValueError(str(error)) from None
            if one.kind != "kms" and one.source in (None, "", _STANDARD_INPUT):
                raise ValueError(f"nobody is asked for anything here: give a file as {one.kind}:FILE")
            yield one


def connect(
    *,
    key: PathName | MasterKey | None = None,
    open: str | Opener | Iterable[str | Opener] = (),  # noqa: A002 - as the commands have it
    file_system: str | None = None,
    entity: str = "client.admin",
    conf: PathName | None = None,
    keyring: PathName | None = None,
    root: str = "/",
    credentials: PathName = CREDENTIALS,
    guarded: bool = False,
    durable_close: bool = False,
    timeout: int = 10,
) -> Client:
    """Mount a file system in this process, with the keys that are given; without any, it is as a locked one is.

    >>> with connect(key="vault.key") as files:
    ...     files.exists("/vault")
    True

    Args:
        key: a file with a master key, which only its owner may read; or the key.
        open: what opens keys that are kept in the cluster, such as `kms` or `passphrase:/a/file`; or the openers.
        file_system: its name; by default the cluster's default one.
        entity: who connects.
        conf: Ceph's configuration file; by default what Ceph itself would take.
        keyring: where the entity's Ceph key is; by default what the configuration says.
        root: the directory of the file system that is mounted as `/`.
        credentials: the directory with those of key managers.
        guarded: libcephfs lives in a child process, for those who live long and meet files in kernel mode.
        durable_close: also small new files are durable when they are closed.
        timeout: seconds after which a cluster that does not answer counts as unreachable.

    Raises:
        ValueError, TypeError: what cannot be one of these.
        KeyStoreError: what was given holds no key, or is not for its owner alone.
        UnreachableError: within `timeout` seconds there was no answer.
        CephError: the entity, its key, the file system or the root is not there or not allowed.
    """
    given_openers = (open,) if isinstance(open, str) or not isinstance(open, Iterable) else tuple(open)
    place = Place(
        file_system=file_system,
        entity=entity,
        conf=None if conf is None else os.fspath(conf),
        keyring=None if keyring is None else os.fspath(keyring),
        root=root,
        key=None if key is None or isinstance(key, MasterKey) else os.fspath(key),
        open=tuple(each for each in given_openers if isinstance(each, str)),
        credentials=os.fspath(credentials),
        guarded=guarded,
        durable_close=durable_close,
        timeout=timeout,
    )
    return place.connect(
        key if isinstance(key, MasterKey) else None,
        tuple(each for each in given_openers if not isinstance(each, str)),
    )


def _file_name(what: str, value: object) -> str:
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"`{what}` is the name of a file, not what is in it")
    name = os.fspath(value)
    if not isinstance(name, str) or _KEY_IN_DIGITS.fullmatch(name):
        raise ValueError(f"`{what}` is the name of a file, not what is in it")
    return name


def _words(value: object) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
    if (value and not words) or not all(isinstance(word, str) for word in words):
        raise TypeError("`open` takes words such as `kms` or `passphrase:/a/file`")
    return words


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name).absolute()
