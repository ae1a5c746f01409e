"""What is encrypted: `ceph fscrypt status` and `ceph fscrypt subtree ...`."""

from mgr_module import HandleCommandResult

from ..control.new_subtree import NewSubtree
from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class SubtreeCommands(Desk):
    """The whole, and encrypted subtrees."""

    @Command("fscrypt status", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_status(self, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show what is encrypted on each file system"""
        return self.reply(self.overview, format)

    @Command("fscrypt subtree ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_subtrees(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        mode: MaybeText = None,
        master_key: MaybeText = None,
        tenant: MaybeText = None,
        state: MaybeText = None,
        below: MaybeText = None,
        text: MaybeText = None,
        sort: MaybeText = None,
        reverse: bool = False,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List registered subtrees: all, or those of a mode (engine, kernel), a key, a tenant, a state of their key, below a directory, with a text in their path; --sort path or registered, --reverse; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        # not --key: the program `ceph` takes that for itself
        filters = {
            "mode": mode,
            "master-key": master_key,
            "tenant": tenant,
            "state": state,
            "below": below,
            "text": text,
        }
        return self.reply(
            lambda: self.subtrees.listing(fs, after, limit, filters=filters, sort=sort, reverse=reverse),
            format,
        )

    @Command("fscrypt subtree show", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def show_subtree(self, fs: str, path: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Show what is known of one registered subtree, and of its key; of one that is being made, how far that is"""
        return self.reply(lambda: self.follow_up.told(self.subtrees.show(fs, path), fs, path), format)

    @Command("fscrypt subtree bundle", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def bundle_subtree(self, fs: str, path: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Give what a node needs to open a subtree by its own identity at a key manager: wrapped keys and the key manager's settings, no secret, for `cephfs-fscrypt --bundle FILE`"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act_at_once(
            "subtree bundle", (fs, path), lambda: self.node_bundles.give(fs, path), format
        )

    @Command("fscrypt subtree create", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def create_subtree(
        self,
        fs: str,
        path: MaybeText = None,
        _end_positional_: int = 0,
        master_key: MaybeText = None,
        subvolume: MaybeText = None,
        group: MaybeText = None,
        mode: MaybeText = None,
        namespace: MaybeText = None,
        admit: MaybeText = None,
        keep: MaybeText = None,
        open: MaybeText = None,  # noqa: A002 - what stays open
        contents: MaybeText = None,
        padding: MaybeNumber = None,
        unprotected: bool = False,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Make an encrypted subtree of a directory or of a subvolume, by a job: first a gate and a RADOS namespace keep all out but --admit ENTITY,..., then it gets its policy; --unprotected: without. --master-key NAME is needed; --keep and --open as of `gate set`"""  # noqa: E501 - ceph -h prints it as it stands
        asked = NewSubtree(
            fs_name=fs,
            path=path,
            subvolume=subvolume,
            group=group,
            key=master_key,
            mode=mode,
            contents=contents,
            padding=padding,
            namespace=namespace,
            unprotected=unprotected,
            admit=admit,
            keep=keep,
            open_paths=open,
        )
        self.observer.refresh()
        return self.act_at_once(
            "subtree create",
            (fs, *asked.words),
            lambda: self.subtree_jobs.create(asked, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt subtree release", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def release_subtree(
        self,
        fs: str,
        path: str,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Hand a subtree to kernel clients, by a job; other clients that can reach it have to be gone"""
        return self.act_at_once(
            "subtree release",
            (fs, path),
            lambda: self.subtree_jobs.release(fs, path, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt subtree hold", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def hold_subtree(
        self,
        fs: str,
        path: str,
        copy: bool = False,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Take a subtree back from kernel clients, by a job; --copy writes its files again, while they go on"""
        return self.act_at_once(
            "subtree hold",
            (fs, path, *["--copy"] * copy),
            lambda: self.subtree_jobs.hold(fs, path, copy=copy, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt subtree rm", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def remove_subtree(
        self,
        fs: str,
        path: str,
        _end_positional_: int = 0,
        confirm: MaybeText = None,
        with_contents: bool = False,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Remove a subtree that is empty, its gate and its record, by a job; --with-contents: with all that is in it. Asks for its path once more, --confirm PATH; --dry-run tells what would go"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act_at_once(
            "subtree rm",
            (fs, path, *["--with-contents"] * with_contents),
            lambda: self.subtree_jobs.remove(
                fs, path, contents=with_contents, confirm=confirm, dry_run=dry_run
            ),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt subtree adopt", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def adopt_subtree(
        self,
        fs: str,
        path: str,
        dry_run: bool = False,
        report: MaybeText = None,
        inbuf: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Register a subtree that exists: a job looks at it, or a report of it (no secret) is given by --report or -i FILE"""  # noqa: E501 - ceph -h prints it as it stands
        told = report or inbuf
        if told is None:
            return self.act_at_once(
                "subtree adopt",
                (fs, path),
                lambda: self.subtree_jobs.look(fs, path, dry_run=dry_run),
                format,
                dry_run=dry_run,
            )
        return self.act(
            "subtree adopt",
            (fs, path),
            lambda: self.subtrees.adopt(fs, path, told, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt subtree verify", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def verify_subtree(
        self,
        fs: str,
        path: str,
        _end_positional_: int = 0,
        rate: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Look for damage in a registered subtree, with its key, by a job that changes nothing; --rate: entries a second at most"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act_at_once(
            "subtree verify", (fs, path), lambda: self.jobs.verify(fs, path, rate=rate), format
        )

    @Command("fscrypt subtree forget", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def forget_subtree(
        self,
        fs: str,
        path: str,
        dry_run: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Drop a subtree from the register; its files and keys stay as they are"""
        return self.act(
            "subtree forget",
            (fs, path),
            lambda: self.subtrees.forget(fs, path, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )
