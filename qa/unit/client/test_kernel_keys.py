import errno
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mgr_fscrypt.client import kernel_keys
from mgr_fscrypt.client.kernel_keys import KernelKeys, KeyStatus, Presence, Removal
from mgr_fscrypt.client.kernel_lock import unlock
from mgr_fscrypt.client.kernel_mounts import Device, KernelMount
from mgr_fscrypt.client.kernel_places import Place, explained
from mgr_fscrypt.client.outcome import Exit, Failure
from mgr_fscrypt.client.report import Reporter
from mgr_fscrypt.format import MasterKey, Policy

KEY = MasterKey(bytes(range(64)))
NAME = KEY.identifier
MOUNT = KernelMount(1, Device(0, 50), Path("/mnt"), "ceph", "admin@fsid.cephfs=/", os.getpid())

HEADER = """
#include <stddef.h>
#include <stdio.h>
#include <linux/fscrypt.h>
#define SAY(value) printf("%lu\\n", (unsigned long)(value))
int main(void) {
    SAY(FS_IOC_GET_ENCRYPTION_POLICY_EX); SAY(FS_IOC_ADD_ENCRYPTION_KEY);
    SAY(FS_IOC_REMOVE_ENCRYPTION_KEY); SAY(FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS);
    SAY(FS_IOC_GET_ENCRYPTION_KEY_STATUS); SAY(FS_IOC_GET_ENCRYPTION_NONCE);
    SAY(offsetof(struct fscrypt_get_policy_ex_arg, policy)); SAY(sizeof(struct fscrypt_get_policy_ex_arg));
    SAY(offsetof(struct fscrypt_key_specifier, u.identifier)); SAY(sizeof(struct fscrypt_key_specifier));
    SAY(offsetof(struct fscrypt_add_key_arg, raw_size)); SAY(offsetof(struct fscrypt_add_key_arg, raw));
    SAY(offsetof(struct fscrypt_remove_key_arg, removal_status_flags));
    SAY(offsetof(struct fscrypt_get_key_status_arg, status));
    SAY(offsetof(struct fscrypt_get_key_status_arg, user_count));
    return 0;
}
"""


class Kernel:
    """Answers each request with what a test gives; keeps the last argument as it came in."""

    def __init__(self, answer: Callable[[int, bytearray], None]) -> None:
        self._answer = answer
        self.argument = b""

    def __call__(self, descriptor: int, request: int, argument: bytearray) -> None:
        assert descriptor == 7
        self.argument = bytes(argument)
        self._answer(request & 0xFF, argument)


def refusing(number: int) -> Kernel:
    def answer(request: int, argument: bytearray) -> None:
        raise OSError(number, os.strerror(number))

    return Kernel(answer)


def filling(offset: int, data: bytes) -> Kernel:
    def answer(request: int, argument: bytearray) -> None:
        argument[offset : offset + len(data)] = data

    return Kernel(answer)


def test_numbers_and_layouts_are_the_headers(tmp_path: Path):
    if shutil.which("gcc") is None or not Path("/usr/include/linux/fscrypt.h").exists():
        pytest.skip("no compiler, or no header of Linux")
    source, program = tmp_path / "say.c", tmp_path / "say"
    source.write_text(HEADER)
    subprocess.run(["gcc", "-o", program, source], check=True)
    told = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    expected = [
        kernel_keys._GET_POLICY,
        kernel_keys._ADD_KEY,
        kernel_keys._REMOVE_KEY,
        kernel_keys._REMOVE_KEY_ALL_USERS,
        kernel_keys._GET_KEY_STATUS,
        kernel_keys._GET_NONCE,
        *(8, 32, 8, 40),
        *(40, 80, 40, 64, 72),
    ]
    assert [int(word) for word in told.split()] == expected


def test_a_key_goes_in_behind_its_header_and_its_name_comes_back():
    kernel = filling(8, NAME)
    assert KernelKeys(7, kernel).add(KEY) == NAME
    assert kernel.argument == struct.pack("=II32xII32x", 2, 0, 64, 0) + KEY.expose()


