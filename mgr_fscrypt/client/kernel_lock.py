"""``unlock`` and ``lock``: keys go into the kernel's own keyring of a mounted file system, and out of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..format import IDENTIFIER_SIZE, MasterKey
from .advice import shown
from .kernel_keys import KernelKeys, Presence
from .kernel_mounts import KernelMount
from .kernel_places import Place, explained, opened, other_mounts, own_claims
from .kernel_status import others_text
from .key_holders import Holders, holders
from .outcome import Exit, Failure
from .report import Reporter


def unlock(reporter: Reporter, place: Place, key: MasterKey) -> Exit:
    """Give the kernel a key for a mounted file system."""
    if place.policy is not None:
        _require_provable(place)
        # raises what names both keys, before the kernel has one that is of no use
        key.check_names(place.policy)
    with explained(place.mount):
        before = place.keys.status(key.identifier)
        computed = place.keys.add(key)
        if computed != key.identifier:
            place.keys.remove(computed)
            raise Failure(
                Exit.INTERNAL,
                f"the kernel calls this key {computed.hex()}, and we call it {key.identifier.hex()}: "
                "it was taken out again",
                remedy="please report it, with the version of the kernel",
            )
    had_it = before.presence is Presence.PRESENT and before.added_by_self
    others = other_mounts(place.mount)
    value = {
        "path": shown(place.path),
        "mount": shown(place.mount.place),
        "key_identifier": computed.hex(),
        "was": before.presence.title,
        "added": not had_it,
        "also_at": others,
    }
    done = "was unlocked already" if had_it else "unlocked"
    reporter.summary(value, f"{done}: key {computed.hex()} in {shown(place.mount.place)}")
    seen = f", and at {', '.join(others)}" if others else ""
    reporter.note(
        "the key belongs to the file system, not to you or this shell: all processes, services and containers that "
        f"see this mount{seen} can read what it encrypts, as far as modes let them"
    )
    return Exit.DONE


@dataclass(frozen=True)
class Wish:
    """How `lock` was asked to go about it.

    Args:
        all_users: remove what other users added, too.
        dry_run: only tell.
    """

    all_users: bool = False
    dry_run: bool = False


def lock(reporter: Reporter, path: Path, names: Sequence[bytes], inside: Sequence[Path], wish: Wish) -> Exit:
    """Take keys away from the kernel.

    Args:
        names: identifiers of the keys. When there are none: those of the policies of `path` and `inside`, or else
            those that the caller has added.
        inside: encrypted directories of the same file system.
    """
    with opened(path) as place, explained(place.mount):
        mount = place.mount
        wanted = list(dict.fromkeys(names or _names_of_policies(place, inside) or own_claims(place.keys)))
    if not wanted:
        raise Failure(
            Exit.NOT_FOUND,
            f"which key? {shown(path)} is not encrypted itself, and you have added no key there",
            remedy="name an encrypted directory, or give --key-identifier",
        )
    # the mount point: an encrypted directory that we have open would be in use
    descriptor = os.open(mount.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with explained(mount):
            locked = [_lock_one(reporter, mount, KernelKeys(descriptor), name, wish) for name in wanted]
    finally:
        os.close(descriptor)
    return Exit.DONE if wish.dry_run or all(locked) else Exit.DIFFERS


def parsed_identifier(text: str) -> bytes:
    """Read a key identifier: 32 hexadecimal digits.

    Raises:
        ValueError: it is none.
    """
    name = bytes.fromhex(text)
    if len(name) != IDENTIFIER_SIZE:
        raise ValueError
    return name


def _lock_one(reporter: Reporter, mount: KernelMount, keys: KernelKeys, name: bytes, wish: Wish) -> bool:
    """Lock by one key; whether all that it encrypts is locked then."""
    before = keys.status(name)
    value: dict[str, object] = {"mount": shown(mount.place), "key_identifier": name.hex()}
    what = f"key {name.hex()} in {shown(mount.place)}"
    if before.presence is Presence.ABSENT:
        reporter.summary(value | {"state": "absent"}, f"locked already: {what} is not there")
        return True
    others = before.others
    if wish.dry_run:
        found = holders(mount.device, name)
        stays = others > 0 and not wish.all_users
        text = f"would keep {what}: {others_text(others)}" if stays else f"would take away {what}"
        if found.found:
            text += f"; {len(found.found)} uses would keep files readable:\n{_listed(found)}"
        value |= {"would": "keep" if stays else "lock", "other_users": others, **_held(found)}
        reporter.answer(value, text + _unseen(found))
        return not stays and not found.found
    if others and not before.added_by_self and not wish.all_users:
        value |= {"state": "unlocked", "other_users": others}
        reporter.answer(
            value,
            f"still unlocked: {what} was not added by you, {others_text(others)}. Nothing was changed.\n"
            "  Next: have them lock it, or as root add --all-users.",
        )
        return False
    removal = keys.remove(name, all_users=wish.all_users)
    if removal.other_users:
        value |= {"state": "unlocked", "other_users": keys.status(name).users}
        reporter.answer(
            value,
            f"still unlocked: {what} is yours no longer, but {others_text(keys.status(name).users)}, and files stay "
            "readable for everybody, you included.\n  Next: have them lock it, or as root add --all-users.",
        )
        return False
    if not removal.files_busy:
        reporter.summary(value | {"state": "locked"}, f"locked: {what} is gone")
        return True
    found = holders(mount.device, name)
    value |= {"state": "partially locked", **_held(found)}
    reporter.answer(value, _partially(mount, name, found))
    return False


def _partially(mount: KernelMount, name: bytes, found: Holders) -> str:
    again = "this command"
    if len(name) == IDENTIFIER_SIZE:
        again = f"`cephfs-fscrypt lock {shown(mount.place)} --key-identifier {name.hex()}`"
    head = f"partially locked: key {name.hex()} in {shown(mount.place)} is gone, but files in use stay readable until "
    if not found.found:
        return (
            f"{head}they are let go, and nobody was found who has them{_unseen(found)}\n"
            f"  Next: run {again} once more; else look for NFS exports, loop devices and swap files there"
        )
    return f"{head}these let them go:\n{_listed(found)}{_unseen(found)}\n  Next: end those, then run {again}"


def _listed(found: Holders) -> str:
    return "\n".join(
        f"  mount at {shown(one.path)} (seen by process {one.pid}): unmount it"
        if one.how == "mount"
        else f"  process {one.pid} ({shown(one.command)}): {one.how} {shown(one.path)}"
        for one in found.found
    )


def _held(found: Holders) -> dict[str, object]:
    return {
        "holders": [
            {"pid": one.pid, "command": shown(one.command), "how": one.how, "path": shown(one.path)}
            for one in found.found
        ],
        "processes_not_seen": found.unseen,
    }


def _unseen(found: Holders) -> str:
    if not found.unseen:
        return ""
    return f"\n  {found.unseen} processes of other users could not be looked into: run it as root to see them"


def _names_of_policies(place: Place, inside: Sequence[Path]) -> list[bytes]:
    found = [] if place.policy is None else [place.policy.key]
    for path in inside:
        with opened(path) as other:
            if other.mount.device != place.mount.device:
                raise Failure(
                    Exit.USAGE, f"{shown(path)} does not lie in what is mounted at {shown(place.mount.place)}"
                )
            if other.policy is None:
                raise Failure(Exit.NOT_FOUND, f"{shown(path)} is not encrypted")
            found.append(other.policy.key)
    return found


def _require_provable(place: Place) -> None:
    if place.policy is not None and place.policy.version == 1:
        raise Failure(
            Exit.REFUSED,
            f"{shown(place.path)} has a policy of version 1, whose name for the key proves nothing: "
            "the kernel would take any key for it, and write with it",
            remedy="copy the data into a directory with a policy of version 2",
        )
