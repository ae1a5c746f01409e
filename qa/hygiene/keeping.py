"""A program that keeps a key in RADOS under a passphrase, opens it, and fails to open another one: with a traceback.

Standard input: the key in hexadecimal digits, and the passphrase, each on a line.
"""

import os
import sys
import time
import uuid
from pathlib import Path

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.cluster import Cluster
from mgr_fscrypt.ceph.named_objects import NamedObjects
from mgr_fscrypt.format import MasterKey
from mgr_fscrypt.keys.acts import Acts
from mgr_fscrypt.keys.audit import Audit
from mgr_fscrypt.keys.keeper import Keeper
from mgr_fscrypt.keys.passphrase import Passphrase
from mgr_fscrypt.keys.safe import NAMESPACE, Safe

_TENANT = "hygiene"


def main(conf: Path) -> None:
    """Do it all.

    Raises:
        WrongSecretError: in the end, as it should.
    """
    secret, text = sys.stdin.read().splitlines()
    master, passphrase = MasterKey(bytes.fromhex(secret)), Passphrase(text)
    with Cluster(Access(conf=conf)) as cluster:
        pool = cluster.file_system().metadata_pool
        with NamedObjects(cluster, pool, f"{NAMESPACE}.{uuid.uuid4().hex[:8]}") as objects:
            safe = Safe(objects, cluster.identity, 1)
            keeper = Keeper(safe, Audit(objects, "hygiene", time.time), "hygiene", time.time)
            acts = Acts(keeper)
            box = acts.create("kept", _TENANT, master, "phrase", passphrase)
            acts.rewrap("kept", "phrase", passphrase, [passphrase])
            if acts.unlock(safe.find(box.name), [passphrase]) != master:
                raise AssertionError("another key came back")
            print(safe.find(box.name), passphrase, master)
            other = acts.create(
                "other", _TENANT, MasterKey(os.urandom(64)), "phrase", Passphrase("another one")
            )
            acts.unlock(other, [passphrase])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
