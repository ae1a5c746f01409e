"""The kind `adopt`: what a directory is that somebody encrypted: a kernel, ceph-csi, google/fscrypt, or we."""

from contextlib import closing

from ...ceph.interface import Mount
from ...engine import FileSystem, Keyring, NameKind
from ...engine.foreign import Foreign, foreign_at
from ...messages import MessageError, SubtreeFacts
from ...messages.job import JobWish
from ...messages.subtree_job import LOOK, FoundMetadata, LookOptions, LookResult, as_result
from ...subtree_facts import facts_of
from ..jobs import Controls, Outcome
from .place import Reach
from .subtree_place import decoded, encoded, opened, options_of

SAMPLE = 1000
"""Names of the top directory that are decrypted to see whether a key is the right one."""


class Look:
    """A `Kind`. It changes nothing."""

    name = LOOK
    changes = False
    lasting = False

    def __init__(self, reach: Reach) -> None:
        """`reach` connects."""
        self._reach = reach

    def accept(self, wish: JobWish) -> None:
        """See `Kind`."""
        options_of(LookOptions, wish.options)

    def run(self, wish: JobWish, controls: Controls) -> Outcome:
        """See `Kind`."""
        options = options_of(LookOptions, wish.options)
        path = encoded(wish.path)
        with self._reach() as place:
            mount = place.mount
            with FileSystem(mount, Keyring()) as files:
                files.require_outermost(path)
                facts, refusal = _facts(files, path)
            verified = _verified(mount, path, facts, controls) if facts and options.verify else None
            foreign = foreign_at(mount, path)
            result = LookResult(
                path=decoded(mount.absolute(path)),
                facts=facts,
                refusal=refusal,
                namespace=mount.layout(path).namespace,
                verified=verified,
                csi=foreign.csi,
                metadata=tuple(
                    FoundMetadata(decoded(each.path), each.policies, each.protectors)
                    for each in foreign.metadata
                ),
                advice=_advice(facts, foreign, verified),
            )
        return Outcome(as_result(result), code=1 if refusal or verified is False else 0)


def _facts(files: FileSystem, path: bytes) -> tuple[SubtreeFacts | None, str]:
    try:
        return facts_of(files, path), ""
    except MessageError as error:
        return None, str(error)


def _advice(facts: SubtreeFacts | None, foreign: Foreign, verified: bool | None) -> tuple[str, ...]:
    if facts is None:
        return ()
    found = []
    identifier = facts.policy.key_identifier
    for each in foreign.metadata:
        if identifier in each.policies:
            found.append(
                f"The policy of its key is in {decoded(each.path)}/.fscrypt, where google/fscrypt or ceph-csi "
                "have protectors that wrap the key: those tools unlock it there. It cannot be imported from there."
            )
    if verified is None:
        found.append(
            "No key was at hand that could show that its names decrypt. Whoever has the raw key keeps it here, too: "
            "`cephfs-fscrypt key create NAME --from FILE --with ...`; then look again."
        )
    if verified is False:
        found.append("Names in it do not decrypt with its key: `cephfs-fscrypt fsck` tells which.")
    return tuple(found)


def _verified(mount: Mount, path: bytes, facts: SubtreeFacts, controls: Controls) -> bool:
    """Does the key open, and do names in it decrypt? What is empty says nothing against the key.

    A key cannot have another one's identifier; but a context can be put over what was encrypted under another key. A
    name says little by itself, for what decrypts it wrongly may make a name of it; many do.
    """
    identifier = bytes.fromhex(facts.policy.key_identifier)
    with (
        controls.key(identifier) as key,
        opened(mount, key) as files,
        closing(files.scandir(path)) as entries,
    ):
        for _, entry in zip(range(SAMPLE), entries, strict=False):
            controls.check()
            if entry.name_kind is NameKind.FOREIGN:
                controls.note("foreign-name", path + b"/" + entry.stored)
                return False
    return True
