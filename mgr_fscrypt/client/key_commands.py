"""Which verb of `key`, `tenant` and `kms` is carried out by what."""

import argparse
from collections.abc import Callable

from ..ceph.access import Access
from ..custody import custody
from .key import Keys
from .key_managers import KeyManagers
from .outcome import Exit
from .report import Reporter
from .tenant_protectors import TenantProtectors

_KEYS: dict[str, Callable[[Keys], Exit]] = {
    "key create": Keys.create,
    "key ls": Keys.listing,
    "key show": Keys.show,
    "key rescan": Keys.rescan,
    "key add": Keys.add,
    "key remove": Keys.remove,
    "key test": Keys.test,
    "key drill": lambda keys: keys.test(drill=True),
    "key rewrap": Keys.rewrap,
    "key recover": Keys.recover,
    "key disable": Keys.disable,
    "key enable": Keys.enable,
    "key expire": Keys.expire,
    "key drill-every": Keys.drill_every,
    "key destroy": Keys.destroy,
    "key cancel": Keys.cancel,
    "key finish": Keys.finish,
    "key export-bundle": Keys.export,
    "key import-bundle": Keys.import_,
    "key audit": Keys.audit,
}
_TENANTS: dict[str, Callable[[TenantProtectors], Exit]] = {
    "tenant add": TenantProtectors.add,
    "tenant remove": TenantProtectors.remove,
    "tenant test": TenantProtectors.test,
    "tenant rewrap": TenantProtectors.rewrap,
}
_MANAGERS: dict[str, Callable[[KeyManagers], Exit]] = {
    "tenant create": KeyManagers.create,
    "tenant ls": KeyManagers.tenants,
    "tenant rotate": KeyManagers.rotate,
    "tenant rotate-every": KeyManagers.rotate_every,
    "kms add": KeyManagers.add,
    "kms trust": KeyManagers.trust,
    "kms ls": KeyManagers.listing,
    "kms test": KeyManagers.test,
    "kms rm": KeyManagers.remove,
}


def carries_out(command: str) -> bool:
    """Is it one of ours?"""
    return command in _KEYS or command in _MANAGERS or command in _TENANTS


def run(options: argparse.Namespace, reporter: Reporter, access: Access) -> Exit:
    """Do what the arguments say, on the cluster or on a bundle. Raises what `advice.failure_of` explains."""
    bundle, dry_run = getattr(options, "bundle", None), getattr(options, "dry_run", False)
    with custody(access, options.credentials, bundle=bundle, dry_run=dry_run) as found:
        if options.command in _MANAGERS:
            return _MANAGERS[options.command](KeyManagers(found, reporter, options))
        if options.command in _TENANTS:
            return _TENANTS[options.command](TenantProtectors(found, reporter, options))
        return _KEYS[options.command](Keys(found, reporter, options, access))
