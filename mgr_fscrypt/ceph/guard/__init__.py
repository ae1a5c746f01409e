"""libcephfs in a process of its own, whose death costs a retry (doc/facts.md F4, F5).

`mount.GuardedMount` is a `Mount` that sends each call to a child process, `child`. When libcephfs aborts the child, a
successor ends the dead session and goes on; no acknowledged data is lost, and what could not be kept is an error.
librados does not abort: the cluster's commands and the leases stay with the parent, and outlive a child. The child gets
ciphertext and stored names only.
"""
