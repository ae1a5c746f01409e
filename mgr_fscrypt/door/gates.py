"""Who is kept out: `ceph fscrypt gate ...`."""

from mgr_module import HandleCommandResult

from ..control.gates import Wanted
from .command import Command, MaybeNumber, MaybeText
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
        """Show gates and how they stand; of one PATH, the lines that change caps and take it back, and who was ended"""
        self.observer.refresh()
        return self.reply(lambda: self.rungs.show(fs, path), format)

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
        grace: MaybeNumber = None,
        confirm: MaybeNumber = None,
        gateway: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Show what `gate set` with the same words would do: the lines that change caps, who loses what or is ended"""
        wanted = Wanted(fs, path, rung, namespace, admit, keep, open, grace, confirm, gateway)
        self.observer.refresh()
        return self.reply(lambda: self.rungs.preview(wanted), format)

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
        grace: MaybeNumber = None,
        confirm: MaybeNumber = None,
        gateway: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Keep clients out of a subtree. RUNG: observe (take it back), isolate, exclude (caps), evict, fence (sessions); require, of PATH /. Caps: --namespace NAME of its files, --admit ENTITY,... who may, --keep NAME,... namespaces of others, --open PATH,... what others reach. Sessions: --grace SECONDS, --confirm N at most, --keep ENTITY,..., --gateway ENTITY,..."""  # noqa: E501 - ceph -h prints it as it stands
        wanted = Wanted(fs, path, rung, namespace, admit, keep, open, grace, confirm, gateway)
        said = {
            "namespace": namespace,
            "admit": admit,
            "keep": keep,
            "open": open,
            "grace": grace,
            "confirm": confirm,
            "gateway": gateway,
        }
        options = [
            word for name, value in said.items() if value is not None for word in (f"--{name}", str(value))
        ]
        reply = self.act("gate set", (fs, path, rung, *options), lambda: self.rungs.set(wanted), format)
        self.observer.hurry()
        return reply
