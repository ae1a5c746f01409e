"""Tenants: `ceph fscrypt tenant ...`."""

from mgr_module import HandleCommandResult

from .command import Command, MaybeNumber, MaybeText
from .desk import Desk


class TenantCommands(Desk):
    """The keys of tenants as they were reported."""

    @Command("fscrypt tenant ls", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def list_tenants(
        self,
        fs: MaybeText = None,
        _end_positional_: int = 0,
        tenant: MaybeText = None,
        kms: MaybeText = None,
        text: MaybeText = None,
        sort: MaybeText = None,
        reverse: bool = False,
        after: MaybeText = None,
        limit: MaybeNumber = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """List tenants, how old their keys are, and when they are to be rotated: all, or those of a file system, one, those whose key a key manager opens, with a text in their name; --sort tenant or rotated, --reverse; --after shows the next page"""  # noqa: E501 - ceph -h prints it as it stands
        filters = {"tenant": tenant, "kms": kms, "text": text}
        return self.reply(
            lambda: self.tenants.listing(fs, after, limit, filters=filters, sort=sort, reverse=reverse),
            format,
        )

    @Command("fscrypt tenant adopt", "rw")  # type: ignore[untyped-decorator] # ceph-mgr's
    def adopt_tenant(
        self,
        fs: str,
        dry_run: bool = False,
        report: MaybeText = None,
        inbuf: MaybeText = None,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Record what a client reports of a tenant's key (no secret), by --report or -i FILE; `key rescan` does so for all"""  # noqa: E501 - ceph -h prints it as it stands
        return self.act(
            "tenant adopt",
            (fs,),
            lambda: self.tenants.adopt(fs, report or inbuf, dry_run=dry_run),
            format,
            dry_run=dry_run,
        )

    @Command("fscrypt tenant create", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def create_tenant(self, fs: str, tenant: str, kms: str, format: MaybeText = None) -> HandleCommandResult:  # noqa: A002 - ceph's word
        """Print the cephfs-fscrypt line that makes the key of a tenant, wrapped by the key manager KMS"""
        return self.left_to_a_client(fs, ["tenant", "create", tenant], format, {"kms": kms})

    @Command("fscrypt tenant rotate", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def rotate_tenant(
        self,
        fs: str,
        tenant: str,
        kms_too: bool = False,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that makes a new key for a tenant and wraps its master keys under it; --kms-too: and a new version of the key of its key manager"""  # noqa: E501 - ceph -h prints it as it stands
        return self.left_to_a_client(fs, ["tenant", "rotate", tenant], format, {"kms-too": kms_too})

    @Command("fscrypt tenant rotate-every", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def rotate_tenant_every(
        self,
        fs: str,
        tenant: str,
        time: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that has the engine service rotate the key of a tenant by itself (90d, never)"""  # noqa: E501 - ceph -h prints it as it stands
        return self.left_to_a_client(fs, ["tenant", "rotate-every", tenant, time], format)

    @Command("fscrypt tenant add", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def add_tenant_protector(
        self,
        fs: str,
        tenant: str,
        kind: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that adds a protector of KIND to the key of a tenant (kms:NAME, recovery-code)"""  # noqa: E501 - ceph -h prints it as it stands
        return self.left_to_a_client(fs, ["tenant", "add", tenant], format, {"with": kind})

    @Command("fscrypt tenant rewrap", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def rewrap_tenant(
        self,
        fs: str,
        tenant: str,
        protector: str,
        kind: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that wraps the key of a tenant anew for one of its protectors"""
        return self.left_to_a_client(fs, ["tenant", "rewrap", tenant, protector], format, {"with": kind})

    @Command("fscrypt tenant test", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def test_tenant_protector(
        self,
        fs: str,
        tenant: str,
        protector: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that opens the key of a tenant by one protector, and notes that it works"""
        return self.left_to_a_client(fs, ["tenant", "test", tenant, protector], format)

    @Command("fscrypt tenant remove", "r")  # type: ignore[untyped-decorator] # ceph-mgr's
    def remove_tenant_protector(
        self,
        fs: str,
        tenant: str,
        protector: str,
        format: MaybeText = None,  # noqa: A002 - ceph's word
    ) -> HandleCommandResult:
        """Print the cephfs-fscrypt line that removes a protector from the key of a tenant"""
        return self.left_to_a_client(fs, ["tenant", "remove", tenant, protector], format)
