"""What a node needs to open a subtree by its own identity at a key manager: `ceph fscrypt subtree bundle`.

The engine service reads it, and nobody keeps it: a copy would outlive the key's end. It opens nothing by itself.
"""

import errno
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from ..messages.kms import KmsFacts
from ..messages.service import Ask, Bundled, BundleQuestion, Said
from .cluster import FileSystemMap, existing
from .refusal import RefusalError
from .results import Result
from .subtree_detail import SubtreeDetail
from .subtrees import Subtrees
from .text import shell_word
from .values import Simplified, SubtreeLine

PATIENCE = 3.0
"""Seconds that a command waits for the service to read it."""
_LOOK = 0.05


@dataclass(frozen=True)
class NodeBundle:
    """What a node needs.

    Args:
        subtree: which one, with its policy.
        managers: the key managers that open its key; no credentials.
        bundle: wrapped containers, to be put into a file there.
        mount, unlock: the lines that use the file: for a mount of ours, for one of the kernel's.
    """

    subtree: SubtreeLine
    managers: tuple[KmsFacts, ...]
    bundle: str = field(repr=False)
    mount: str
    unlock: str

    def simplified(self) -> Simplified:
        """Give plain JSON types."""
        return asdict(self)

    def plain(self) -> str:
        """Show it to a person: what is to be put into the file, and nothing else."""
        return self.bundle


class NodeBundles:
    """Gives them out.

    Args:
        ask: the engine service. Raises `RefusalError`.
        subtrees: the register; on the database's thread only.
        cluster: the file systems that there are.
        answer: does work on the database.
        now: seconds that only grow.
        pause: waits for so many seconds.
        new_ticket: gives 32 hexadecimal digits, others each time.
    """

    def __init__(
        self,
        *,
        ask: Callable[[Callable[[], Ask]], Said],
        subtrees: Subtrees,
        cluster: FileSystemMap,
        answer: Callable[[Callable[[], Result]], Result],
        now: Callable[[], float],
        pause: Callable[[float], None],
        new_ticket: Callable[[], str],
    ) -> None:
        self._ask = ask
        self._subtrees = subtrees
        self._cluster = cluster
        self._answer = answer
        self._now = now
        self._pause = pause
        self._new_ticket = new_ticket

    def give(self, fs_name: str, path: str) -> Result:
        """Have it read, and tell it. The service refuses it for a key that opens for nobody."""
        shown = self._answer(lambda: self._subtrees.show(fs_name, path))
        if not isinstance(shown.answer, SubtreeDetail):
            return shown
        line = shown.answer.subtree
        try:
            fscid = existing(self._cluster, fs_name).fscid
            found = self._read(BundleQuestion(fscid, line.key_identifier, self._new_ticket()))
        except RefusalError as refusal:
            return refusal.result
        if found.state != "read":
            code = errno.EPERM if found.state == "refused" else errno.EAGAIN
            return Result.failed(code, f"{found.error}; nothing was given out")
        with_it = "--bundle FILE --open kms"
        on = f"--fs {shell_word(fs_name)}"
        answer = NodeBundle(
            line,
            found.managers,
            found.bundle,
            mount=f"cephfs-fscrypt mount {shell_word(line.path)} DIRECTORY {on} {with_it}",
            unlock=f"cephfs-fscrypt unlock DIRECTORY {on} {with_it}",
        )
        return Result(
            status="put it into a file of the node's, which opens it by its own identity at "
            f"{', '.join(each.name for each in found.managers)}: `{answer.mount}`, or `{answer.unlock}`",
            answer=answer,
        )

    def _read(self, asked: BundleQuestion) -> Bundled:
        """Raises `RefusalError`: there is no service, or it is not done in time."""
        end = self._now() + PATIENCE
        while True:
            said = self._ask(lambda: asked)
            if not isinstance(said, Bundled):
                raise RefusalError(
                    errno.EPROTO, "the engine service is of another release; run one of the same"
                )
            if said.state != "reading":
                return said
            if self._now() >= end:
                raise RefusalError(
                    errno.EAGAIN, "the engine service is still reading it; run it again in some seconds"
                )
            self._pause(_LOOK)
