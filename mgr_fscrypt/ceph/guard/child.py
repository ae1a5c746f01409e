"""The child's process: libcephfs, until it dies or its parent does.

Started as `python -P -m mgr_fscrypt.ceph.guard.child NUMBER`, never forked (doc/facts.md F15). NUMBER is its end of the
control socket, on which it is told how to mount, gets a connection for each call that is under way at a time, and is
told to end. Without a parent it ends at once, and leaves its session to others (doc/facts.md F14, M11).
"""

import socket
import sys

from ..cluster import Cluster
from ..errors import CephError
from ..mount import CephMount
from ..prctl import end_with_parent, keep_out_of_core_dumps
from ..reclaim import reset
from . import frames, values
from .process import DONE, REFUSED
from .service import serve


def main() -> int:
    """Mount as the parent says, and serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    end_with_parent()
    keep_out_of_core_dumps()
    (plain, session, dead), _ = frames.receive(control)
    access = values.access_of(plain)
    try:
        for each in dead:
            reset(access, each)
        with Cluster(access) as cluster, CephMount(cluster, session) as mount:
            frames.send(control, (DONE, (mount.address, mount.data_pool())))
            serve(control, mount)
    except CephError as error:
        frames.send(control, (REFUSED, values.of_error(error)))
        return 1
    # our end in good order
    frames.send(control, None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
