"""Search all that the servers hold: each object of each pool, with its attributes and omap, in every namespace."""

import rados

from qa.demo.scan import scan_pool

from .forms import Leak, Needles, Searched


def search_objects(cluster: rados.Rados, needles: Needles) -> Searched:
    """Search all pools of a cluster."""
    items = size = 0
    leaks = set[Leak]()
    for pool in cluster.list_pools():
        scanned = scan_pool(cluster, pool, needles.named, with_omap=True)
        items += scanned.objects
        size += scanned.size
        leaks |= {
            Leak(f"object {name} of pool {pool}", *needles.named[pattern])
            for name, patterns in scanned.found.items()
            for pattern in patterns
        }
    return Searched("objects", items, size, frozenset(leaks))
