"""Keys: `ceph fscrypt key ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class KeyCommands(Desk):
    """Master keys as they were reported, and in the service's memory."""

    @Command("fscrypt key ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_keys(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        tenant: MaybeText = None,
        state: MaybeText = None,
        text: MaybeText = None,
        sort: MaybeText = None,
        reverse: bool = False,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List master keys that are known: all, or those of a file system, a tenant, in a state, with a text in their name; --sort identifier, name or expires, --reverse; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        filters = {"tenant": tenant, "state": state, "text": text}
        return self.reply(
            lambda: self.keys.listing(fs, after, limit, filters=filters, sort=sort, reverse=reverse), format
        )

    @Command("fscrypt key show", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_key(self, fs: str, key: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show what is known of a master key (its name or 32 hex digits): state, dates, what opens it"""
        return self.reply(lambda: self.keys.show(fs, key), format)

    @Command("fscrypt key adopt", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def adopt_key(
        self,
        fs: str,
        dry_run: bool = False,
        report: MaybeText = None,
        inbuf: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Record what a client reports of a key (no secret), by --report or -i FILE; `key rescan` does so for all"""
        text = report or inbuf
        return self.act(
            "key adopt",
            (fs,),
            lambda: self.keys.adopt(fs, text, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt key rescan", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def rescan_keys(self, fs: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Make `key ls` and `tenant ls` anew from what is kept in the cluster, which the engine service reads"""
        return self.act_at_once("key rescan", (fs,), lambda: self.rescans.begin(fs), format)

    @Command("fscrypt key unlock", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def unlock_key(self, key: str, seconds: int, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Have the engine service unlock a key (32 hex digits) by its key manager, and keep it for so many seconds"""
        return self.act_at_once(
            "key unlock", (key, str(seconds)), lambda: self.service.unlock(key, seconds), format
        )

    @Command("fscrypt key lock", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def lock_key(self, key: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Have the engine service wipe a key (32 hex digits), and stop its jobs, until it is unlocked again"""
        return self.act_at_once("key lock", (key,), lambda: self.service.lock(key), format)
