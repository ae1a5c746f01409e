"""Cephx caps of the OSDs and the MDSs: what they let an entity do with a subtree, and narrower ones.

Read strictly, by the grammar that both releases have: caps that are written in any other way are not understood, and
whoever asks has to leave them alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from .clients import at_or_below

_VALUE = r"\"[^\"]*\"|'[^']*'|[\w./-]+"
_NAMESPACE = rf"\s+namespace(?:=|\s+)(?P<namespace>(?:{_VALUE})\*?)"
_TAG = rf"\s+tag\s+(?P<application>{_VALUE})\s+(?P<key>\*|{_VALUE})\s*=\s*(?P<value>\*|{_VALUE})"
_NETWORK = r"(?P<network>\s+network\s+[\w/.:\[\]]+)?"
_OSD = re.compile(
    r"\s*allow\s+(?P<permissions>\*|all|(?:[rwx]{1,3}|class-read|class-write)(?:\s+class-(?:read|write))*)"
    rf"(?:\s+pool(?:=|\s+)(?P<pool>{_VALUE}))?"
    rf"(?:{_NAMESPACE})?(?:{_TAG})?"
    rf"(?:\s+object_prefix\s+(?P<prefix>{_VALUE}))?{_NETWORK}\s*"
)
_OSD_PROFILE = re.compile(
    rf"\s*profile(?:=|\s+)(?P<profile>{_VALUE})(?:\s+pool(?:=|\s+)(?P<pool>{_VALUE}))?"
    rf"(?:{_NAMESPACE})?{_NETWORK}\s*"
)
_MDS = re.compile(
    r"\s*allow\s+(?P<permissions>\*|all|rw?p?s?)"
    r"(?:\s+fsname=(?P<fsname>\*|[\w.-]+))?"
    r"(?:\s+path=(?P<path>\"[^\"]*\"|'[^']*'|[\w./-]+))?"
    r"(?P<rest>(?:\s+root_squash)?(?:\s+uid=\d+(?:\s+gids=\d+(?:,\d+)*)?)?)"
    rf"{_NETWORK}\s*"
)


class CapsError(Exception):
    """Caps that are not written as we know it."""


@dataclass(frozen=True)
class FileSystemPools:
    """A file system by what caps name it: its name, and its pools for data."""

    name: str
    data: AbstractSet[str]


def spans(written: str, namespace: str) -> bool:
    """Is it this namespace that is written, or a beginning of it with `*`?"""
    if written.endswith("*"):
        return namespace.startswith(written[:-1])
    return namespace == written


@dataclass(frozen=True)
class OsdGrant:
    """One grant of OSD caps. What is None is not limited.

    Args:
        text: as it is written.
        permissions: as they are written, `*` for all.
        pool, namespace, prefix: which objects; a namespace may end in `*`.
        tag: application, key and value of pools.
        network: as it is written; empty: from everywhere.
        profile: the name of the profile that stands in place of permissions.
    """

    text: str
    permissions: str
    pool: str | None = None
    namespace: str | None = None
    tag: tuple[str, str, str] | None = None
    prefix: str | None = None
    network: str = ""
    profile: str | None = None

    @property
    def reads(self) -> bool:
        """Does it let read objects?"""
        return "r" in self._plain

    @property
    def of_files(self) -> bool:
        """May it speak of objects of files, which are named by inode numbers?"""
        return self.prefix is None or re.fullmatch(r"[0-9a-f.]*", self.prefix) is not None

    @property
    def writes(self) -> bool:
        """Does it let write objects?"""
        return "w" in self._plain

    def covers(self, file_system: FileSystemPools, namespace: str) -> bool:
        """Does it speak of files in this namespace, whatever it lets one do with them?"""
        return self.of_file_system(file_system) and self.of_namespace(namespace)

    def of_file_system(self, file_system: FileSystemPools) -> bool:
        """Does it speak of a pool of the file system's data?"""
        if self.pool is not None:
            return self.pool in file_system.data
        if self.tag is not None:
            application, key, value = self.tag
            return application == "cephfs" and key in ("data", "*") and value in (file_system.name, "*")
        return True

    def of_namespace(self, namespace: str) -> bool:
        """Does it speak of this namespace?"""
        return self.namespace is None or spans(self.namespace, namespace)

    def narrowed(self, namespace: str) -> "OsdGrant":
        """The same for one namespace only."""
        words = ["allow", self.permissions] if self.profile is None else ["profile", _quoted(self.profile)]
        words += [f"pool={_quoted(self.pool)}"] if self.pool is not None else []
        words += [f"namespace={_quoted(namespace)}"]
        if self.tag is not None:
            application, key, value = self.tag
            words += ["tag", _quoted(application), f"{_quoted(key)}={_quoted(value)}"]
        words += [f"object_prefix {_quoted(self.prefix)}"] if self.prefix is not None else []
        return replace(self, namespace=namespace, text=" ".join(words) + self.network)

    @property
    def _plain(self) -> str:
        """Of `rwx class-read`, `rwx`."""
        if self.permissions in ("*", "all"):
            return "rwx"
        return "".join(word for word in self.permissions.split() if not word.startswith("class-"))


