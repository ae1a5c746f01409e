"""Subtrees: a directory with a policy, and the mode that new files below it follow.

The mode is marked on the subtree's root by the xattr `trusted.fscrypt.mode`; without the mark it is the kernel's,
since kernels make subtrees that know nothing of us.
"""

import errno
from contextlib import closing
from dataclasses import dataclass

from ..ceph.interface import Mount
from ..format import AUTH_XATTR, Context, Flags, Mode, Policy
from .directories import Directories, Directory
from .errors import DamagedError, LockedError, RefusedError
from .inodes import ByPath, FileMode, optional
from .keyring import Keyring
from .paths import Path, components, named

MODE_XATTR = "trusted.fscrypt.mode"
ERASURE_CODED = (
    "The data pool is erasure coded: kernel clients read noise where a file has holes. "
    "Use a replicated data pool, or avoid sparse files."
)
_PADDINGS = {4: Flags.PAD_4, 8: Flags.PAD_8, 16: Flags.PAD_16, 32: Flags.PAD_32}
_NAMES_MODES = {Mode.AES_256_XTS: Mode.AES_256_CTS, Mode.AES_128_CBC: Mode.AES_128_CTS}


@dataclass(frozen=True)
class Subtree:
    """What is known of the subtree that a path lies in.

    Attributes:
        path: the path that was asked for.
        policy: modes, padding and key; None where the path is not encrypted.
        mode: whose new files are; None where the path is not encrypted.
        unlocked: is the key here?
        erasure_coded: the data pool cannot tell holes from zeros: kernels then read noise in them (doc/format.md D5).
    """

    path: bytes
    policy: Policy | None
    mode: FileMode | None
    unlocked: bool
    erasure_coded: bool

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its administrator should know, as sentences."""
        if self.policy is None or not self.erasure_coded:
            return ()
        return (ERASURE_CODED,)


def policy_of(identifier: bytes, padding: int, contents: Mode) -> Policy:
    """A v2 policy for new files.

    Raises:
        RefusedError: EINVAL: another padding than 4, 8, 16 or 32, or contents that CephFS does not encrypt so.
    """
    if padding not in _PADDINGS or contents not in _NAMES_MODES:
        raise RefusedError(
            errno.EINVAL,
            f"padding {padding} with {contents.title}",
            remedy="Use a padding of 4, 8, 16 or 32, and AES-256-XTS or AES-128-CBC contents.",
        )
    return Policy(
        identifier,
        contents_mode=contents,
        names_mode=_NAMES_MODES[contents],
        flags=_PADDINGS[padding],
    )


class Subtrees:
    """Make subtrees and tell about them."""

    def __init__(self, mount: Mount, keyring: Keyring, directories: Directories) -> None:
        self._mount = mount
        self._keyring = keyring
        self._directories = directories

    def create(self, path: Path, policy: Policy, mode: FileMode) -> Subtree:
        """Give an empty directory a policy. The same once more changes nothing.

        Raises:
            LockedError: the key is not here.
            RefusedError: ENOTDIR, ENOTEMPTY; EEXIST: it has another policy or mode; EINVAL: a striped layout.
        """
        names = components(path)
        if self._keyring.find(policy.key) is None:
            raise LockedError(b"/" + b"/".join(names), policy.key)
        chain = self._directories.walk(names)
        directory = chain[-1]
        if directory.policy is not None:
            self.require_same(chain, policy, mode)
            return self.status(path)
        with named(directory.plain):
            self.require_fit(directory)
            if mode is FileMode.ENGINE:
                self._mount.setxattr(directory.stored, MODE_XATTR, mode.value.encode())
            self._mount.setxattr(directory.stored, AUTH_XATTR, Context.fresh(policy).encode_auth())
            self._mount.sync()
        return self.status(path)

    def status(self, path: Path) -> Subtree:
        """What the directory at `path` is."""
        chain = self._directories.walk(components(path))
        directory = chain[-1]
        if directory.policy is None:
            return Subtree(directory.plain, None, None, unlocked=True, erasure_coded=False)
        return Subtree(
            directory.plain,
            directory.policy,
            self.mode_of(chain),
            unlocked=not directory.locked,
            erasure_coded=self._mount.erasure_coded(self._mount.layout(directory.stored).pool),
        )

    def mode_of(self, chain: tuple[Directory, ...]) -> FileMode:
        """What new files in the last of these directories follow: the nearest mark on the way up.

        Raises:
            RefusedError: EPERM: the mount's root lies inside a subtree, so the mark may be out of sight.
            DamagedError: the mark is none that we know.
        """
        for directory in reversed(chain):
            if directory.context is None:
                break
            mark = optional(ByPath(self._mount, directory.stored), MODE_XATTR)
            if mark is not None:
                return _marked_mode(mark, directory.plain)
        if chain[0].context is not None and self._mount.absolute(b"/") != b"/":
            raise RefusedError(
                errno.EPERM,
                "the mount begins inside the subtree, so its mode cannot be seen",
                chain[-1].plain,
                remedy="Mount the directory that the subtree lies in.",
            )
        return FileMode.KERNEL

    def require_same(self, chain: tuple[Directory, ...], policy: Policy, mode: FileMode) -> None:
        """Raises `RefusedError` (EEXIST) unless the last of these directories has this policy and mode."""
        there, directory = self.mode_of(chain), chain[-1]
        if directory.policy is not None and (directory.policy, there) != (policy, mode):
            raise RefusedError(
                errno.EEXIST,
                f"it is encrypted already, in {there.value} mode, by key {directory.policy.key.hex()}",
                directory.plain,
                remedy="Use it as it is, or make another directory.",
            )

    def require_unstriped(self, directory: Directory) -> None:
        """Raises `RefusedError` (EINVAL) where new files would be striped."""
        if self._mount.layout(directory.stored).striped:
            raise RefusedError(
                errno.EINVAL,
                "its layout stripes files over several objects (stripe_count > 1), which kernels refuse",
                directory.plain,
                remedy="Use a directory with the default layout. Nothing was changed.",
            )

    def require_fit(self, directory: Directory) -> None:
        """Raises `RefusedError` where a directory cannot be given a policy: EINVAL, ENOTEMPTY."""
        plain = directory.plain
        self.require_unstriped(directory)
        with closing(self._mount.scandir(directory.stored)) as entries:
            empty = next(entries, None) is None
        if not empty:
            raise RefusedError(
                errno.ENOTEMPTY,
                "only an empty directory can be given a policy",
                plain,
                remedy="Make a new directory and copy the files in. Nothing was changed.",
            )


def _marked_mode(mark: bytes, plain: bytes) -> FileMode:
    try:
        return FileMode(mark.decode())
    except ValueError as error:
        raise DamagedError(
            errno.EUCLEAN,
            f"{MODE_XATTR} is {mark!r}, no mode of a subtree. Nothing was changed",
            plain,
            remedy=f"Set the attribute on the subtree's root to {' or '.join(each.value for each in FileMode)}.",
        ) from error
