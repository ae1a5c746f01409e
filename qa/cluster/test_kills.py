"""Clients killed at random moments under a mixed load, and another that goes on with what they left."""

import random
import time
import uuid

from mgr_fscrypt.ceph.mount import CephMount
from mgr_fscrypt.ceph.objects import Extents
from mgr_fscrypt.engine import FileSystem
from qa.fakes.engine_cases import remove
from qa.load.kills import HELD_UP, kill
from qa.load.promptness import prompt
from qa.load.seeds import seed

KILLS = 30


def test_clients_killed_at_random_moments(mount: CephMount, files: FileSystem, settled_manager: None) -> None:
    chosen, started = seed(), time.monotonic()
    chance = random.Random(chosen)
    done = []
    with Extents(mount.cluster) as objects:
        for _ in range(KILLS):
            top = f"/kills-{uuid.uuid4().hex[:8]}".encode()
            done.append(kill(files, top, chance, objects))
            assert done[-1].wrong is None, f"FSCRYPT_QA_SEED={chosen}: kill {len(done)}: {done[-1].wrong}"
            prompt(done[-1].held_up, HELD_UP, f"{done[-1].call} of a survivor")
            remove(mount, top)
    longest = max(done, key=lambda one: one.held_up)
    print(
        f"sampled: kills: {KILLS}, seed {chosen}, {sum(one.acknowledged for one in done)} operations had returned, "
        f"{sum(one.half_made for one in done)} half made; the survivor was held up for at most "
        f"{longest}; {time.monotonic() - started:.0f} s"
    )
    assert any(one.half_made for one in done), "kills that find nothing under way show little"
