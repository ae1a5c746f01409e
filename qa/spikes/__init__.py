"""Questions to a real cluster whose answers the design rests on; `doc/spikes.md` has the answers with figures.

`python3 -m qa.spikes.NAME [--seconds N] [--json]`, with CEPH_CONF naming the cluster.
"""
