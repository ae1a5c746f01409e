"""The child's side of `client.Client`: one CephFS mount that does what its parent asks, one call after another.

It ends when its parent's end of the pipe closes. Started as a file, never forked: a mount does not survive a fork.
"""

import os
import sys
from multiprocessing.connection import Connection
from types import SimpleNamespace

import cephfs


def serve(parent: Connection, entity: str, options: dict[str, str], root: str) -> None:
    """Mount `root` as `entity` with `options`, tell the parent the session's id, answer its calls until it hangs up."""
    mount = cephfs.LibCephFS(conffile=os.environ["CEPH_CONF"], auth_id=entity)
    for option, value in options.items():
        mount.conf_set(option, value)
    mount.mount(mount_root=root.encode())
    parent.send((None, mount.get_instance_id()))
    while True:
        try:
            method, arguments = parent.recv()
        except EOFError:
            break
        try:
            value = getattr(mount, method)(*arguments)
        except cephfs.Error as error:
            parent.send((error.errno, str(error)))
        else:
            # the binding's stat result is a named tuple that cannot be pickled
            fields = getattr(value, "_asdict", None)
            parent.send((None, SimpleNamespace(**fields()) if fields else value))
    mount.shutdown()


if __name__ == "__main__":
    with Connection(int(sys.argv[1])) as connection:
        serve(connection, *connection.recv())
