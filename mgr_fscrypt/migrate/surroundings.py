"""What is in the way of a migration, or to be known, and does not lie in the tree: room, quotas, snapshots, clients."""

from ..ceph.errors import CephError
from ..ceph.interface import Mount
from ..engine.directories import Directory
from ..engine.fence import strangers
from ..engine.modes import snapshots_of
from .plan import Obstacle, Plan
from .record import Direction
from .trees import attribute

CHARMAP = "ceph.dir.charmap"
"""Of directories in which other names than those that were given count (20.2); what is made in them inherits it."""


def look_around(mount: Mount, plan: Plan) -> None:
    """Note all of it."""
    path = plan.way.path
    layout = mount.layout(path)
    plan.pools.setdefault(layout.pool, path)
    if plan.way.direction is not Direction.DECRYPT:
        for pool, first in plan.pools.items():
            if mount.erasure_coded(pool):
                plan.add(Obstacle.CODED, first, pool)
    free = mount.room(layout.pool)
    if free < plan.room:
        plan.add(Obstacle.SPACE, path, f"{plan.room} bytes are needed, {free} are free")
    _look_at_quotas(mount, plan)
    for name in snapshots_of(mount, Directory(path, path, 0)):
        plan.add(Obstacle.SNAPSHOTS, path, name.decode(errors="replace"))
    if plan.totals.get("snapshots"):
        plan.add(Obstacle.SNAPSHOTS, path, f"{plan.totals['snapshots']} of directories in it")
    above = path.rpartition(b"/")[0] or b"/"
    if attribute(mount, above, CHARMAP) is not None:
        # the new tree is made in it
        plan.add(Obstacle.CASE, above)
    _look_at_clients(mount, plan)


def _look_at_clients(mount: Mount, plan: Plan) -> None:
    path = plan.way.path
    try:
        plan.sessions = strangers(mount, path)
    except CephError as error:
        plan.add(Obstacle.SESSION, path, f"not known: {error.strerror}")
    for session in plan.sessions:
        told = session.metadata
        program = told.get("kernel_version") or told.get("ceph_version", "unknown program")
        plan.add(Obstacle.SESSION, path, f"{session}, {session.capabilities} capabilities, {program}")
        if plan.way.direction is not Direction.DECRYPT and not session.engine:
            plan.add(Obstacle.UNSAFE, path, str(session))


def _look_at_quotas(mount: Mount, plan: Plan) -> None:
    """Every quota above the tree counts both trees for a time."""
    needed = {
        "ceph.quota.max_bytes": ("ceph.dir.rbytes", plan.room),
        "ceph.quota.max_files": (
            "ceph.dir.rentries",
            plan.entries,
        ),
    }
    path = plan.way.path
    while path != b"/":
        path = path.rpartition(b"/")[0] or b"/"
        for quota, (used, more) in needed.items():
            most = int(attribute(mount, path, quota) or 0)
            there = int(attribute(mount, path, used) or 0)
            if most and there + more > most:
                plan.add(
                    Obstacle.QUOTA, path, f"{quota} is {most}: {there} are there already, {more} are to come"
                )
