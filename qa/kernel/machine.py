"""What is in the machine's folder (qa/lab/machine.py), and how it is used without being installed."""

import lzma
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from qa.lab.workplace import MACHINE

from .network import BUSYBOX

_LIBRARIES = f"{MACHINE}/usr/lib/x86_64-linux-gnu"
QEMU = (
    f"{MACHINE}/usr/lib64/ld-linux-x86-64.so.2",
    "--library-path",
    _LIBRARIES,
    f"{MACHINE}/usr/bin/qemu-system-x86_64",
    "-L",
    f"{MACHINE}/usr/share/qemu",
    "-L",
    f"{MACHINE}/usr/share/seabios",
)
# ciphers and sums are asked for by what they are made of, not by a module that depends on them; newer kernels have
# some of them built in
_WANTED = (
    "virtio_pci",
    "virtio_net",
    "9pnet_virtio",
    "9p",
    "crc32c_generic",
    "sha256_generic",
    "sha512_generic",
    "hmac",
    "aesni-intel",
    "xts",
    "cts",
    "cbc",
    "ecb",
    "essiv",
    "ceph",
)
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


def release() -> str:
    """The kernel's own name, as `uname -r` tells it."""
    (folder,) = Path(MACHINE, "usr/lib/modules").iterdir()
    return folder.name


def image() -> Path:
    """The kernel; newer packages have it beside the modules."""
    beside = Path(MACHINE, "usr/lib/modules", release(), "vmlinuz")
    return beside if beside.exists() else Path(MACHINE, "boot", f"vmlinuz-{release()}")


def make_initramfs(folder: Path) -> Path:
    """The first file system of a guest: busybox, `init.sh`, and modules in the order in which they can be loaded."""
    root = folder / "initramfs"
    for name in ("bin", "dev", "proc", "sys", "root", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin")
    shutil.copy(Path(__file__).with_name("init.sh"), root / "init")
    (root / "init").chmod(0o755)
    for number, data in enumerate(_modules()):
        (root / "modules" / f"{number:03}.ko").write_bytes(data)
    made = folder / "initramfs.cpio"
    words = f"cd {root} && {BUSYBOX} find . | {BUSYBOX} cpio -o -H newc"
    with made.open("wb") as output:
        subprocess.run(["sh", "-c", words], check=True, stdout=output, stderr=subprocess.DEVNULL)
    return made


def _modules() -> Iterator[bytes]:
    """Each after those that it needs. What has no file is built in."""
    files = {file.name.partition(".")[0]: file for file in Path(MACHINE, "usr/lib/modules").rglob("*.ko.xz")}
    done = set[str]()

    def of(name: str) -> Iterator[bytes]:
        if name in done or name not in files:
            return
        done.add(name)
        data = lzma.decompress(files[name].read_bytes())
        found = _DEPENDS.search(data)
        for needed in found[1].decode().split(",") if found else ():
            yield from of(needed if needed in files else needed.replace("_", "-"))
        yield data

    for name in _WANTED:
        yield from of(name)
