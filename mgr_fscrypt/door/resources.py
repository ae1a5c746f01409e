"""How things should be: `ceph fscrypt apply` and `ceph fscrypt show`."""

from mgr_module import HandleCommandResult

from ..control import RefusalError
from ..control.declared import declared
from ..messages.resource import GateResource
from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class ResourceCommands(Desk):
    """Resources that people declare."""

    @Command("fscrypt apply", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def apply_resources(
        self,
        dry_run: bool = False,
        inbuf: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Make things as the resources in -i FILE (YAML or JSON) declare them; twice does no more than once"""
        try:
            resources = declared(inbuf)
        except RefusalError as refusal:
            result = refusal.result
            return self.act("apply", (), lambda: result, format, dry_run=dry_run)
        gated = any(isinstance(each, GateResource) for each in resources)
        if gated:
            self.observer.refresh()
        reply = self.act(
            "apply", (), lambda: self.resources.apply(resources, dry_run=dry_run), format, dry_run=dry_run
        )
        if gated and not dry_run:
            self.observer.hurry()
        return reply

    @Command("fscrypt show", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_resources(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print what there is as resources, which apply takes; --after shows the next page"""
        return self.reply(lambda: self.resources.show(fs, after, limit), format)
