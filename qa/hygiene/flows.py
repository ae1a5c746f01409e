"""What is done with the secret while it is searched for: each flow is commands as a person runs them."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mgr_fscrypt.client.outcome import Exit
from mgr_fscrypt.format import MasterKey, Policy
from qa.fakes import encrypted_ext4
from qa.fakes.encrypted_ext4 import UnavailableError, make_encrypted

from .forms import Secret

_ROOT = Path(__file__).resolve().parents[2]
_MODULE = "mgr_fscrypt.client.commands"
_LOUD = "[client]\ndebug_client = 20\ndebug_objecter = 20\ndebug_monc = 20\ndebug_ms = 5\n"
_LARGE = 4 << 20

# a mistake of ours, at a moment in which the key is known
_BROKEN = """
import sys
from mgr_fscrypt.client import commands, listing
def broken(*arguments, **named):
    raise ZeroDivisionError("planted")
listing.ls = broken
sys.exit(commands.main(sys.argv[1:]))
"""

_KEEPING = """
import sys
from pathlib import Path
from qa.hygiene.keeping import main
main(Path(sys.argv[2]))
"""

_PROGRAMMED = """
import sys
from qa.hygiene.programmed import main
main(*sys.argv[2:])
"""


class FlowError(Exception):
    """A command did not end as it should, so that nothing is proved; the message holds its last words."""


class Program:
    """Runs ``cephfs-fscrypt``, and keeps all that it says.

    Args:
        outputs: a directory, for one file for each stream.
    """

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._count = 0

    def __call__(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        code: int = Exit.DONE,
        text: str = "",
        says: str = "",
    ) -> None:
        """Run one command, which must end with `code`.

        Args:
            says: what must be among its errors.
            text: a Python program that is run in place of ours.
        """
        how = ["-c", text] if text else ["-m", _MODULE]
        self._count += 1
        name = self._outputs / f"{self._count:03}-{arguments[0]}"
        with name.with_suffix(".out").open("wb") as out, name.with_suffix(".err").open("wb") as err:
            ended = subprocess.run(
                [sys.executable, *how, *map(str, arguments)],
                input=stdin,
                stdout=out,
                stderr=err,
                check=False,
                cwd=_ROOT,
            )
        words = name.with_suffix(".err").read_text(errors="replace")
        if ended.returncode != code:
            raise FlowError(f"{' '.join(map(str, arguments))}: exit code {ended.returncode}: {words[-500:]}")
        if says not in words:
            raise FlowError(f"{' '.join(map(str, arguments))}: does not say {says!r}: {words[-500:]}")


@dataclass(frozen=True)
class Scene:
    """Where the flows act.

    Args:
        program: what they run.
        folder: a directory for all that they make.
        key: the key file.
        conf: of Ceph, with the clients' logs at their loudest.
        subtree: a path on CephFS that is free.
        passphrase: for wrapping the key.
        secrets: what is searched for; flows add what they make.
    """

    program: Program
    folder: Path
    key: Path
    conf: Path
    subtree: str
    passphrase: str
    secrets: list[Secret] = field(default_factory=list, kw_only=True)

    @property
    def cache(self) -> Path:
        """The directory of the mount's cache."""
        return self.folder / "cache"

    @property
    def mount_log(self) -> Path:
        """The log of the mount."""
        return self.folder / "mount.log"

    def ours(self) -> list[str | Path]:
        """The options for the cluster and the key."""
        return ["--conf", self.conf, "--key", self.key]

    def holders(self) -> list[list[str]]:
        """Programs that hold the key until they are ended: our command, of which nobody reads what it prints, and one
        of the Python API that has the key in its own memory."""
        words = ["cat", f"{self.subtree}/tree/large", *map(str, self.ours())]
        found = f"import sys; sys.path.insert(0, {str(_ROOT)!r})\n"
        return [
            [sys.executable, "-P", "-c", found + _RUN, *words],
            [sys.executable, "-P", "-c", found + _HOLD, str(self.conf), str(self.key)],
        ]