@pytest.mark.parametrize(("name", "kind"), [(NAME, 2), (b"8 bytes!", 1)])
@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_removing(name: bytes, kind: int, flags: int):
    kernel = filling(40, struct.pack("=I", flags))
    expected = Removal(files_busy=bool(flags & 1), other_users=bool(flags & 2))
    assert KernelKeys(7, kernel).remove(name) == expected
    assert kernel.argument == struct.pack("=II32s24x", kind, 0, name)


def test_only_when_asked_a_key_is_removed_for_all():
    requests = []
    keys = KernelKeys(7, Kernel(lambda request, _: requests.append(request)))
    keys.remove(NAME)
    keys.remove(NAME, all_users=True)
    assert requests == [24, 25]


def test_status():
    kernel = filling(64, struct.pack("=III", 3, 1, 4))
    found = KernelKeys(7, kernel).status(NAME)
    assert found == KeyStatus(Presence.INCOMPLETELY_REMOVED, users=4, added_by_self=True)
    assert found.others == 3
    assert found.presence.title == "incompletely removed"
    assert kernel.argument == struct.pack("=II32s88x", 2, 0, NAME)


@pytest.mark.parametrize("policy", [Policy(NAME), Policy(b"8 bytes!", version=1)])
def test_policies(policy: Policy):
    encoded = policy.encode()
    kernel = filling(0, struct.pack("=Q", len(encoded)) + encoded)
    assert KernelKeys(7, kernel).policy() == policy
    assert kernel.argument == struct.pack("=Q24x", 24)
    assert KernelKeys(7, refusing(errno.ENODATA)).policy() is None


@pytest.mark.parametrize(
    ("number", "mount", "says", "code"),
    [
        (errno.ENOTTY, "ceph", "ceph at /mnt has no fscrypt in this kernel (Linux ", Exit.REFUSED),
        (errno.ENOTTY, "fuse.ceph-fuse", "fuse.ceph-fuse at /mnt is served by a program", Exit.REFUSED),
        (errno.EOPNOTSUPP, "ceph", "fscrypt is not enabled for the ceph at /mnt", Exit.REFUSED),
        (errno.EACCES, "ceph", "lets only root do this", Exit.REFUSED),
        (errno.EDQUOT, "ceph", "as many keys as the kernel lets you", Exit.REFUSED),
        (errno.ENOKEY, "ceph", "somebody else has locked it meanwhile", Exit.NOT_FOUND),
    ],
)
def test_what_an_errno_means(number: int, mount: str, says: str, code: Exit):
    where = KernelMount(1, MOUNT.device, MOUNT.place, mount, "source", 1)
    with pytest.raises(Failure) as caught, explained(where):
        KernelKeys(7, refusing(number)).remove(NAME)
    assert caught.value.code is code
    assert says in caught.value.happened
    assert caught.value.remedy


def test_an_errno_that_says_nothing_of_fscrypt_passes():
    with pytest.raises(OSError, match="Input/output"), explained(MOUNT):
        KernelKeys(7, refusing(errno.EIO)).status(NAME)


def test_a_kernel_that_computes_another_name_does_not_keep_the_key():
    requests = []
    removed = []

    def answer(request: int, argument: bytearray) -> None:
        requests.append(request)
        if request == 26:
            argument[64:68] = struct.pack("=I", 1)
        if request == 23:
            argument[8:24] = b"of another name!"
        if request == 24:
            removed.append(bytes(argument[8:24]))

    place = Place(Path("/mnt"), MOUNT, KernelKeys(7, Kernel(answer)), None)
    with pytest.raises(Failure) as caught:
        unlock(Reporter(), place, KEY)
    assert caught.value.code is Exit.INTERNAL
    assert NAME.hex() in caught.value.happened
    assert (requests, removed) == ([26, 23, 24], [b"of another name!"])
