"""The API: each command of `ceph fscrypt` as an operation, for programs and for the pages.

It means what the command means, since it is the command: `desk` gives its result instead of a terminal's text. Two
doors bring requests: `server`, of our own, and Ceph's dashboard, where there is one.
"""
