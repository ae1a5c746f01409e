"""The program ``cephfs-fscrypt``."""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from ..ceph.access import Access
from ..messages import RELEASE
from . import (
    background,
    dask,
    fsck,
    get,
    kernel_commands,
    key_commands,
    listing,
    migrate_commands,
    mount,
    put,
    subtree,
)
from .advice import failure_of
from .cache_options import add_cache_options, chosen_cache
from .connection import Connection, opened
from .given_keys import given_keys
from .key_commands import carries_out
from .key_files import write_new_key
from .key_parsers import add_credentials, add_kms, add_tenants, add_verbs
from .mount import Serving
from .mounted_names import MountedNames
from .openers import given
from .outcome import Exit, Failure
from .report import Reporter

EXIT_CODES = """exit codes:
  0  done                              4  locked: the key that was given does not open this
  1  differences or damage found,      5  not found
     or a part could not be done       6  the cluster cannot be reached
  2  usage, or a key that is no key    7  internal error
  3  refused as unsafe, or not possible in this format
"""

OVERVIEW = f"""first use:
  cephfs-fscrypt key generate /root/secret.key
  cephfs-fscrypt subtree create /secret --key /root/secret.key     (an empty directory that exists)
  cephfs-fscrypt put --key /root/secret.key ~/papers /secret
  cephfs-fscrypt ls -lR --key /root/secret.key /secret
  cephfs-fscrypt get --key /root/secret.key /secret/papers /tmp/papers

A key is given as a file that only you can read (64 raw bytes or 128 hexadecimal digits), or as "-" on standard
input; never as an argument. Each command tells more with --help.

{EXIT_CODES}"""

KEY_GENERATE = """examples:
  cephfs-fscrypt key generate /root/secret.key

The file is made with mode 0600 and is never overwritten. Whoever has it can read what it encrypts; without it
nobody can: keep a copy in another safe place.
"""
CREATE = """examples:
  cephfs-fscrypt subtree create /secret --key /root/secret.key
  cephfs-fscrypt subtree create /secret --key /root/secret.key --dry-run

The directory must exist and be empty. At the end the subtree is registered with the manager (`ceph fscrypt
subtree ls`); where that is not possible, the command for an administrator is printed, and the exit code is 0.
"""
STATUS = """examples:
  cephfs-fscrypt subtree status /secret
  cephfs-fscrypt subtree status /secret --facts > facts.json
  ceph fscrypt subtree adopt cephfs /secret -i facts.json
"""
RELEASE_HELP = """examples:
  cephfs-fscrypt subtree release /secret --key /root/secret.key --dry-run
  cephfs-fscrypt subtree release /secret --key /root/secret.key

Other clients that can reach the subtree must be gone: unmount them, or let them be evicted with --evict.
A run that ended early is run again and goes on. Exit code 1: some files kept their mode; they are named.
"""
HOLD = """examples:
  cephfs-fscrypt subtree hold /secret --dry-run
  cephfs-fscrypt subtree hold /secret
  cephfs-fscrypt subtree hold /secret --copy --key /root/secret.key

The reverse of release, with the same conditions. With --copy other clients may stay: each file is written again beside
itself and renamed over itself, which takes the time of a copy, and room for the largest file. Files that others have
open are left as they are and named: run it again when they are closed.
"""
PUT = """examples:
  cephfs-fscrypt put --key /root/secret.key report.pdf /secret/report.pdf
  cephfs-fscrypt put --key /root/secret.key ~/papers ~/letters /secret
  cat /run/keys/secret | cephfs-fscrypt put --key - ~/papers /secret --dry-run

An existing directory as the target takes the sources under their own names. Directories are merged. Modes, times,
symbolic links and hard links are kept; owners and set-user-ID bits are not. A name that is too long for the format
ends the command before anything is written: --kernel-mount helps where the kernel has the same file system mounted.
Sockets, FIFOs and devices are skipped: then the exit code is 1.
"""
GET = """examples:
  cephfs-fscrypt get --key /root/secret.key /secret/report.pdf .
  cephfs-fscrypt get --key /root/secret.key /secret/papers /tmp/papers
"""
LS = """examples:
  cephfs-fscrypt ls --key /root/secret.key /secret
  cephfs-fscrypt ls -lR /secret                    (without the key: names as they are stored, sizes as they are)
  cephfs-fscrypt ls -lR --json --key /root/secret.key /secret        (one JSON document a line)
"""
CAT = """examples:
  cephfs-fscrypt cat --key /root/secret.key /secret/notes.txt | less
"""
FSCK = """examples:
  cephfs-fscrypt fsck /secret                                  (without the key: attributes, sizes, objects)
  cephfs-fscrypt fsck --key /root/secret.key /secret           (names, targets and the ends of files, too)
  cephfs-fscrypt fsck --key /root/secret.key /secret --repair --dry-run
  cephfs-fscrypt fsck --key /root/secret.key /secret --repair

Nothing is changed without --repair, which asks first (--yes does not). It may run while others use the subtree:
what they are at work on is not judged. Each finding has a word, which doc/fsck.md explains. Exit code 0: nothing
but notes was found, or all was repaired.
"""
MOUNT = """examples:
  cephfs-fscrypt mount --key /root/secret.key /secret /mnt
  cephfs-fscrypt mount --key /root/secret.key --foreground /secret /mnt
  cephfs-fscrypt mount --key /root/secret.key --cache /var/cache/secret --cache-size 20G /secret /mnt
  cat /run/keys/secret | cephfs-fscrypt mount --key - /secret /mnt

The mount is there when the command returns, and is for the user who made it. `umount` or SIGTERM ends it: what was
written is durable then. Without the key names are shown as they are stored and files cannot be opened. A subtree in
kernel mode is mounted read-only: its files are changed by kernel clients.
"""


