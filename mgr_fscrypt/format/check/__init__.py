"""Replays vector files that kernels wrote: ``python3 -m mgr_fscrypt.format.check FILE...``.

Every stored value is computed again from the master key and the plaintext, and decrypted, and compared.
What cannot be computed is checked for agreement with the rest of the file where there is any. Not compared:
prose and provenance (what, how, generator, kernel, ceph), permission bits, the inode numbers of ext4 that no
key derives from (only that they differ), the nonces of inodes under which nothing is encrypted, and counters
of what only the recording machine saw.
"""
