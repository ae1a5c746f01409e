"""``migrate start --executor dask`` and ``migrate worker``: who copies on other hosts (doc/migration.md)."""

import argparse
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from ..ceph.access import Access
from ..ceph.interface import Mount
from ..ceph.reclaim import reset
from ..keys.private_files import read_private
from ..migrate.pace import Limits
from ..migrate.scheduler import Scheduler
from ..migrate.shards import Hands
from ..migrate.turns import Turn
from .given_keys import GivenKeys
from .key_files import read_key
from .outcome import Exit, Failure
from .report import Reporter

_PATIENCE = 30.0
"""Seconds to wait for a scheduler, and for a first worker."""
_LARGEST = 1 << 16


def add_executor(one: argparse.ArgumentParser) -> None:
    """The options of who has others copy."""
    one.add_argument(
        "--executor",
        choices=("processes", "dask"),
        default="processes",
        help="who copies: --workers of this host, or `migrate worker`s of any host, by Dask (default: processes)",
    )
    add_scheduler(one)


def add_scheduler(one: argparse.ArgumentParser) -> None:
    """The options of where the scheduler is."""
    group = one.add_argument_group("Dask")
    group.add_argument("--scheduler", metavar="tls://HOST:PORT", help="where Dask's scheduler is")
    group.add_argument("--tls-ca", type=Path, metavar="FILE", help="the authority of all certificates")
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="the certificate of this end")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, which only you can read")


def chosen_scheduler(options: argparse.Namespace) -> Scheduler | None:
    """What `start` was told; None: processes of this host.

    Raises:
        Failure: options that do not go together.
    """
    if options.executor == "dask":
        return _scheduler(options)
    if any((options.scheduler, options.tls_ca, options.tls_cert, options.tls_key)):
        raise Failure(
            Exit.USAGE, "a scheduler is for `--executor dask`", remedy="add that, or leave out both"
        )
    return None


def hands(
    mount: Mount, access: Access, scheduler: Scheduler, turn: Turn, limits: Limits
) -> AbstractContextManager[Hands]:
    """The workers that the scheduler knows.

    Raises:
        Failure: this host has no Dask.
    """
    try:
        from ..migrate import dask_hands
    except ImportError as error:
        raise _no_dask(error) from error
    return dask_hands.dask_workers(
        mount, scheduler, turn, limits, reset=partial(reset, access), patience=_PATIENCE
    )


def work(options: argparse.Namespace, access: Access, keys: GivenKeys, reporter: Reporter) -> Exit:
    """`migrate worker`: until it is told to end."""
    if keys.key is None and not keys.any:
        raise Failure(
            Exit.USAGE,
            "a worker has keys of its own: nobody sends it any",
            remedy="give them with `--key FILE`, or what opens those that are kept with `--open KIND`",
        )
    if options.old_key is not None:
        keys.keyring.add(read_key(options.old_key))
    scheduler = _scheduler(options)
    try:
        from ..migrate import dask_worker
    except ImportError as error:
        raise _no_dask(error) from error
    with keys.watched():
        dask_worker.serve(
            access, keys.keyring, scheduler, lambda: reporter.note(f"at work for {scheduler.address}")
        )
    return Exit.DONE


def _scheduler(options: argparse.Namespace) -> Scheduler:
    given = (options.scheduler, options.tls_ca, options.tls_cert, options.tls_key)
    if not all(given) or not options.scheduler.startswith("tls://"):
        raise Failure(
            Exit.USAGE,
            "Dask is reached by TLS only, in which both ends show a certificate",
            remedy="give --scheduler tls://HOST:PORT, --tls-ca, --tls-cert and --tls-key",
        )
    read_private(options.tls_key, "private key", limit=_LARGEST)
    return Scheduler(options.scheduler, *(each.absolute() for each in given[1:]))


def _no_dask(error: ImportError) -> Failure:
    return Failure(
        Exit.REFUSED,
        f"this host has no Dask: {error}",
        remedy="install the Python package distributed (extra `cluster`)",
    )
