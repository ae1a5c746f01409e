"""The lab: real Ceph clusters in Debian rootfs folders, and what runs our checks in them.

Two halves. On the host: `host`, `cache`, `rootfs`, `chamber`, `steps`, `commands`. Inside a chamber
(its own mount and pid namespace, root changed to the rootfs): `init` and `cluster`. Both need nothing
but Python's standard library.
"""