_RUN = "from mgr_fscrypt.client.commands import main\nsys.exit(main(sys.argv[1:]))"
_HOLD = """
import signal
from pathlib import Path
from mgr_fscrypt.cephfscrypt import MasterKey, connect
with connect(conf=sys.argv[1], key=MasterKey(Path(sys.argv[2]).read_bytes())):
    print("ready", flush=True)
    signal.pause()
"""

Flow = Callable[[Scene], None]


def set_up(folder: Path, conf: Path, subtree: str) -> Scene:
    """Let the program make a key, and make a passphrase: the first secrets."""
    outputs = folder / "outputs"
    outputs.mkdir()
    program = Program(outputs)
    loud = folder / "ceph.conf"
    loud.write_text(conf.read_text().replace("[client]\n", _LOUD))
    key = folder / "generated.key"
    while not key.exists() or b"\n" in key.read_bytes():
        key.unlink(missing_ok=True)
        program("key", "generate", key, "--json")
    program("key", "generate", key, code=Exit.REFUSED)
    tree = folder / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "small").write_bytes(b"hello\n")
    (tree / "large").write_bytes(os.urandom(_LARGE))
    (tree / "sub" / "link").symlink_to("../small")
    scene = Scene(program, folder, key, loud, subtree, f'pass "{secrets.token_urlsafe(24)}" größe')
    scene.secrets.append(Secret("master key", key.read_bytes()))
    scene.secrets.append(Secret("passphrase", scene.passphrase.encode()))
    return scene


def subtree(scene: Scene) -> None:
    """Make a subtree, and ask about it."""
    run, top = scene.program, scene.subtree
    run("subtree", "create", top, "--make", "--dry-run", *scene.ours())
    run("subtree", "create", top, "--make", "--json", *scene.ours())
    run("subtree", "status", top, *scene.ours())
    run("subtree", "status", top, "--facts", "--conf", scene.conf)
    run("subtree", "release", top, "--dry-run", *scene.ours())


def copying(scene: Scene) -> None:
    """Copy in, look, copy out; the key from a file and from standard input."""
    run, top, secret = scene.program, scene.subtree, scene.key.read_bytes()
    run("put", scene.folder / "tree", top, *scene.ours())
    run("put", "--replace", scene.folder / "tree", top, "--conf", scene.conf, "--key", "-", stdin=secret)
    hexadecimal = secret.hex().encode() + b"\n"
    run("ls", "-lR", top, "--conf", scene.conf, "--key", "-", stdin=hexadecimal)
    run("ls", "-lR", "--json", top, *scene.ours())
    run("cat", f"{top}/tree/small", *scene.ours())
    run("get", f"{top}/tree", scene.folder / "back", *scene.ours())
    run("fsck", top, *scene.ours())


def refusals(scene: Scene) -> None:
    """Let commands fail that know the key, or nearly so."""
    run, top, secret = scene.program, scene.subtree, scene.key.read_bytes()
    for name, data in (("long", secret + b"x"), ("odd", secret.hex().encode() + b"0")):
        file = scene.folder / name
        file.write_bytes(data)
        file.chmod(0o600)
        run("ls", top, "--conf", scene.conf, "--key", file, code=Exit.USAGE)
    shared = scene.folder / "shared"
    shutil.copy(scene.key, shared)
    shared.chmod(0o644)
    wishes: tuple[list[str], ...] = ([], ["--json"])
    for as_json in wishes:
        run("ls", top, "--conf", scene.conf, "--key", shared, *as_json, code=Exit.REFUSED)
        run("cat", f"{top}/absent", *scene.ours(), *as_json, code=Exit.NOT_FOUND)
        run("put", scene.folder / "tree", top, *scene.ours(), *as_json, code=Exit.REFUSED)
        run("ls", top, *scene.ours(), *as_json, code=Exit.INTERNAL, text=_BROKEN, says="Traceback")
    gone = scene.folder / "gone.conf"
    gone.write_text("[global]\nmon_host = v2:127.0.0.1:1\n")
    run("ls", top, "--conf", gone, "--key", scene.key, "--timeout", "1", code=Exit.UNREACHABLE)


