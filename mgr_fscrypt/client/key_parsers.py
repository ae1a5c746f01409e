"""The words of `cephfs-fscrypt key`, `tenant` and `kms`, and their help."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..custody import CREDENTIALS
from ..keys.kms import KINDS
from .openers import NEW, SOURCES, given
from .times import DAY, day, duration, waiting

Verbs = Any
"""What argparse gives to add verbs to; its type is its own matter."""
Add = Callable[..., argparse.ArgumentParser]
"""Adds a verb: where, its name, what it does, examples."""

CREATE = f"""examples:
  cephfs-fscrypt key create payroll --with passphrase
  cephfs-fscrypt key create payroll --tenant acme --with kms
  cephfs-fscrypt key create payroll --with passphrase --from /root/secret.key     (a key that is in use already)

A new random master key is made and kept in the cluster, wrapped. It is not in any file, and no server can open it.
Add a second protector at once: one that is lost takes the data with it.

{SOURCES}
{NEW}"""
ADD = f"""examples:
  cephfs-fscrypt key add payroll --with recovery-code --open passphrase
  cephfs-fscrypt key add payroll --with shares:3/5:/media/usb --open passphrase
  cephfs-fscrypt key add payroll --with escrow:company.pem --as company --open kms

{SOURCES}
{NEW}"""
REMOVE = """examples:
  cephfs-fscrypt key remove payroll passphrase

