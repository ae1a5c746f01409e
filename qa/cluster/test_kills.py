"""Clients killed at random moments under a mixed load, and another that goes on with what they left."""

import random
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.ceph.objects import Extents
from qa.fakes.engine_cases import remove
from qa.load.kills import HELD_UP, Killed, kill, opened
from qa.load.promptness import prompt
from qa.load.seeds import seed

KILLS = 30
LANES = 3
"""Survivors at work at once, each with a client of its own: most of a kill is waiting."""


def lane(chosen: int, number: int) -> list[Killed]:
    """Every third kill."""
    chance, done = random.Random(f"{chosen} {number}"), []
    with connect(Access()) as mount, opened(mount) as files, Extents(mount.cluster) as objects:
        for _ in range(number, KILLS, LANES):
            top = f"/kills-{uuid.uuid4().hex[:8]}".encode()
            killed = kill(files, top, chance, objects)
            assert killed.wrong is None, f"FSCRYPT_QA_SEED={chosen}: lane {number}: {killed.wrong}"
            remove(mount, top)
            done.append(killed)
    return done


def test_clients_killed_at_random_moments(settled_manager: None) -> None:
    chosen, started = seed(), time.monotonic()
    with ThreadPoolExecutor(LANES) as lanes:
        done = [one for each in lanes.map(lane, [chosen] * LANES, range(LANES)) for one in each]
    longest = max(done, key=lambda one: one.held_up)
    print(
        f"sampled: kills: {KILLS}, seed {chosen}, {sum(one.acknowledged for one in done)} operations had returned, "
        f"{sum(one.half_made for one in done)} half made; the survivor was held up for at most "
        f"{longest}; {time.monotonic() - started:.0f} s"
    )
    assert len(done) == KILLS
    assert any(one.half_made for one in done), "kills that find nothing under way show little"
    prompt(longest.held_up, HELD_UP, f"{longest.call} of a survivor")
