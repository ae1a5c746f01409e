"""The Ceph releases that everything is tested on, and the Debian suites that carry them."""

from dataclasses import dataclass

# what daemons, bindings, our own code and the cipher's accelerator need in a rootfs
_PACKAGES = (
    "ca-certificates",
    "ceph-common",
    "ceph-fuse",
    "ceph-mds",
    "ceph-mgr",
    "ceph-mgr-modules-core",
    "ceph-mon",
    "ceph-osd",
    "fuse3",
    "gcc",
    "gocryptfs",
    "libc6-dev",
    "libsqlite3-mod-ceph",
    "openssl",
    "procps",
    "python3-cephfs",
    "python3-cherrypy3",
    "python3-cryptography",
    "python3-jinja2",
    "python3-rados",
    "python3-venv",
)


@dataclass(frozen=True)
class Release:
    """One Ceph release: its name, the version it is tested at, and its rootfs."""

    name: str
    version: str
    suite: str
    packages: tuple[str, ...] = _PACKAGES


# tested beside one release only: key managers and alert rules (promtool) do not know of Ceph, and Ceph's dashboard
# runs our pages on this release alone (doc/facts.md, M1, M7)
_KEY_MANAGERS = ("softhsm2",)
_MONITORING = ("prometheus",)
_PAGES = ("ceph-mgr-dashboard", "chromium", "chromium-driver", "fonts-dejavu-core")

TENTACLE = Release("tentacle", "20.2", "forky", (*_PACKAGES, *_KEY_MANAGERS, *_MONITORING, *_PAGES))
REEF = Release("reef", "18.2", "trixie")
RELEASES = {release.name: release for release in (TENTACLE, REEF)}