class _Parser(argparse.ArgumentParser):
    """Help that keeps its lines, and our words for usage errors."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        raise Failure(Exit.USAGE, message, remedy=f"run `{self.prog} --help`")


def parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    top = _Parser(
        prog="cephfs-fscrypt",
        description="Encrypted subtrees of CephFS, in the Linux kernel's format.",
        epilog=OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"cephfs-fscrypt {RELEASE}")
    output = _Parser(add_help=False, allow_abbrev=False)
    group = output.add_argument_group("output")
    group.add_argument(
        "--json", action="store_true", help="answers and failures as JSON, one document a line"
    )
    group.add_argument("--quiet", "-q", action="store_true", help="no progress, notes or summary")
    cluster = _Parser(add_help=False, allow_abbrev=False)
    _cluster_options(cluster)
    kept = _Parser(add_help=False, allow_abbrev=False)
    add_credentials(kept)
    keyed = _Parser(add_help=False, allow_abbrev=False)
    _key_options(keyed)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        place: "argparse._SubParsersAction[_Parser]",
        name: str,
        words: str,
        epilog: str,
        *,
        parents: Sequence[_Parser] = (cluster, keyed),
    ) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = place.add_parser(
            name,
            help=words,
            description=words[0].upper() + words[1:] + ".",
            epilog=epilog + "\n" + EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[output, *parents],
            allow_abbrev=False,
        )
        made.set_defaults(command=" ".join(made.prog.split()[1:]))
        return made

    keys = commands.add_parser("key", help="master keys, and what opens them", allow_abbrev=False)
    key_verbs = keys.add_subparsers(title="verbs", metavar="VERB", required=True, dest="key")
    one = add(key_verbs, "generate", "make a new master key in a new file", KEY_GENERATE, parents=())
    one.add_argument("file", type=Path, help="where; must not exist")

    on_keys = partial(add, parents=(cluster, kept))
    add_verbs(key_verbs, on_keys)
    for noun, words, verbs_of in (
        ("tenant", "keys of tenants, which key managers wrap", add_tenants),
        ("kms", "key managers", add_kms),
    ):
        parser_ = commands.add_parser(noun, help=words, allow_abbrev=False)
        verbs_of(parser_.add_subparsers(title="verbs", metavar="VERB", required=True, dest=noun), on_keys)

    nouns = commands.add_parser("subtree", help="directories that have a policy", allow_abbrev=False)
    verbs = nouns.add_subparsers(title="verbs", metavar="VERB", required=True, dest="subtree")
    one = add(verbs, "create", "give an empty directory an encryption policy", CREATE)
    one.add_argument("path", type=os.fsencode, help="the directory, as a path from the mount's root")
    one.add_argument(
        "--padding",
        type=int,
        choices=(4, 8, 16, 32),
        default=32,
        help="names are padded to a multiple (default 32)",
    )
    one.add_argument("--make", action="store_true", help="make the directory if it is not there")
    one.add_argument(
        "--namespace",
        metavar="NAME",
        help="keep its files in this RADOS namespace, which clients can be kept out of by `ceph fscrypt gate`",
    )
    _dry_run(one)
    one = add(verbs, "status", "tell whether a directory is encrypted, and how", STATUS)
    one.add_argument("path", type=os.fsencode)
    one.add_argument("--facts", action="store_true", help="print what the manager registers (no secret)")
    for name, words, epilog in (
        ("release", "hand a subtree from the engine to kernel clients", RELEASE_HELP),
        ("hold", "take a subtree back from kernel clients", HOLD),
    ):
        one = add(verbs, name, words, epilog)
        one.add_argument("path", type=os.fsencode, help="the subtree's top directory")
        ways = one.add_mutually_exclusive_group()
        ways.add_argument("--evict", action="store_true", help="cut off the other clients that can reach it")
        if name == "hold":
            ways.add_argument("--copy", action="store_true", help="write files again, while others go on")
            one.add_argument(
                "--even-open",
                action="store_true",
                help="with --copy: also what others have open; they lose what they write from then on",
            )
        _dry_run(one)

    nouns = commands.add_parser(
        "migrate", help="existing data into encrypted form, under another key, and back", allow_abbrev=False
    )
    verbs = nouns.add_subparsers(title="verbs", metavar="VERB", required=True, dest="migrate")
    migrate_commands.add_parsers(partial(add, verbs))

    one = add(commands, "put", "copy local files and trees into an encrypted subtree", PUT)
    one.add_argument("source", type=Path, nargs="+")
    one.add_argument("target", type=os.fsencode)
    one.add_argument(
        "--replace", action="store_true", help="replace files and links that exist, each at once"
    )
    _kernel_mount(one)
    _dry_run(one)
    one = add(commands, "get", "copy files and trees out of an encrypted subtree", GET)
    one.add_argument("source", type=os.fsencode)
    one.add_argument("target", type=Path)
    one.add_argument(
        "--replace", action="store_true", help="replace local files and links that exist, each at once"
    )
    one = add(commands, "ls", "list a directory", LS)
    one.add_argument("path", type=os.fsencode)
    one.add_argument(
        "-l", dest="long", action="store_true", help="with modes, owners, real sizes, times and targets"
    )
    one.add_argument("-R", dest="recursive", action="store_true", help="with all that lies below")
    one = add(commands, "fsck", "find what is damaged, interrupted or half made", FSCK)
    one.add_argument("path", type=os.fsencode, help="an encrypted directory")
    one.add_argument("--repair", action="store_true", help="repair what can be, after a preview")
    one.add_argument("--dry-run", action="store_true", help="with --repair: show the preview only")
    one.add_argument("--yes", action="store_true", help="with --repair: do not ask")
    one = add(commands, "mount", "mount an encrypted subtree in a local directory (FUSE)", MOUNT)
    one.add_argument("subtree", type=os.fsencode, help="an encrypted directory")
    one.add_argument("directory", type=Path, help="where; must be empty")
    one.add_argument("--foreground", action="store_true", help="stay, until it is unmounted")
    # for the process that `background` starts
    one.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    one.add_argument("--log", type=Path, help="where to tell of trouble later (default: standard error)")
    add_cache_options(one)
    _kernel_mount(one)
    one = add(commands, "cat", "write a file's contents to standard output", CAT)
    one.add_argument("path", type=os.fsencode)
    kernel_commands.add_parsers(partial(add, commands, parents=()), partial(add, commands))
    return top


def _cluster_options(options: argparse.ArgumentParser) -> None:
    group = options.add_argument_group("cluster")
    group.add_argument("--conf", "-c", type=Path, help="Ceph's configuration file")
    entity = group.add_mutually_exclusive_group()
    entity.add_argument("--name", "-n", help="the entity to connect as, such as client.admin")
    entity.add_argument("--id", help="the same without `client.`")
    group.add_argument("--keyring", type=Path, help="where the entity's Ceph key is")
    group.add_argument("--fs", help="the file system's name (default: the cluster's default)")
    group.add_argument(
        "--root", type=os.fsencode, default=b"/", help="the directory that is mounted as / (default /)"
    )
    group.add_argument("--timeout", type=int, default=10, help="seconds to wait for the cluster (default 10)")


def _key_options(options: argparse.ArgumentParser) -> None:
    group = options.add_argument_group("key")
    group.add_argument("--key", metavar="FILE", help='the master key: a file that only you can read, or "-"')
    group.add_argument(
        "--open",
        action="append",
        type=given,
        default=[],
        metavar="KIND[:SOURCE]",
        help="what opens a key that is kept in the cluster: kms, passphrase, key-file:FILE ... (see `key add --help`)",
    )
    group.add_argument(
        "--bundle",
        type=Path,
        metavar="FILE",
        help="the kept keys are in this file (`ceph fscrypt subtree bundle`), not in the cluster",
    )
    group.add_argument("--key-name", metavar="NAME", help="which of the kept keys, where no subtree says so")
    add_credentials(group)


def _dry_run(options: argparse.ArgumentParser) -> None:
    options.add_argument("--dry-run", action="store_true", help="only tell what would be done")


def _kernel_mount(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--kernel-mount",
        metavar="DIR",
        type=Path,
        help="give names that are longer than libcephfs can make, up to 255 bytes, through the kernel, which has what "
        "is / here mounted at DIR, with the key",
    )


def _kernel_names(options: argparse.Namespace) -> MountedNames | None:
    """Of commands that make names."""
    top: Path | None = getattr(options, "kernel_mount", None)
    return None if top is None else MountedNames(top.absolute())


def _access(options: argparse.Namespace) -> Access:
    return Access(
        # absolute: a mount leaves this directory, and reads them again when it ends the session of a dead client
        conf=options.conf and options.conf.absolute(),
        entity=options.name or f"client.{options.id or 'admin'}",
        keyring=options.keyring and options.keyring.absolute(),
        file_system=options.fs,
        root=options.root,
        timeout=options.timeout,
    )


def run(options: argparse.Namespace, reporter: Reporter, arguments: Sequence[str]) -> Exit:
    """Do what the arguments say. Raises what `advice.failure_of` explains."""
    if options.command == "key generate":
        identifier = write_new_key(options.file).identifier.hex()
        reporter.answer(
            {"file": str(options.file), "key_identifier": identifier},
            f"made {options.file}, key {identifier}",
        )
        return Exit.DONE
    if options.command in kernel_commands.NAMES:
        return kernel_commands.run(options, reporter, _access)
    if options.command == "mount" and not options.foreground:
        return background.start(reporter, arguments)
    access = _access(options)
    if carries_out(options.command):
        return key_commands.run(options, reporter, access)
    with given_keys(options, access) as keys:
        if options.command == "mount":
            serving = Serving(
                options.subtree,
                options.directory,
                chosen_cache(options),
                _kernel_names(options),
                options.log,
                options.detached,
            )
            return mount.mount(access, keys, reporter, serving)
        if options.command == "migrate worker":
            return dask.work(options, access, keys, reporter)
        with opened(access, keys, kernel_names=_kernel_names(options)) as connection:
            return _dispatch(options, connection, reporter)


def _dispatch(options: argparse.Namespace, connection: Connection, reporter: Reporter) -> Exit:
    if options.command.startswith("subtree "):
        return _on_subtree(options, connection, reporter)
    if options.command.startswith("migrate "):
        return migrate_commands.run(options, connection, reporter)
    match options.command:
        case "put":
            return put.put(
                connection,
                reporter,
                options.source,
                options.target,
                replace=options.replace,
                dry_run=options.dry_run,
            )
        case "get":
            return get.get(connection, reporter, options.source, options.target, replace=options.replace)
        case "ls":
            return listing.ls(
                connection, reporter, options.path, long=options.long, recursive=options.recursive
            )
        case "fsck":
            wish = fsck.Wish(repair=options.repair, dry_run=options.dry_run, yes=options.yes)
            return fsck.fsck(connection, reporter, options.path, wish)
        case "cat":
            return listing.cat(connection, options.path)
        case other:
            raise ValueError(f"the parser knows a command that is not carried out: {other}")


def _on_subtree(options: argparse.Namespace, connection: Connection, reporter: Reporter) -> Exit:
    match options.command:
        case "subtree create":
            return subtree.create(
                connection,
                reporter,
                options.path,
                padding=options.padding,
                make=options.make,
                namespace=options.namespace,
                dry_run=options.dry_run,
            )
        case "subtree status":
            return subtree.status(connection, reporter, options.path, facts_only=options.facts)
        case "subtree release":
            return subtree.release(
                connection, reporter, options.path, evict=options.evict, dry_run=options.dry_run
            )
        case "subtree hold":
            return subtree.hold(
                connection,
                reporter,
                options.path,
                evict=options.evict,
                copy=options.copy,
                even_open=options.even_open,
                dry_run=options.dry_run,
            )
        case other:
            raise ValueError(f"the parser knows a command that is not carried out: {other}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; give its exit code."""
    reporter = Reporter()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        options = parser().parse_args(words)
        reporter = Reporter(as_json=options.json, quiet=options.quiet)
        return run(options, reporter, words)
    except BrokenPipeError:
        # the reader has enough; nothing more may be written, by the interpreter's end neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        reporter.note(
            "interrupted: what was copied completely stays, the rest was not made; run it again with --replace"
        )
        return 128 + signal.SIGINT
    except Exception as error:  # noqa: BLE001 - the one place where every failure becomes an exit code
        failure = failure_of(error)
        if failure is None:
            sys.stderr.write(traceback.format_exc())
            failure = Failure(
                Exit.INTERNAL,
                f"internal error: {type(error).__name__}: {error}",
                left="what was done before stays",
                remedy="please report it with the lines above",
            )
        reporter.failure(failure)
        return failure.code


if __name__ == "__main__":
    sys.exit(main())
