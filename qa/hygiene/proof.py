"""Run all flows, then search everywhere."""

import json
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import rados

from qa.lab.cluster import Cluster

from .cores import search_cores
from .database import search_database
from .decoys import left_behind, new_decoy, shown_by_a_process
from .files import search_files
from .flows import FLOWS, Flow, Scene, set_up
from .forms import Needles, Searched
from .objects import search_objects
from .processes import Watch
from .verdict import NotProvedError, believed

# what must have been seen running, or the watch looked away
_SEEN = (b"\0put\0", b"\0ls\0", b"\0mount\0")


def prove(
    folder: Path,
    cluster: Cluster,
    *,
    prepare: Callable[[Path, Path, str], Scene] = set_up,
    flows: Sequence[Flow] | None = None,
    seen: Sequence[bytes] = _SEEN,
) -> list[Searched]:
    """Use new secrets in all flows, on a real cluster, and search for them in all places.

    Args:
        folder: an empty directory for what the flows make.
        cluster: where.
        prepare: makes the scene out of the folder, Ceph's configuration and a free path.
        flows: what is done there; by default all that need no key manager.
        seen: words of processes that must have been seen.

    Raises:
        NotProvedError: a searcher has not found the decoy.
        FlowError: a flow did not go as it should.
        UnavailableError: core dumps do not go to the working directory here.
    """
    cores = folder / "cores"
    cores.mkdir()
    decoy = new_decoy()
    with Watch() as watch, shown_by_a_process(decoy):
        scene = prepare(folder, cluster.directory / "ceph.conf", f"/hygiene-{uuid.uuid4().hex[:8]}")
        for flow in FLOWS if flows is None else flows:
            flow(scene)
        # flows learn of more secrets as they go
        needles = Needles([*scene.secrets, decoy])
        dumped = search_cores(scene.holders(), cores, needles, decoy)
        _end_dead_sessions(cluster)
    missed = [words for words in seen if not watch.saw(words)]
    if missed:
        raise NotProvedError(f"no process was seen with {missed}")
    directory = cluster.directory
    with (
        rados.Rados(conffile=str(directory / "ceph.conf")) as client,
        left_behind(decoy, scene, cluster, client),
    ):
        # what the MDS holds in its journal goes into the directories' objects as well
        cluster.ceph("tell", "mds.a", "flush", "journal")
        results = [
            watch.search(needles),
            dumped,
            search_files("what our programs said", [folder / "outputs"], needles),
            search_files("the mount's cache and log", [scene.cache, scene.mount_log], needles),
            search_files("Ceph's logs", [directory / "log", directory / "crash"], needles),
            search_files("the monitor's store", [directory / "mon"], needles),
            search_objects(client, needles),
            search_database(client, needles),
        ]
    return believed(results, decoy)


def _end_dead_sessions(cluster: Cluster) -> None:
    """What was aborted left one, which the next client would wait for, and tell of."""
    for session in json.loads(cluster.ceph("tell", "mds.a", "session", "ls", "--format", "json")):
        process = session["client_metadata"].get("pid")
        if process is not None and not Path("/proc", process).exists():
            cluster.ceph("tell", "mds.a", "session", "evict", f"id={session['id']}")
