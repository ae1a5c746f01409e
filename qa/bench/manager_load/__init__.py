"""A ceph-mgr whose module knows a million subtrees, and questions to it."""
