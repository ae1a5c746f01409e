"""A large directory is a stream on a real cluster, too: `qa/run soak listing` makes it a million entries."""

import time
import uuid

from mgr_fscrypt.ceph.access import Access
from mgr_fscrypt.ceph.connect import connect
from mgr_fscrypt.engine import FileSystem, Keyring
from mgr_fscrypt.format import MasterKey
from qa.load.listing import FIRST_ENTRY, SECRET, fill, judge, listed
from qa.load.promptness import prompt

COUNT = 20_000


def test_a_large_directory_is_listed_in_bounded_memory() -> None:
    top, begun = f"/listing-{uuid.uuid4().hex[:8]}", time.monotonic()
    keyring = Keyring()
    keyring.add(MasterKey(SECRET))
    with connect(Access()) as mount, FileSystem(mount, keyring) as files:
        fill(files, top, COUNT)
    made = time.monotonic() - begun
    found = listed(top, COUNT)
    # what was made stays until the cluster goes: to remove it would take as long again
    print(f"sampled: {found}; made in {made:.0f} s")
    assert judge(found, COUNT) is None
    prompt(found.first, FIRST_ENTRY, "the first entry")
