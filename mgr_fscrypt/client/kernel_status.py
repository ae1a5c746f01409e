"""``status``: what encrypts a directory of a mount by the kernel, and whether the kernel has the key."""

from pathlib import Path

from .advice import shown
from .kernel_keys import KeyStatus, Presence
from .kernel_places import explained, opened, other_mounts, own_claims
from .outcome import Exit
from .report import Reporter


def status(reporter: Reporter, path: Path) -> Exit:
    """Tell what encrypts a directory, and whether the kernel has the key."""
    with opened(path) as place, explained(place.mount):
        names = own_claims(place.keys) if place.policy is None else [place.policy.key]
        found = [(name, place.keys.status(name)) for name in names]
        mount, policy, others = place.mount, place.policy, other_mounts(place.mount)
    lines = [
        f"path      {shown(path)}",
        f"mount     {shown(mount.place)} ({mount.kind}, {shown(mount.source)})",
        *(f"          also at {other}" for other in others),
    ]
    value: dict[str, object] = {
        "path": shown(path),
        "mount": shown(mount.place),
        "kind": mount.kind,
        "source": shown(mount.source),
        "also_at": others,
        "encrypted": policy is not None,
    }
    if policy is None:
        lines.append("policy    none: not encrypted itself")
    else:
        lines += (
            f"contents  {policy.contents_mode.title}",
            f"names     {policy.names_mode.title}, padded to {policy.padding} bytes",
            f"policy    version {policy.version}",
        )
        value |= {
            "contents": policy.contents_mode.title,
            "names": policy.names_mode.title,
            "padding": policy.padding,
            "policy_version": policy.version,
        }
    for name, one in found:
        lines.append(f"key       {name.hex()}: {_state(one)}")
    if not found:
        lines.append("key       none that you have added")
    value["keys"] = [
        {
            "key_identifier": name.hex(),
            "presence": one.presence.title,
            "users": one.users,
            "added_by_you": one.added_by_self,
        }
        for name, one in found
    ]
    reporter.answer(value, "\n".join(lines))
    return Exit.DONE


def others_text(count: int) -> str:
    """Tell of other users who have added a key: the kernel counts them, and names none."""
    return f"{count} other user{'s' if count != 1 else ''} added it"


def _state(found: KeyStatus) -> str:
    match found.presence:
        case Presence.ABSENT:
            return "absent (locked)"
        case Presence.INCOMPLETELY_REMOVED:
            return "incompletely removed: files that were in use are readable still; `lock` once more tells whose"
        case Presence.PRESENT:
            if not found.users:
                # keys of version 1, which belong to nobody
                return "present (unlocked)"
            yours = "added by you" if found.added_by_self else "not added by you"
            return f"present (unlocked), {yours}" + (f", {others_text(found.others)}" if found.others else "")