The last protector, and the last one that was ever seen to open, stay. What was copied before, into a bundle or a
backup, still opens there: for a key that others may have got hold of, re-encrypt the data under a new one.
"""
REWRAP = f"""examples:
  cephfs-fscrypt key rewrap payroll passphrase --with passphrase --open passphrase         (a new passphrase)
  cephfs-fscrypt key rewrap payroll kms --with kms --open kms                 (under the tenant's newest key)

The old container goes only after the new one was read back and opened. Changing a passphrase revokes nothing:
whoever knows the old one and has a copy of the old container can still open the key.

{SOURCES}
{NEW}"""
TEST = f"""examples:
  cephfs-fscrypt key test payroll passphrase --open passphrase
  cephfs-fscrypt key drill payroll recovery-code --open recovery-code

The key is opened for real, and nothing is loaded anywhere. A drill is a test that is due regularly
(`key drill-every`): the proof that somebody can get at the data on a bad day.

{SOURCES}"""
RECOVER = f"""examples:
  cephfs-fscrypt key recover payroll /root/payroll.key --open recovery-code
  cephfs-fscrypt key recover payroll /root/payroll.key --open shares:a --open shares:b --bundle payroll.bundle

The master key as it is, in a new file for its owner alone. Whoever has the file needs nothing else: remove it when it
has served. The key is marked as having left, for good, and the audit has who did it; so this needs caps to write there.
Out of a bundle (--bundle) it needs none, and leaves no mark.

{SOURCES}"""
DESTROY = """examples:
  cephfs-fscrypt key destroy payroll --dry-run              (what dies with it, and what it cannot reach)
  cephfs-fscrypt key destroy payroll --wait 7d
  cephfs-fscrypt key cancel payroll                         (until it is done)
  cephfs-fscrypt key finish payroll                         (when the time is over)

From the first command on the key opens for nobody; after the waiting time `finish` removes all of its protectors for
good, and leaves a tombstone. The key's name must be typed, or given as --confirm NAME.
"""
BUNDLE = """examples:
  cephfs-fscrypt key export-bundle /media/usb/keys.bundle payroll
  cephfs-fscrypt key import-bundle /media/usb/keys.bundle
  cephfs-fscrypt key show payroll --bundle /media/usb/keys.bundle

A bundle holds keys as the cluster does: wrapped. It is of use with one of their protectors only, and then without the
cluster. What was destroyed here is not brought back by one.
"""
AUDIT = """examples:
  cephfs-fscrypt key audit
  cephfs-fscrypt key audit --sign vault

Each record has the digest of the one before it; signatures are checked by the key managers that made them. Exit code 1:
the chain is broken or a signature is wrong. 6: the chain is whole, and a signature could not be checked from here.
"""
PLAIN = """Keys are named by their name or their 32 hexadecimal digits.
"""
TENANT = """examples:
  cephfs-fscrypt kms add vault --kind vault --address https://vault:8200 --key cephfs --file vault.json
  cephfs-fscrypt tenant create acme --kms vault
  cephfs-fscrypt tenant rotate acme
  cephfs-fscrypt tenant rotate-every acme 90d                (by the engine service, from now on)

A rotation touches no data: a new key wraps the tenant's master keys, and the old one is forgotten.
"""
TENANT_PROTECTORS = f"""examples:
  cephfs-fscrypt tenant add acme --with kms:second                      (a second key manager, of `kms ls`)
  cephfs-fscrypt tenant add acme --with recovery-code
  cephfs-fscrypt tenant test acme recovery-code --open recovery-code
  cephfs-fscrypt tenant rewrap acme second --with kms:second --open kms
  cephfs-fscrypt tenant remove acme vault

Each of its protectors opens the key of a tenant, and by that all master keys under it: one more, and a key manager that
is down or gone does not lose them. They are tried in the order in which they were added. The last one, and the last one
that was ever seen to open, stay.

{SOURCES}
{NEW}"""
KMS = """examples:
  cephfs-fscrypt kms add vault --kind vault --address https://vault:8200 --key cephfs --file vault.json
  cephfs-fscrypt kms test vault
  cephfs-fscrypt kms trust vault                       (on every other host that has credentials for it)

Kinds, their options and what their credentials files hold: doc/kms.md. A credentials file is used for the settings
that it was pinned to on its host (`add`, `trust`), and for no others: whoever may write where the cluster keeps them
cannot have credentials sent elsewhere.
"""


def add_verbs(keys: Verbs, add: Add) -> None:
    """The verbs of `key` that work on keys in the cluster or in a bundle."""
    one = add(keys, "create", "make a master key that is kept in the cluster", CREATE)
    _key(one)
    one.add_argument("--tenant", default="default", help="whose it is (default: default)")
    one.add_argument(
        "--from", dest="source", metavar="FILE", help="keep the key in this file instead of a new one"
    )
    one.add_argument(
        "--drill-every", type=duration, default=0, metavar="TIME", help="recovery drills, such as 180d"
    )
    _with(one)
    _dry_run(one)
    one = add(keys, "ls", "list the keys that are kept", PLAIN)
    _bundle(one)
    one = add(keys, "show", "tell all that is known of a key", PLAIN)
    _key(one)
    _bundle(one)
    add(keys, "rescan", "tell the manager of all keys that are kept: its list is an index of them", PLAIN)
    one = add(keys, "add", "add a protector to a key", ADD)
    _key(one)
    _with(one)
    _open(one)
    _dry_run(one)
    one = add(keys, "remove", "remove a protector from a key", REMOVE)
    _key(one)
    _named(one, "protector")
    _dry_run(one)
    for verb, words in (
        ("test", "open a key by one protector, and note that it works"),
        ("drill", "do the recovery drill of a key"),
    ):
        one = add(keys, verb, words, TEST)
        _key(one)
        _named(one, "protector")
        _open(one)
        _dry_run(one)
    one = add(keys, "rewrap", "wrap a key anew for one of its protectors", REWRAP)
    _key(one)
    _named(one, "protector")
    _with(one, label=False)
    _open(one)
    _dry_run(one)
    one = add(keys, "recover", "write a master key into a file", RECOVER)
    _key(one)
    one.add_argument("file", type=Path, help="where; must not exist")
    _open(one)
    _bundle(one)
    _dry_run(one)
    for verb, words in (
        ("disable", "let a key open for nobody"),
        ("enable", "end `disable`"),
        ("cancel", "end `destroy`"),
        ("finish", "destroy a key whose waiting time is over"),
    ):
        one = add(keys, verb, words, DESTROY if verb in ("cancel", "finish") else PLAIN)
        _key(one)
        _dry_run(one)
    one = add(keys, "expire", "set the day from which a key should be replaced", PLAIN)
    _key(one)
    one.add_argument("day", type=day, help="as 2027-12-31, or `never`")
    _dry_run(one)
    one = add(keys, "drill-every", "set how often a recovery drill is due", PLAIN)
    _key(one)
    one.add_argument("time", type=duration, help="such as 180d, or `never`")
    _dry_run(one)
    one = add(keys, "destroy", "begin the end of a key", DESTROY)
    _key(one)
    one.add_argument("--wait", type=waiting, default=7 * DAY, help="before it can be finished (default 7d)")
    one.add_argument("--confirm", metavar="NAME", help="the key's name, instead of typing it")
    _dry_run(one)
    one = add(keys, "export-bundle", "write wrapped keys into a file", BUNDLE)
    one.add_argument("file", type=Path, help="where; must not exist")
    one.add_argument("keys", metavar="KEY", nargs="*", help="which (default: all)")
    _dry_run(one)
    one = add(keys, "import-bundle", "bring wrapped keys back from a file", BUNDLE)
    one.add_argument("file", type=Path)
    _dry_run(one)
    one = add(
        keys, "audit", "show who did what to keys, and check that nothing was changed or dropped", AUDIT
    )
    one.add_argument("--sign", metavar="KMS", help="instead, have a key manager sign all that is there")
    _dry_run(one)


def add_tenants(verbs: Verbs, add: Add) -> None:
    """The verbs of `tenant`."""
    one = add(verbs, "create", "make the key of a tenant, which its key manager wraps", TENANT)
    _named(one, "tenant")
    one.add_argument("--kms", required=True, metavar="NAME", help="a key manager of `kms ls`")
    _dry_run(one)
    one = add(verbs, "add", "add a protector to the key of a tenant", TENANT_PROTECTORS)
    _named(one, "tenant")
    _with(one)
    _open(one)
    _dry_run(one)
    one = add(verbs, "remove", "remove a protector from the key of a tenant", TENANT_PROTECTORS)
    _named(one, "tenant")
    _named(one, "protector")
    _dry_run(one)
    one = add(
        verbs, "test", "open the key of a tenant by one protector, and note that it works", TENANT_PROTECTORS
    )
    _named(one, "tenant")
    _named(one, "protector")
    _open(one)
    _dry_run(one)
    one = add(verbs, "rewrap", "wrap the key of a tenant anew for one of its protectors", TENANT_PROTECTORS)
    _named(one, "tenant")
    _named(one, "protector")
    _with(one, label=False)
    _open(one)
    _dry_run(one)
    add(verbs, "ls", "list tenants and the versions of their keys", TENANT)
    one = add(
        verbs, "rotate", "make a new key for a tenant, and wrap all of its master keys under it", TENANT
    )
    _named(one, "tenant")
    one.add_argument(
        "--kms-too", action="store_true", help="have the key manager make a new version of its key first"
    )
    one.add_argument(
        "--leave",
        action="append",
        default=[],
        metavar="NAME",
        help="a protector that is not to open the new key",
    )
    _open(one)
    _dry_run(one)
    one = add(
        verbs, "rotate-every", "have the engine service rotate the key of a tenant again and again", TENANT
    )
    _named(one, "tenant")
    one.add_argument("time", type=duration, help="such as 90d, or `never`")
    _dry_run(one)


def add_kms(verbs: Verbs, add: Add) -> None:
    """The verbs of `kms`."""
    one = add(verbs, "add", "make a key manager known", KMS)
    _named(one, "kms")
    one.add_argument("--kind", required=True, choices=sorted(KINDS))
    one.add_argument("--address", required=True, help="where it is: a URL, host:port, or a library's file")
    one.add_argument("--key", dest="kms_key", required=True, help="which of its keys")
    one.add_argument(
        "--file", dest="credentials_file", required=True, help="name of its credentials file on each host"
    )
    one.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="what else its kind knows"
    )
    _dry_run(one)
    add(verbs, "ls", "list the key managers that are known", KMS)
    one = add(verbs, "test", "reach a key manager, and wrap and unwrap some random bytes", KMS)
    _named(one, "kms")
    one = add(
        verbs, "trust", "show the settings of a key manager, and use credentials on this host for them", KMS
    )
    _named(one, "kms")
    one.add_argument("--confirm", metavar="NAME", help="the key manager's name, instead of typing it")
    _dry_run(one)
    one = add(verbs, "rm", "forget a key manager; what it wrapped stays wrapped", KMS)
    _named(one, "kms")
    _dry_run(one)


def add_credentials(options: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Where key managers' credentials lie, for everything that may need them."""
    options.add_argument(
        "--credentials",
        type=Path,
        default=CREDENTIALS,
        metavar="DIR",
        help=f"of key managers (default {CREDENTIALS})",
    )


def _key(options: argparse.ArgumentParser) -> None:
    options.add_argument("named", metavar="KEY", help="its name, or its 32 hexadecimal digits")


def _named(options: argparse.ArgumentParser, what: str) -> None:
    options.add_argument(what, help="its name")


def _with(options: argparse.ArgumentParser, *, label: bool = True) -> None:
    options.add_argument(
        "--with", dest="new", type=given, required=True, metavar="KIND[:SOURCE]", help="the new protector"
    )
    if label:
        options.add_argument(
            "--as", dest="label", metavar="NAME", help="what it is called (default: its kind)"
        )
    options.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        help="what opening it by its passphrase may take here (default 1)",
    )


def _open(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--open",
        action="append",
        type=given,
        default=[],
        metavar="KIND[:SOURCE]",
        help="what opens the key (default: kms)",
    )


def _bundle(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--bundle", type=Path, metavar="FILE", help="look into a bundle instead of the cluster"
    )


def _dry_run(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--dry-run", action="store_true", help="do all but write: only tell what would be done"
    )