def mounting(scene: Scene) -> None:
    """Mount it with a cache, read through it, unmount."""
    place = scene.folder / "mounted"
    place.mkdir()
    options: list[str | Path] = ["--cache", scene.cache, "--log", scene.mount_log]
    scene.program("mount", scene.subtree, place, *options, *scene.ours())
    try:
        for _ in range(2):
            if (place / "tree" / "large").stat().st_size != len((place / "tree" / "large").read_bytes()):
                raise FlowError("the mount does not give what it says")
    finally:
        subprocess.run(["umount", place], check=True)


def kernel(scene: Scene) -> None:
    """Give the kernel the key, and take it away; nothing where the machine has no fscrypt."""
    run = scene.program
    key = MasterKey(scene.key.read_bytes())
    try:
        with encrypted_ext4.mounted() as place:
            run("unlock", place, "--key", scene.key)
            make_encrypted(place / "encrypted", Policy(key.identifier))
            run("unlock", place / "encrypted", "--key", "-", "--json", stdin=key.expose())
            run("status", place / "encrypted", "--json")
            with (place / "encrypted" / "file").open("wb"):
                run("lock", place / "encrypted", code=Exit.DIFFERS)
            run("lock", place, "--key", scene.key)
    except UnavailableError as error:
        sys.stderr.write(f"hygiene: not with the kernel's keyring: {error}\n")
    run("unlock", "/proc", "--key", scene.key, code=Exit.REFUSED)


def keeping(scene: Scene) -> None:
    """Keep the key in RADOS, wrapped under the passphrase; open it; fail, with a traceback."""
    lines = f"{scene.key.read_bytes().hex()}\n{scene.passphrase}\n"
    program = scene.program
    program("keeping", scene.conf, stdin=lines.encode(), code=1, text=_KEEPING, says="WrongSecretError")


def kept(scene: Scene) -> None:
    """What people and their programs do with a key that is kept: by passphrase and recovery code, up to its end."""
    run, folder, conf = scene.program, scene.folder, ["--conf", str(scene.conf)]
    name, phrase, code = f"hygiene-{secrets.token_hex(4)}", folder / "phrase", folder / "code"
    phrase.touch(0o600)
    phrase.write_text(f"{scene.passphrase}\n")
    by = ["--open", f"passphrase:{phrase}", *conf]
    line = f"{scene.passphrase}\n".encode()
    cheap = ["--seconds", "0.1"]
    run("key", "create", name, "--from", scene.key, "--with", "passphrase:-", *cheap, *conf, stdin=line)
    run("key", "add", name, "--with", f"recovery-code:{code}", *by)
    scene.secrets.append(Secret("recovery code", code.read_bytes().strip()))
    run("key", "drill", name, "recovery-code", "--open", f"recovery-code:{code}", "--json", *conf)
    words = (scene.conf, scene.key, phrase, scene.subtree)
    run("programmed", *words, code=1, text=_PROGRAMMED, says="WrongSecretError")
    run("key", "rewrap", name, "passphrase", "--with", f"passphrase:{phrase}", *cheap, *by)
    run("key", "export-bundle", folder / "bundle", name, *conf)
    run("key", "recover", name, folder / "left", "--json", *by)
    run("key", "destroy", name, "--wait", "0s", "--confirm", name, *conf)
    run("key", "finish", name, *conf)
    run("key", "import-bundle", folder / "bundle", *conf, code=Exit.DIFFERS)


FLOWS: tuple[Flow, ...] = (subtree, copying, refusals, mounting, kernel, keeping, kept)
"""All of them, in an order in which each finds what it needs."""