@dataclass(frozen=True)
class MdsGrant:
    """One grant of MDS caps.

    Args:
        text: as it is written.
        permissions: as they are written, `*` for all.
        fsname: the file system; None: each.
        path: the directory from which on it holds, absolute.
        rest: whom and from where, as it is written.
    """

    text: str
    permissions: str
    fsname: str | None = None
    path: str = "/"
    rest: str = ""

    @property
    def changes(self) -> bool:
        """Does it let change what it reaches?"""
        return self.permissions in ("*", "all") or "w" in self.permissions

    def meets(self, file_system: FileSystemPools, path: str) -> bool:
        """Does it let anybody meet what lies at a path, or below it?"""
        if self.fsname not in (None, "*", file_system.name):
            return False
        return at_or_below(path, self.path) or at_or_below(self.path, path)

    def limited(self, fsname: str, path: str) -> "MdsGrant":
        """The same for one file system, and from another directory on."""
        where = "" if path == "/" else f" path={_quoted(path)}"
        text = f"allow {self.permissions} fsname={fsname}{where}{self.rest}"
        return replace(self, fsname=fsname, path=path, text=text)


@dataclass(frozen=True)
class Rights:
    """What an entity's caps let it do with one subtree.

    Args:
        meets: the MDSs let it there.
        changes: they let it change what is there.
        reads, writes: the OSDs let it read and write the files' contents.
    """

    meets: bool
    changes: bool
    reads: bool
    writes: bool


def osd_grants(text: str) -> tuple[OsdGrant, ...]:
    """Read OSD caps; none where there are none. Raises `CapsError`."""
    return tuple(_osd_grant(found) for found in _matches(text, (_OSD, _OSD_PROFILE)))


def mds_grants(text: str) -> tuple[MdsGrant, ...]:
    """Read MDS caps; none where there are none. Raises `CapsError`."""
    if text.strip() == "allow":
        return (MdsGrant(text, "rwps"),)
    return tuple(
        MdsGrant(
            text=found[0].strip(),
            permissions=found["permissions"],
            fsname=found["fsname"],
            path="/" + (_plain(found["path"]) or "").strip("/"),
            rest=(found["rest"] or "") + (found["network"] or ""),
        )
        for found in _matches(text, (_MDS,))
    )


def written(grants: Sequence[OsdGrant] | Sequence[MdsGrant]) -> str:
    """Caps as Ceph takes them."""
    return ", ".join(grant.text for grant in grants)


def rights(caps: Mapping[str, str], file_system: FileSystemPools, path: str, namespace: str) -> Rights:
    """What caps let one do with a subtree.

    Args:
        caps: of an entity, by service.
        file_system: where it lies.
        path: of its top directory.
        namespace: of its files.

    Raises:
        CapsError: they are not understood.
    """
    met = [each for each in mds_grants(caps.get("mds", "")) if each.meets(file_system, path)]
    covered = [
        each
        for each in osd_grants(caps.get("osd", ""))
        if each.covers(file_system, namespace) and each.of_files
    ]
    return Rights(
        meets=bool(met),
        changes=any(each.changes for each in met),
        reads=any(each.reads for each in covered),
        writes=any(each.writes for each in covered),
    )


def _matches(text: str, shapes: Sequence[re.Pattern[str]]) -> Iterator[re.Match[str]]:
    """The grants of caps, one after the other to the very end."""
    place = 0
    while text.strip():
        found = next(filter(None, (shape.match(text, place) for shape in shapes)), None)
        end = len(text) if found is None else found.end()
        if found is None or text[end : end + 1] not in ("", ",", ";"):
            raise CapsError(f'not understood from here on: "{text[place:].strip()}"')
        yield found
        if end == len(text):
            return
        place = end + 1


def _osd_grant(found: re.Match[str]) -> OsdGrant:
    parts = found.groupdict()
    text = found[0].strip()
    profile = _plain(parts.get("profile"))
    if profile is not None and parts["pool"] is None:
        raise CapsError(f'a profile for every pool: "{text}"')
    tag = None
    if parts.get("application") is not None:
        if parts["pool"] is not None:
            raise CapsError(f'a tag beside a pool: "{text}"')
        application, key, value = (_plain(parts[name]) or "" for name in ("application", "key", "value"))
        # to Ceph, the word is the sign
        tag = (application, "*" if key == "all" else key, "*" if value == "all" else value)
    return OsdGrant(
        text=text,
        # which classes a profile calls is of no matter here: it may read and write
        permissions="rwx" if profile is not None else parts["permissions"],
        pool=_plain(parts["pool"]),
        namespace=_plain(parts["namespace"]),
        tag=tag,
        prefix=_plain(parts.get("prefix")),
        network=parts["network"] or "",
        profile=profile,
    )


def _plain(value: str | None) -> str | None:
    """Without its quotes."""
    if value is None:
        return None
    star = "*" if value.endswith("*") else ""
    inner = value.removesuffix("*") if star else value
    if len(inner) > 1 and inner[0] in "\"'" and inner[-1] == inner[0]:
        inner = inner[1:-1]
    return inner + star


def _quoted(value: str) -> str:
    star = "*" if value.endswith("*") else ""
    inner = value.removesuffix("*") if star else value
    if re.fullmatch(r"[\w./-]+", inner) or (star and not inner):
        return value
    quote = "'" if '"' in inner else '"'
    return f"{quote}{inner}{quote}{star}"
