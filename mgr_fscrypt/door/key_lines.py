"""What takes a key, or what opens one: `ceph fscrypt key ...` tells the line that does it on a client."""

from collections.abc import Mapping, Sequence

from mgr_module import HandleCommandResult

from .command import Command, MaybeText
from .desk import Desk


class KeyLineCommands(Desk):
    """Acts on master keys that only a client can do."""

    @Command("fscrypt key create", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def create_key(
        self,
        fs: str,
        key: str,
        kind: str,
        _end_positional_: int = 0,
        tenant: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that makes a master key that a protector of KIND opens (kms, passphrase, ...)"""  # noqa: E501 - ceph -h prints it as it stands
        return self.left_to_a_client(fs, ["key", "create", key], format, {"tenant": tenant, "with": kind})

    @Command("fscrypt key add", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def add_protector(self, fs: str, key: str, kind: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that adds a protector of KIND to a key (kms, passphrase, recovery-code, ...)"""
        return self.left_to_a_client(fs, ["key", "add", key], format, {"with": kind})

    @Command("fscrypt key rewrap", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def rewrap_key(
        self,
        fs: str,
        key: str,
        protector: str,
        kind: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that wraps a key anew for one of its protectors, which is of KIND then"""
        return self.left_to_a_client(fs, ["key", "rewrap", key, protector], format, {"with": kind})

    @Command("fscrypt key remove", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def remove_protector(
        self,
        fs: str,
        key: str,
        protector: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that removes a protector from a key"""
        return self.left_to_a_client(fs, ["key", "remove", key, protector], format)

    @Command("fscrypt key test", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def test_protector(
        self,
        fs: str,
        key: str,
        protector: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that opens a key by one protector, and notes that it works"""
        return self.left_to_a_client(fs, ["key", "test", key, protector], format)

    @Command("fscrypt key drill", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def drill_key(
        self,
        fs: str,
        key: str,
        protector: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that shows by one protector that a key can be recovered (the recovery drill)"""
        return self.left_to_a_client(fs, ["key", "drill", key, protector], format)

    @Command("fscrypt key drill-every", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def drill_key_every(self, fs: str, key: str, time: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that sets how often a recovery drill of a key is due (180d, never)"""
        return self.left_to_a_client(fs, ["key", "drill-every", key, time], format)

    @Command("fscrypt key expire", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def expire_key(self, fs: str, key: str, day: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that sets the day from which a key should be replaced (2027-12-31, never)"""
        return self.left_to_a_client(fs, ["key", "expire", key, day], format)

    @Command("fscrypt key disable", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def disable_key(self, fs: str, key: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that lets a key open for nobody, until it is enabled"""
        return self.left_to_a_client(fs, ["key", "disable", key], format)

    @Command("fscrypt key enable", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def enable_key(self, fs: str, key: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that lets a key open again after `key disable`"""
        return self.left_to_a_client(fs, ["key", "enable", key], format)

    @Command("fscrypt key destroy", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def destroy_key(
        self,
        fs: str,
        key: str,
        _end_positional_: int = 0,
        wait: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that begins the end of a key, after a waiting time (--wait 7d)"""
        return self._ends(fs, key, ["key", "destroy", key], format, {"wait": wait})

    @Command("fscrypt key cancel", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def cancel_destruction(self, fs: str, key: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that takes `key destroy` back while its waiting time is not over"""
        return self.left_to_a_client(fs, ["key", "cancel", key], format)

    @Command("fscrypt key finish", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def finish_destruction(self, fs: str, key: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that destroys a key whose waiting time is over, for good"""
        return self._ends(fs, key, ["key", "finish", key], format)

    @Command("fscrypt key recover", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def recover_key(self, fs: str, key: str, file: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that writes a master key into a FILE there"""
        return self.left_to_a_client(fs, ["key", "recover", key, file], format)

    def _ends(
        self,
        fs: str,
        key: str,
        words: Sequence[str],
        form: str | None,
        options: Mapping[str, str | None] | None = None,
    ) -> HandleCommandResult:
        # what two people want is in the database; without them nothing waits for it
        reply = self.reply if self.destructions.wanted() else self.reply_at_once
        return reply(lambda: self.destructions.line(fs, key, self.who, words, options), form)
