"""What a client can do to an encrypted subtree, and why."""

import re
from dataclasses import dataclass
from enum import StrEnum

from .caps import Rights
from .clients import Client, Software

FIRST_KERNEL = (6, 6)
"""The first kernel whose CephFS client knows fscrypt (doc/facts.md G2)."""
LAST_LIBRARY = 20
"""The last release of libcephfs that was seen not to know it."""
_BACKPORTED = re.compile(r"\.(el|fc|amzn|al|oe|ky)\d|-(generic|azure|aws|gcp)\b|default$|tlinux|uek")
"""Kernels whose vendors add parts of later ones: their number does not tell."""


class Kind(StrEnum):
    """What a client can do, from the worst."""

    HARMFUL = "harmful"
    UNKNOWN = "unknown"
    BLIND = "blind"
    HARMLESS = "harmless"


WORST_FIRST = tuple(Kind)


@dataclass(frozen=True)
class Place:
    """A subtree as a verdict needs it.

    Args:
        path: of its top directory.
        mode: "engine" or "kernel", of new files.
        namespace: the RADOS namespace of its files; empty where they have none of their own.
    """

    path: str
    mode: str
    namespace: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a client can do to one subtree.

    Args:
        kind: in one word.
        reason: in one sentence.
    """

    kind: Kind
    reason: str


def verdict(client: Client, place: Place, rights: Rights | None, *, outdated: bool = False) -> Verdict:
    """Judge a client.

    Harmless: it does no damage, or cannot get there. Blind: it sees ciphertext and, used as usual, does no damage, or
    cannot. Harmful: used as usual it writes plaintext, or is aborted and then blocks others (doc/facts.md F3 to F5,
    F14).

    Args:
        client: the session.
        place: the subtree.
        rights: what the caps that it connected with let it do with this subtree (doc/facts.md M14); None: they are not
            understood, or not known.
        outdated: its entity has other caps by now.
    """
    if client.software is Software.ENGINE:
        return Verdict(Kind.HARMLESS, "announces itself as our engine, which does as the subtree's mode asks")
    if not client.reaches(place.path):
        return Verdict(Kind.HARMLESS, f"mounted {client.root}, from where it does not meet the subtree")
    if rights is not None and not rights.meets:
        return Verdict(Kind.HARMLESS, f"the MDS caps of {client.entity} do not reach the subtree")
    if client.software is Software.MANAGER:
        return Verdict(Kind.BLIND, "one of ceph-mgr's own modules, which open no file by themselves")
    found = _by_software(client, place)
    if found.kind in (Kind.HARMLESS, Kind.BLIND):
        return found
    if rights is not None:
        found = _tempered(found, client, place, rights)
    if outdated and found.kind is not Kind.BLIND:
        kept = "it connected before a gate changed its caps, and keeps what it had until it is evicted"
        return Verdict(found.kind, f"{found.reason}; {kept}")
    return found


def may_be_harmful(client: Client) -> bool:
    """Is there any subtree that it could harm? For most clients this needs no look at caps and subtrees."""
    places = (Place(client.root, mode) for mode in ("engine", "kernel"))
    return any(verdict(client, place, None).kind is Kind.HARMFUL for place in places)


def _by_software(client: Client, place: Place) -> Verdict:
    match client.software:
        case Software.KERNEL:
            return _of_kernel(client, place)
        case Software.UNKNOWN:
            return Verdict(Kind.UNKNOWN, "does not say what it is")
        case _:
            return _of_library(client, place)


def _of_kernel(client: Client, place: Place) -> Verdict:
    if not client.release:
        return Verdict(Kind.UNKNOWN, f'a kernel client whose version "{client.text}" is not understood')
    if client.release >= FIRST_KERNEL:
        if place.mode == "kernel":
            return Verdict(
                Kind.HARMLESS, f"kernel {client.text} knows fscrypt, and the subtree is in kernel mode"
            )
        return Verdict(
            Kind.BLIND,
            f"kernel {client.text} knows fscrypt and is refused (EPERM) by files in engine mode; with the key it could "
            "make files of its own",
        )
    if _BACKPORTED.search(client.text):
        return Verdict(
            Kind.UNKNOWN, f"kernel {client.text} is older than 6.6, but its vendor may have added fscrypt"
        )
    return Verdict(
        Kind.HARMFUL, f"kernel {client.text} is older than 6.6: it takes encrypted files for plain ones"
    )


def _of_library(client: Client, place: Place) -> Verdict:
    name = {Software.GATEWAY: "a gateway on libcephfs"}.get(client.software, client.software.value)
    if not client.release:
        return Verdict(Kind.UNKNOWN, f'{name} whose version "{client.text}" is not understood')
    named = f"{name} {'.'.join(map(str, client.release))}"
    if client.release[0] > LAST_LIBRARY:
        return Verdict(Kind.UNKNOWN, f"{named} is newer than all that were tried")
    if place.mode == "kernel":
        return Verdict(
            Kind.HARMFUL,
            f"{named} does not know fscrypt: in a subtree in kernel mode it is aborted by truncates, "
            "its own and others', and then blocks others until it is evicted; what it writes is plaintext",
        )
    return Verdict(Kind.HARMFUL, f"{named} does not know fscrypt: what it writes into a file is plaintext")


def _tempered(by_itself: Verdict, client: Client, place: Place, rights: Rights) -> Verdict:
    """What the servers keep it from doing."""
    if place.mode == "kernel" and client.software is not Software.KERNEL:
        # to be aborted it need not read or write: knowing the inode is enough (doc/facts.md F4)
        return by_itself
    if not rights.reads and not rights.writes:
        return Verdict(
            Kind.BLIND,
            f"the OSD caps of {client.entity} do not reach the subtree's files"
            + (": it may still truncate, rename and remove them" if rights.changes else ""),
        )
    if not rights.changes or not rights.writes:
        return Verdict(Kind.BLIND, f"the caps of {client.entity} do not let it write there")
    return by_itself
