"""How things should be: `ceph fscrypt apply` and `ceph fscrypt show`."""

from dataclasses import replace

from mgr_module import HandleCommandResult

from ..control import RefusalError, Result
from ..control.declared import declared
from ..control.key_managers import NOT_ASKED
from ..messages.resource import GateResource, KmsResource
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
        """Make things as -i FILE (YAML or JSON) declares them, as `show` prints it; twice does no more than once"""
        try:
            resources = declared(inbuf)
        except RefusalError as refusal:
            result = refusal.result
            return self.act("apply", (), lambda: result, format, dry_run=dry_run)
        gated = any(isinstance(each, GateResource) for each in resources)
        if gated:
            self.observer.refresh()
        asked = any(isinstance(each, KmsResource) for each in resources)
        managers = self.key_managers.declared() if asked else NOT_ASKED
        reply = self.act(
            "apply",
            (),
            lambda: self.resources.apply(resources, managers=managers, who=self.who, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )
        if gated and not dry_run:
            self.observer.hurry()
        return reply

    @Command("fscrypt show", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_resources(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        kind: MaybeText = None,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print what there is as a file that `apply` takes: all, or of a file system, of a kind (key, gate, ...); --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        told = self.key_managers.declared()
        untold = told.untold if told.fs_name else f"key managers are not shown: {told.untold}"

        def shown() -> Result:
            page = self.resources.show(fs, after, limit, kind=kind, managers=told.managers)
            return replace(page, status=untold) if page.success else page

        return self.reply(shown, format)
