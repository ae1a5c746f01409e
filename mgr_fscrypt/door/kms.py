"""Key managers: `ceph fscrypt kms ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeText
from .desk import Desk


class KmsCommands(Desk):
    """Key managers that are known on a file system; what opens them lies on hosts."""

    @Command("fscrypt kms ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_managers(self, fs: MaybeText = None, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """List the key managers that are known, and how the engine service met them last"""
        return self.reply_at_once(lambda: self.key_managers.listing(fs), format)

    @Command("fscrypt kms test", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def test_manager(self, fs: str, kms: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Have the engine service try a key manager now: wrap and unwrap something; `kms ls` tells how that ended"""
        return self.act_at_once("kms test", (fs, kms), lambda: self.key_managers.test(fs, kms), format)

    @Command("fscrypt kms add", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def add_manager(
        self,
        fs: str,
        kms: str,
        type: str,  # noqa: A002 - as in resources
        address: str,
        its_key: str,
        file: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that makes a key manager known under the name KMS: its TYPE (vault, ...), its ADDRESS, which of ITS KEYs, and the name of the FILE with its credentials on each host"""  # noqa: E501 - ceph -h prints it as it stands
        options = {"kind": type, "address": address, "key": its_key, "file": file}
        return self.left_to_a_client(fs, ["kms", "add", kms], format, options)

    @Command("fscrypt kms trust", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def trust_manager(self, fs: str, kms: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that lets the credentials on a host be used with the settings of a key manager"""  # noqa: E501 - ceph -h prints it as it stands
        return self.left_to_a_client(fs, ["kms", "trust", kms], format)

    @Command("fscrypt kms rm", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def remove_manager(self, fs: str, kms: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that forgets a key manager; what it wrapped stays wrapped"""
        return self.left_to_a_client(fs, ["kms", "rm", kms], format)
