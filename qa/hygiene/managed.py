"""Flows with a key manager, OpenBao: what people do with it, and what ceph-mgr's service does.

Searched for as well are the token that opens the key manager, and the keys of the tenant.
"""

import json
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.client.outcome import Exit
from mgr_fscrypt.custody import custody
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.kms import Settings
from qa.kms.bao import Bao
from qa.kms.place import told
from qa.lab.cluster import Cluster

from .flows import Flow, FlowError, Scene, set_up
from .forms import Searched, Secret
from .proof import prove

_ROOT = Path(__file__).resolve().parents[2]
_SEEN = (b"\0tenant\0", b"\0kms\0", b"mgr_fscrypt.service\0")
_PATIENCE = 180.0
"""Seconds in which another service has its turn, and has done what it should."""


@dataclass(frozen=True)
class ManagedScene(Scene):
    """A scene in which a key manager opens the keys.

    Args:
        bao: its server.
        settings: of one of its keys.
        name: of the key manager, of a tenant, and of the tenant's master key.
    """

    bao: Bao
    settings: Settings
    name: str

    @property
    def credentials(self) -> list[str | Path]:
        """The options for the cluster and the key manager."""
        return ["--conf", self.conf, "--credentials", self.bao.credentials]

    def ours(self) -> list[str | Path]:
        """See `Scene`."""
        return [*self.credentials, "--open", "kms"]

    def learn(self) -> None:
        """Search for the tenant's keys, too: as much of each as `Secret` takes."""
        with custody(Access(conf=self.conf), self.bao.credentials) as found:
            for box in found.safe.tenant_keys(self.name):
                version = int(box.key.rpartition(" ")[2])
                value = found.tenants.of_version(self.name, version, [found.managers]).expose()
                piece = max(value.split(b"\n"), key=len)
                # of 32 bytes: one in some hundred has no such piece
                if len(piece) >= 16:
                    self.secrets.append(Secret(f"tenant key {version}", piece))


def prove_managed(folder: Path, cluster: Cluster, bao: Bao) -> list[Searched]:
    """As `prove`, with these flows. The manager's service is started anew, and once more at the end."""

    def prepare(folder: Path, conf: Path, subtree: str) -> Scene:
        plain = set_up(folder, conf, subtree)
        plain.cache.mkdir()
        plain.mount_log.touch()
        name = f"hygiene-{secrets.token_hex(4)}"
        scene = ManagedScene(**vars(plain), bao=bao, settings=bao.settings(), name=name)
        _add(scene, name, scene.settings)
        fields = json.loads((bao.credentials / scene.settings.credentials).read_text())
        scene.secrets.append(Secret("token", fields["token"].encode()))
        return scene

    def flow(act: Callable[[ManagedScene], None]) -> Flow:
        def acted(scene: Scene) -> None:
            assert isinstance(scene, ManagedScene)
            act(scene)

        return acted

    flows = (flow(managing), flow(failing), flow(lambda scene: serving(scene, cluster)))
    return prove(folder, cluster, prepare=prepare, flows=flows, seen=_SEEN)


def managing(scene: ManagedScene) -> None:
    """Make a tenant and a key, use them, rotate and sign."""
    run, name, credentials = scene.program, scene.name, scene.credentials
    run("kms", "test", name, *credentials)
    run("kms", "ls", "--json", "--conf", scene.conf)
    run("tenant", "create", name, "--kms", name, *credentials)
    scene.learn()
    run("key", "create", name, "--tenant", name, "--from", scene.key, "--with", "kms", *credentials)
    run("key", "test", name, "kms", "--json", *scene.ours())
    run("subtree", "create", scene.subtree, "--make", "--key-name", name, *scene.ours())
    run("put", scene.folder / "tree", scene.subtree, *scene.ours())
    run("cat", f"{scene.subtree}/tree/small", *scene.ours())
    run("tenant", "rotate", name, "--kms-too", "--json", *credentials)
    scene.learn()
    run("key", "audit", "--sign", name, *credentials)
    run("tenant", "ls", "--json", "--conf", scene.conf)


def failing(scene: ManagedScene) -> None:
    """Be refused, and not be answered."""
    run, bao, forged = scene.program, scene.bao, f"{scene.name}-forged"
    _add(scene, forged, bao.refused(scene.settings))
    run("kms", "test", forged, *scene.credentials, code=Exit.REFUSED)
    bao.pause()
    try:
        for more in ([], ["--json"]):
            run(
                "key",
                "test",
                scene.name,
                "kms",
                *scene.ours(),
                "--timeout",
                "2",
                *more,
                code=Exit.UNREACHABLE,
            )
    finally:
        bao.resume()


def serving(scene: ManagedScene, cluster: Cluster) -> None:
    """Have ceph-mgr's service rotate the tenant's key, and keep the master key in its memory."""
    run, name = scene.program, scene.name
    python = scene.folder / "python"
    # the first three words are -P -m mgr_fscrypt.service
    python.write_text(
        f"#!/bin/sh\nshift 3\ncd {_ROOT}\nexec {sys.executable} -m mgr_fscrypt.service "
        f'--credentials {scene.bao.credentials} "$@" 2>>{scene.folder}/outputs/service.err\n'
    )
    python.chmod(0o755)
    identifier = MasterKey(scene.key.read_bytes()).identifier.hex()
    run("tenant", "rotate-every", name, "1s", "--conf", scene.conf)
    # the last one starts the service that is meant
    _options(cluster, service="child", service_resident_limit="600", service_python=str(python))
    try:
        _until(lambda: name in [each["facts"]["tenant"] for each in _rotations(cluster)], "the rotation")
        run("tenant", "rotate-every", name, "never", "--conf", scene.conf)
        scene.learn()
        cluster.ceph("fscrypt", "key", "unlock", identifier, "300")
        _until(lambda: '"state": "unlocked"' in _status(cluster), "the key")
        (scene.folder / "outputs" / "status.out").write_text(_status(cluster))
    finally:
        _options(cluster, service_resident_limit="0", service_python="")


def _add(scene: Scene, name: str, settings: Settings) -> None:
    """Make a key manager known under another name."""
    assert isinstance(scene, ManagedScene)
    scene.program("kms", "add", name, *told(settings), *scene.credentials)


def _status(cluster: Cluster) -> str:
    return cluster.ceph("fscrypt", "service", "status", "--format", "json")


def _rotations(cluster: Cluster) -> list[dict[str, Any]]:
    service = json.loads(_status(cluster))["service"]
    return [] if service is None else list(service["rotations"])


def _options(cluster: Cluster, **values: str) -> None:
    for name, value in values.items():
        cluster.ceph("config", "set", "mgr", f"mgr/fscrypt/{name}", value)


def _until(found: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not found():
        if time.monotonic() > until:
            raise FlowError(f"{what} did not come in {_PATIENCE:.0f} s")
        time.sleep(0.5)
