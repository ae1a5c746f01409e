"""The words of ``unlock``, ``lock`` and ``status``: their options, their help, and who carries them out."""

import argparse
from collections.abc import Callable
from pathlib import Path

from ..ceph.access import Access
from ..format import MasterKey
from .given_keys import GivenKeys, given_keys
from .kernel_lock import Wish, lock, parsed_identifier, unlock
from .kernel_places import Place, opened
from .kernel_status import status
from .key_files import read_key
from .outcome import Exit, Failure
from .report import Reporter

NAMES = frozenset({"unlock", "lock", "status"})

UNLOCK = """examples:
  cephfs-fscrypt unlock /mnt/cephfs --key /root/secret.key
  cephfs-fscrypt unlock /mnt/cephfs/secret --key /root/secret.key       (checks that it is this directory's key)
  cat /run/keys/secret | cephfs-fscrypt unlock /mnt/cephfs/secret --key -
  cephfs-fscrypt unlock /mnt/cephfs/secret --open passphrase            (a key that is kept in the cluster)

For mounts by the Linux kernel's own client (`mount -t ceph`, Linux 6.6 or newer); other file systems with fscrypt, such
as ext4, are served too. The key stays until it is locked or the file system is unmounted, and unlocks for all users,
services and containers that see the mount. Doing it again changes nothing.
"""
LOCK = """examples:
  cephfs-fscrypt lock /mnt/cephfs                                (all keys that you have added)
  cephfs-fscrypt lock /mnt/cephfs /mnt/cephfs/secret --dry-run   (the key of that directory)
  cephfs-fscrypt lock /mnt/cephfs --key-identifier 69b2f6edeee720cce0577937eb8a6751
  cephfs-fscrypt lock /mnt/cephfs/secret --all-users

Files that are in use stay readable: then the exit code is 1, and who has them is told; run it again when they are
closed. The key goes when all users who added it have locked it; root takes it away from all with --all-users.
"""
STATUS = """examples:
  cephfs-fscrypt status /mnt/cephfs
  cephfs-fscrypt status /mnt/cephfs/secret --json

Tells of a mount by the kernel what the kernel knows; `cephfs-fscrypt subtree status` asks the cluster instead.
"""


Add = Callable[[str, str, str], argparse.ArgumentParser]
"""Makes the parser of a command by its name, what it does, and its examples."""


def add_parsers(add: Add, add_keyed: Add) -> None:
    """Register the three commands; `add_keyed` gives one the options of the cluster and of keys."""
    one = add_keyed("unlock", "give the kernel the key for a kernel mount", UNLOCK)
    one.add_argument("place", type=Path, help="the mount point, or an encrypted directory below it")
    one = add("lock", "take keys away from the kernel for a kernel mount", LOCK)
    one.add_argument("place", type=Path, help="the mount point, or an encrypted directory below it")
    one.add_argument("inside", type=Path, nargs="*", help="encrypted directories: lock by their keys")
    which = one.add_mutually_exclusive_group()
    which.add_argument("--key", metavar="FILE", help="lock by this key, whatever it encrypts there")
    which.add_argument(
        "--key-identifier",
        metavar="HEX",
        type=parsed_identifier,
        help="lock by the key of this name (32 hexadecimal digits)",
    )
    one.add_argument("--all-users", action="store_true", help="also for other users who added it (root only)")
    one.add_argument(
        "--dry-run", action="store_true", help="only tell what would be done, and who is in the way"
    )
    one = add(
        "status", "tell what encrypts a directory of a kernel mount, and whether its key is there", STATUS
    )
    one.add_argument("place", type=Path, help="a mount point, or an encrypted directory")


def run(
    options: argparse.Namespace, reporter: Reporter, access: Callable[[argparse.Namespace], Access]
) -> Exit:
    """Carry out one of `NAMES`; `access` says how the cluster is reached, where a key is kept there."""
    match options.command:
        case "unlock":
            with given_keys(options, access(options)) as keys, opened(options.place) as place:
                return unlock(reporter, place, _needed(keys, place))
        case "lock":
            names = [] if options.key_identifier is None else [options.key_identifier]
            if options.key is not None:
                names = [read_key(options.key).identifier]
            if names and options.inside:
                raise Failure(
                    Exit.USAGE,
                    "the key is given twice: by directories and by itself",
                    remedy="leave out one of them",
                )
            wish = Wish(all_users=options.all_users, dry_run=options.dry_run)
            return lock(reporter, options.place, names, options.inside, wish)
        case "status":
            return status(reporter, options.place)
        case other:
            raise ValueError(f"the parser knows a command that is not carried out: {other}")


def _needed(keys: GivenKeys, place: Place) -> MasterKey:
    """The key that was named, or the one of the directory's policy, which may be kept in the cluster."""
    if keys.key is not None:
        return keys.key
    if not keys.any:
        raise Failure(
            Exit.USAGE, "this needs a master key", remedy="give it with --key, or what opens one with --open"
        )
    if place.policy is None:
        raise Failure(
            Exit.USAGE,
            "a mount point alone does not say which key",
            remedy="name it with --key-name, or give an encrypted directory",
        )
    found = keys.keyring.find(place.policy.key)
    if found is None:
        raise Failure(
            Exit.NOT_FOUND,
            f"no key {place.policy.key.hex()} is kept in the cluster",
            remedy="give it with --key",
        )
    return found
