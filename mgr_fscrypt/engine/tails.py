"""The rest of a file's last block, past its end. Readers clip it; a kernel shows it when the file grows (D4)."""

import os

from ..ceph.interface import Mount
from ..format import BLOCK_SIZE, Contents, MasterKey
from .blocks import Blocks
from .inodes import FileFacts, leased_facts


def sealed(mount: Mount, key: MasterKey, stored: bytes, facts: FileFacts) -> bool:
    """Is it zeros?"""
    first = facts.real_size - facts.real_size % BLOCK_SIZE
    if first == facts.real_size:
        return True
    with Contents(key, facts.context) as contents:
        fd = mount.open(stored, os.O_RDONLY)
        try:
            block = bytearray(mount.pread(fd, BLOCK_SIZE, first))
        finally:
            mount.close(fd)
        block.extend(bytes(BLOCK_SIZE - len(block)))
        contents.decrypt_into(block, block, first // BLOCK_SIZE, holes=True)
        return not any(block[facts.real_size - first :])


def seal(mount: Mount, key: MasterKey, stored: bytes, plain: bytes) -> None:
    """Make it zeros. For a holder of the inode's lease, and a file in engine mode."""
    fd = mount.open(stored, os.O_RDWR)
    try:
        facts = leased_facts(mount, fd, stored, plain)
        with Contents(key, facts.context) as contents:
            Blocks(mount, fd, contents).zero_tail(facts.real_size)
        mount.fsync(fd)
    finally:
        mount.close(fd)
