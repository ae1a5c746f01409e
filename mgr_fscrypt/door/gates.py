"""Who is kept out: `ceph fscrypt gate ...`."""

from mgr_module import HandleCommandResult

from ..control.gates import Wanted
from .command import Command, MaybeText
from .desk import Desk


class GateCommands(Desk):
    """Gates of encrypted subtrees."""

    @Command("fscrypt gate show", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_gates(
        self,
        fs: MaybeText = None,
        path: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Show gates and how they stand; of one PATH, the lines that change caps and take it back"""
        self.observer.refresh()
        return self.reply(lambda: self.gates.show(fs, path), format)

    @Command("fscrypt gate preview", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def preview_gate(
        self,
        fs: str,
        path: str,
        rung: str,
        _end_positional_: int = 0,
        namespace: MaybeText = None,
        admit: MaybeText = None,
        keep: MaybeText = None,
        open: MaybeText = None,  # noqa: A002 - what stays open
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Show what `gate set` with the same words would do: the lines that change caps, who loses what by it"""
        wanted = Wanted(fs, path, rung, namespace, admit, keep, open)
        self.observer.refresh()
        return self.reply(lambda: self.gates.preview(wanted), format)

    @Command("fscrypt gate set", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def set_gate(
        self,
        fs: str,
        path: str,
        rung: str,
        _end_positional_: int = 0,
        namespace: MaybeText = None,
        admit: MaybeText = None,
        keep: MaybeText = None,
        open: MaybeText = None,  # noqa: A002 - what stays open
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Keep clients out of a subtree: RUNG observe, isolate or exclude; of the whole file system (/): require"""
        wanted = Wanted(fs, path, rung, namespace, admit, keep, open)
        said = {"namespace": namespace, "admit": admit, "keep": keep, "open": open}
        options = [word for name, value in said.items() if value is not None for word in (f"--{name}", value)]
        reply = self.act("gate set", (fs, path, rung, *options), lambda: self.gates.set(wanted), format)
        self.observer.hurry()
        return reply
