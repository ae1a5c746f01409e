"""``cephfs-fscrypt``: what a person or a service does with encrypted subtrees on a client host.

`commands` is the program; each noun or verb has its own module, and `advice` turns what goes wrong into words
and exit codes.
"""
