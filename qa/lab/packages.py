"""Packages of a checkout: the wheel, and Debian's, made by Debian's own tools in a rootfs that has them."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import rootfs
from .cache import Cache
from .chamber import Bind, Chamber
from .releases import REEF, TENTACLE, Release
from .report import Progress, StepError
from .source import SOURCE

_CEPH_ALONE = (
    "ca-certificates",
    "ceph-common",
    "ceph-mds",
    "ceph-mgr",
    "ceph-mgr-modules-core",
    "ceph-mon",
    "ceph-osd",
    "procps",
    "python3-venv",
)
BARE = Release("bare", TENTACLE.version, TENTACLE.suite, _CEPH_ALONE)
"""A host with Ceph from Debian, and nothing of ours nor for us; python3-venv is for an administrator."""
BARE_REEF = Release("bare-reef", REEF.version, REEF.suite, _CEPH_ALONE)
"""The same where Debian's `cryptography` is too old for our packages."""

IMAGES = Release("images", TENTACLE.version, TENTACLE.suite, ("buildah", "ca-certificates", "netavark"))
"""What builds container images without a daemon."""

BUILDER = Release(
    "packages",
    TENTACLE.version,
    TENTACLE.suite,
    (
        "build-essential",
        "debhelper",
        "dh-python",
        "lintian",
        "pybuild-plugin-pyproject",
        "python3-all",
        "python3-argparse-manpage",
        "python3-cephfs",
        "python3-cryptography",
        "python3-rados",
        "python3-setuptools",
        "python3-shtab",
        "systemd",
    ),
)
"""What packaging/debian/control asks for, and what looks at the outcome."""

_VERSIONS = {
    "setup.cfg": r"^(version = )\S+$",
    "mgr_fscrypt/messages/release.py": r'^(RELEASE = )"\S+"$',
    "packaging/debian/changelog": r"^(cephfs-fscrypt )\(\S+\)",
}
"""Where a checkout says which release it is."""
_FORMS = {"setup.cfg": "{}", "mgr_fscrypt/messages/release.py": '"{}"', "packaging/debian/changelog": "({})"}


@dataclass(frozen=True)
class Built:
    """What was made: packages for apt, the wheel, and what lintian complains of."""

    version: str
    debs: tuple[Path, ...]
    wheel: Path
    complaints: tuple[str, ...]


def version_of(source: Path) -> str:
    """Which release a checkout is."""
    found = re.search(
        _VERSIONS["setup.cfg"].replace(r"\S+", r"(\S+)"), (source / "setup.cfg").read_text(), re.M
    )
    assert found is not None
    return found[2]


def call_it(source: Path, version: str) -> None:
    """Have a copy of the checkout say that it is another release."""
    for name, pattern in _VERSIONS.items():
        file = source / name
        text, count = re.subn(pattern, rf"\g<1>{_FORMS[name].format(version)}", file.read_text(), flags=re.M)
        assert count >= 1, name
        file.write_text(text)


def build(source: Path, cache: Cache, progress: Progress) -> Built:
    """Make the packages of a copy of the checkout, beside it.

    Raises:
        StepError: with the log of what could not be made.
    """
    version, into = version_of(source), source.parent
    shutil.copytree(source / "packaging/debian", source / "debian")
    progress.say(f"making the wheel and Debian's packages of {version}")
    with _inside(BUILDER, into, cache, progress) as run:
        run(
            "the wheel",
            source.name,
            "python3",
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            "/src",
        )
        run("Debian's packages", source.name, "dpkg-buildpackage", "-us", "-uc", "-b")
        complaints = _complaints(
            run("lintian", ".", "bash", "-c", "lintian --tag-display-limit 0 *.changes || true")
        )
    (wheel,) = into.glob(f"cephfs_fscrypt-{version}-*.whl")
    return Built(version, tuple(sorted(into.glob(f"*_{version}_*.deb"))), wheel, complaints)


def build_fuse_bindings(into: Path, cache: Cache, progress: Progress) -> Path:
    """Make the package of mfusepy, which Debian does not have, of its own release; raises as `build`."""
    progress.say("making Debian's package of mfusepy")
    release = (SOURCE / "packaging/mfusepy/debian/changelog").read_text().partition("(")[2].partition(")")[0]
    # the tools of packages have no pip
    with _inside(TENTACLE, into, cache, progress) as run:
        run("an environment with pip", ".", "python3", "-m", "venv", "/tmp/pip")  # noqa: S108 - the chamber's own
        download = ("/tmp/pip/bin/pip", "download", "--quiet", "--no-deps", "--no-binary=:all:")  # noqa: S108
        run("mfusepy's release", ".", *download, f"mfusepy=={release}")
        run("unpacking it", ".", "tar", "--no-same-owner", "-xf", f"mfusepy-{release}.tar.gz")
    source = into / f"mfusepy-{release}"
    shutil.copytree(SOURCE / "packaging/mfusepy/debian", source / "debian")
    with _inside(BUILDER, into, cache, progress) as run:
        run("the package of mfusepy", source.name, "dpkg-buildpackage", "-us", "-uc", "-b")
    (made,) = into.glob("python3-mfusepy_*.deb")
    return made


@contextmanager
def _inside(release: Release, folder: Path, cache: Cache, progress: Progress) -> Iterator[Callable[..., str]]:
    """A chamber of `release` that sees the folder as /src; what is given runs a command in a folder there, and answers
    what it printed."""
    chamber = Chamber.start(rootfs.obtain(release, cache, progress), [Bind(folder, "/src")], detached=False)

    def run(what: str, where: str, *words: str) -> str:
        log = folder / f"{what.replace(' ', '-')}.log"
        with log.open("w") as output:
            if chamber.run("env", f"--chdir=/src/{where}", *words, output=output) != 0:
                raise StepError(f"making {what}", log)
        return log.read_text(errors="replace")

    try:
        yield run
    finally:
        chamber.end()


def _complaints(said: str) -> tuple[str, ...]:
    return tuple(line for line in said.splitlines() if line[:3] in ("E: ", "W: "))
