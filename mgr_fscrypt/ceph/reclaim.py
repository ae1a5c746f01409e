"""End the session of a client that died, by the uuid that it announced (doc/spikes.md, 4).

libcephfs has a call for it that its Python binding lacks, so this goes through the C interface. It needs no rights
beyond those of the entity, and serves for sessions of the same entity only. The MDS fences what it ends: it blocklists
the session's address. (The dead client's librados has an address of its own, which stays as it was.)
"""

import errno
from contextlib import closing

from .access import Access
from .errors import CephError
from .raw_client import RawClient

_RESET = 1  # CEPH_RECLAIM_RESET, the only kind that the MDS has
ANNOUNCED = "fscrypt_reclaim"
"""A key of the metadata of sessions that end others, and do nothing else."""


def reset(access: Access, session_uuid: str) -> None:
    """End that session; nothing happens when it is gone already.

    The client that asks is a new one each time, which mounts nothing: a mount can hang on what the dead one held, and
    a client that once asked for an unknown uuid is told ENOENT for all others too.

    Raises:
        NotAllowedError: it is the session of another entity.
        CephError: the cluster did not answer in time, or refused.
    """
    with closing(RawClient(access, session_uuid, **{ANNOUNCED: "1"})) as client:
        try:
            client.call("ceph_start_reclaim", session_uuid.encode(), _RESET)
        except CephError as error:
            if error.errno != errno.ENOENT:
                raise
        client.run("ceph_finish_reclaim")
