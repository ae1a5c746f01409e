"""A subtree as it is asked for: what of it makes sense, before anybody is asked."""

import errno
import hashlib
import re
from dataclasses import dataclass

from ..messages.subtree import CIPHERS, MODES, PADDINGS
from ..messages.subtree_job import CreateOptions
from .asked import normal_path
from .gates import Wanted
from .refusal import RefusalError
from .text import is_unicode, shell_word

VOLUMES = "/volumes"
_NO_GROUP = "_nogroup"
_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class NewSubtree:
    """What `ceph fscrypt subtree create` was given; None: nothing was said.

    Args:
        fs_name: the file system.
        path: of the directory.
        subvolume, group: of a subvolume, in place of a path.
        key: name or identifier of its master key.
        mode: whose new files are.
        contents, padding: of the policy.
        namespace: the RADOS namespace of its files.
        unprotected: it is to have no namespace and no gate.
        admit, keep, open_paths: of its gate: see `gates.Wanted`.
    """

    fs_name: str
    path: str | None = None
    subvolume: str | None = None
    group: str | None = None
    key: str | None = None
    mode: str | None = None
    contents: str | None = None
    padding: int | None = None
    namespace: str | None = None
    unprotected: bool = False
    admit: str | None = None
    keep: str | None = None
    open_paths: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """Its path and the options that were said, as a record has them."""
        said = {
            "subvolume": self.subvolume,
            "group": self.group,
            "master-key": self.key,
            "mode": self.mode,
            "namespace": self.namespace,
            "admit": self.admit,
            "keep": self.keep,
            "open": self.open_paths,
        }
        words = [word for name, value in said.items() if value is not None for word in (f"--{name}", value)]
        return (*filter(None, [self.path]), *words, *["--unprotected"] * self.unprotected)

    @property
    def named_path(self) -> str:
        """The directory, or that of the subvolume, whose data lies in it.

        Raises:
            RefusalError: neither or both were named, or what was named cannot be one.
        """
        if (self.path is None) == (self.subvolume is None):
            raise _refused("name the directory, or a subvolume by --subvolume NAME [--group GROUP]")
        if self.group is not None and self.subvolume is None:
            raise _refused("--group goes with --subvolume")
        for each in (self.subvolume, self.group):
            if each is not None and (not each or "/" in each or each in (".", "..")):
                raise _refused(f'"{each}" is not the name of a subvolume or of a group')
        path = self.path
        if path is None:
            path = f"{VOLUMES}/{self.group or _NO_GROUP}/{self.subvolume}"
        found = normal_path(path)
        if found == "/":
            raise _refused("the root of a file system cannot be encrypted: name a directory in it")
        return found

    def require_sense(self) -> None:
        """Raises `RefusalError` where one option excludes another, or is none."""
        if self.key is None:
            raise _refused("name the key by --master-key KEY (its name or 32 hexadecimal digits)")
        if self.mode is not None and self.mode not in MODES:
            raise _refused(f'there is no mode "{self.mode}": it is {" or ".join(MODES)}')
        known = [contents for contents, _ in CIPHERS]
        if self.contents is not None and self.contents not in known:
            raise _refused(f'there is no cipher "{self.contents}" for contents: it is {" or ".join(known)}')
        if self.padding is not None and self.padding not in PADDINGS:
            raise _refused(f"names are padded to 4, 8, 16 or 32 bytes, not to {self.padding}")
        gated = {"namespace": self.namespace, "admit": self.admit, "keep": self.keep, "open": self.open_paths}
        said = [f"--{name}" for name, value in gated.items() if value is not None]
        if self.unprotected and said:
            raise _refused(f"{', '.join(said)} and --unprotected exclude each other")

    def options(self, identifier: str, namespace: str, *, dry_run: bool) -> CreateOptions:
        """What the engine service is asked for."""
        return CreateOptions(
            key=identifier,
            contents=self.contents or CIPHERS[0][0],
            padding=32 if self.padding is None else self.padding,
            mode=self.mode or MODES[0],
            namespace=namespace,
            subvolume=self.subvolume is not None,
            dry_run=dry_run,
        )

    def gate(self, path: str, namespace: str, own: str) -> Wanted:
        """The gate that it is to have, where it lies at a path.

        Args:
            path: of its top directory.
            namespace: of its files.
            own: the entity of the engine service, which is let in; empty: one whom no gate keeps out.
        """
        admitted = ",".join(filter(None, (self.admit, own)))
        return Wanted(
            fs_name=self.fs_name,
            path=path,
            rung="isolate" if self.open_paths is None else "exclude",
            namespace=namespace,
            admit=admitted,
            keep=self.keep,
            open_paths=self.open_paths,
        )

    def namespace_of(self, path: str) -> str:
        """The namespace of its files: as it was said, or a name that follows from its path."""
        if self.namespace is not None:
            if not self.namespace or not is_unicode(self.namespace) or not self.namespace.isprintable():
                raise _refused("--namespace must be a name that can be printed")
            return self.namespace
        if self.unprotected:
            return ""
        word = _PLAIN.sub("-", path.rpartition("/")[2])[:40].strip("-.")
        return f"fscrypt-{word}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"

    def client_line(self, key_name: str, opened_by: str) -> str:
        """The line that makes it on a client."""
        words = ["subtree", "create", self._where(), "--make", "--key-name", shell_word(key_name)]
        if self.namespace is not None:
            words += ["--namespace", shell_word(self.namespace)]
        return " ".join(["cephfs-fscrypt", *words, "--open", opened_by, "--fs", shell_word(self.fs_name)])

    def _where(self) -> str:
        """The path, as a shell finds it."""
        if self.path is not None:
            return shell_word(self.path)
        words = ["ceph", "fs", "subvolume", "getpath", self.fs_name, str(self.subvolume)]
        words += ["--group_name", self.group] if self.group is not None else []
        return f'"$({" ".join(map(shell_word, words))})"'


def _refused(words: str) -> RefusalError:
    return RefusalError(errno.EINVAL, f"{words}; nothing was changed")
