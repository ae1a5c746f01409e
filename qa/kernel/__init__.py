"""The Linux kernel as a witness: `qa/run test --kernel` (doc/kernel-witness.md).

A Debian kernel boots in qemu on a host of its own, mounts the cluster with its CephFS client and the key, reads what
our engine wrote, writes what our engine reads, and works beside it.
"""
