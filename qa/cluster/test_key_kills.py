"""Keepers of keys that are killed at random moments of adding, rewrapping, removing, rotating and destroying."""

import random
import time

from mgr_fscrypt.ceph.access import Access
from qa.load.key_kills import keeper, kill
from qa.load.seeds import seed

KILLS = 20


def test_keepers_killed_at_random_moments() -> None:
    chosen, started = seed(), time.monotonic()
    chance = random.Random(chosen)
    with keeper(Access()) as survivor:
        for number in range(KILLS):
            wrong = kill(survivor, chance)
            assert wrong is None, f"FSCRYPT_QA_SEED={chosen}: kill {number + 1}: {wrong}"
        acts = sum(1 for _ in survivor.audit.records())
    print(
        f"sampled: keys: {KILLS} kills, seed {chosen}, {acts} acts told; {time.monotonic() - started:.0f} s"
    )
    assert acts > 3 * KILLS, "kills before anything was done show little"
