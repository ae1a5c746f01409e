"""What is encrypted, whoever made it: `ceph fscrypt scan`."""

from mgr_module import HandleCommandResult

from ..control.scans import KIND
from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class ScanCommands(Desk):
    """Scans of file systems."""

    @Command("fscrypt scan", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def scan(
        self,
        fs: str,
        path: MaybeText = None,
        _end_positional_: int = 0,
        register: bool = False,
        rate: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Look for encrypted subtrees, and for what does not belong into them, by a job; `subtree scanned` shows what it found, --register registers it; --rate: entries a second at most"""  # noqa: E501 - ceph -h prints it as it stands
        options = {"register": True} if register else {}
        said = options if rate is None else options | {"rate": rate}
        about = (fs, path or "/", *(f"--{name}" for name in said))
        return self.act_at_once("scan", about, lambda: self.jobs.begin(KIND, fs, path or "/", said), format)

    @Command("fscrypt subtree scanned", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_scanned(
        self,
        fs: str,
        _end_positional_: int = 0,
        standing: MaybeText = None,
        after: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Show what the newest scan found beside what is registered, and what brings the register up to date; --standing missing: only that; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        return self.reply_at_once(lambda: self.scans.listing(fs, after, standing=standing), format)
