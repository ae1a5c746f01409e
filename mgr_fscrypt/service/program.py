"""The engine service as a program: what it is told on its command line, and how it begins and ends."""

import argparse
import logging
import os
import resource
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from ..ceph.access import SERVICE, Access
from ..ceph.epochs import DURATION, reached
from ..ceph.findings import findings_reached
from ..ceph.prctl import end_with_parent, keep_out_of_core_dumps
from ..ceph.turn_records import records_reached
from ..custody import CREDENTIALS, Custody, custody
from ..messages import RELEASE
from ..withdrawal import Withdrawal
from .clock import SystemClock
from .core import Identity, Service
from .inventory import Inventory
from .jobs import Runner
from .jobs.answering import JobAnswers
from .kept_keys import KeptKeys
from .kinds import kinds_of
from .kinds.processes import Processes
from .kinds.reaching import place_reached
from .kinds.scanned import ScanAnswers
from .listening import ListeningError, listening
from .resident import Residents
from .rotating import Rotations
from .server import Server
from .sizing import Sizing
from .tenant_keys import TenantKeys
from .tenure import Tenure
from .unlocking import Backends, Unlocker

_REFUSED = 3
_PARTING = 3.0
"""Seconds that the cluster has for taking our turn back."""

EPILOG = """examples:
  python3 -m mgr_fscrypt.service --socket /run/cephfs-fscrypt/service.sock --name client.fscrypt
  python3 -m mgr_fscrypt.service --socket /run/cephfs-fscrypt/service.sock --peer ceph --resident-limit 600

It stays in the foreground, and ends with SIGTERM: its keys are wiped then. One service of a file system works at a
time; others wait for their turn.
"""


@dataclass(frozen=True)
class Terms:
    """How this service runs.

    Attributes:
        access: the cluster and the file system.
        inherited: the number of the socket that it lives by; None: it has a path socket.
        path: the path socket.
        peer: who may connect to it, beside root and its own user.
        longest: seconds for which a key may be kept beyond the jobs that need it.
        credentials: the directory with what opens key managers.
    """

    access: Access
    inherited: int | None
    path: Path
    peer: str | None
    longest: float
    credentials: Path


def command_line() -> argparse.ArgumentParser:
    """Make the parser of the program's command line."""
    parser = argparse.ArgumentParser(
        "python3 -m mgr_fscrypt.service",
        description="The engine service: holds keys while jobs need them, and works for the manager.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--socket", type=Path, help="listen on this path")
    way.add_argument("--inherited", type=int, metavar="NUMBER", help="serve, and live by, this open socket")
    parser.add_argument("--peer", help="the user that the manager runs as (with --socket)")
    parser.add_argument(
        "--resident-limit",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long a key may be kept beyond the jobs that need it (default 0)",
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        default=CREDENTIALS,
        metavar="DIR",
        help=f"of key managers (default {CREDENTIALS})",
    )
    parser.add_argument("--conf", type=Path, help="Ceph's configuration file")
    parser.add_argument("--name", default="client.admin", help="the entity to connect as")
    parser.add_argument("--keyring", type=Path, help="where the entity's Ceph key is")
    parser.add_argument("--fs", help="the file system's name (default: the cluster's default)")
    parser.add_argument(
        "--timeout", type=int, default=10, help="seconds to wait for the cluster (default 10)"
    )
    return parser


def terms_of(arguments: Sequence[str]) -> Terms:
    """What the command line says; ends the program where it says nothing that can be done."""
    parser = command_line()
    said = parser.parse_args(arguments)
    if said.resident_limit < 0:
        parser.error("--resident-limit must not be negative")
    access = Access(
        conf=said.conf,
        entity=said.name,
        keyring=said.keyring,
        file_system=said.fs,
        timeout=said.timeout,
        # a child connects as its manager by default: that one's socket and log file are not for two
        settings={} if said.inherited is None else {"admin_socket": "", "log_file": ""},
    )
    return Terms(
        access, said.inherited, said.socket or Path(), said.peer, said.resident_limit, said.credentials
    )


def main(arguments: Sequence[str], unlocker: Unlocker | None = None) -> int:
    """Run the service until its end; the program's exit code.

    Args:
        arguments: the command line.
        unlocker: where keys come from; by default the lockboxes of the file system.
    """
    terms = terms_of(arguments)
    if terms.inherited is not None:
        end_with_parent()
    keep_out_of_core_dumps()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    clock = SystemClock()
    identity = Identity(RELEASE, os.getpid(), socket.gethostname(), clock.date())
    backends = Backends(clock)
    tenant_keys = TenantKeys()
    kept = KeptKeys(lambda: custody(terms.access, terms.credentials), backends, tenant_keys)
    residents = Residents(unlocker or kept, backends, tenant_keys, clock, longest=terms.longest)
    holder = f"process {identity.pid} on {identity.host}, {terms.access.entity}"
    tenure = Tenure(lambda: reached(terms.access, holder), clock, DURATION)
    rotations = Rotations(lambda: custody(terms.access, terms.credentials), lambda: tenure.epoch, clock)
    inventory = Inventory(lambda: custody(terms.access, terms.credentials), backends, clock)
    # what is mounted for jobs tells whose it is
    working = replace(terms.access, announce={**terms.access.announce, SERVICE: uuid.uuid4().hex})
    kinds = kinds_of(
        lambda: place_reached(working), lambda: findings_reached(terms.access), Processes(working)
    )
    runner = Runner(kinds, lambda: records_reached(terms.access), lambda: tenure.epoch, residents, clock)
    jobs = JobAnswers(runner)
    scans = ScanAnswers(lambda: findings_reached(terms.access))
    sizing = Sizing(lambda: place_reached(working), clock)
    service = Service(identity, tenure, residents, backends, rotations, jobs, inventory, scans, sizing)
    signal.signal(signal.SIGTERM, lambda *_: service.end())
    signal.signal(signal.SIGINT, lambda *_: service.end())
    holding = threading.Thread(target=tenure.run, name="fscrypt-tenure", daemon=True)
    rotating = threading.Thread(target=rotations.run, name="fscrypt-rotation", daemon=True)
    rotating.start()
    threading.Thread(target=runner.run, name="fscrypt-jobs", daemon=True).start()
    threading.Thread(target=inventory.run, name="fscrypt-inventory", daemon=True).start()
    threading.Thread(target=sizing.run, name="fscrypt-sizing", daemon=True).start()
    withdrawal = withdrawal_of(residents, lambda: custody(terms.access, terms.credentials))
    threading.Thread(target=withdrawal.run, name="fscrypt-withdrawal", daemon=True).start()
    try:
        _serve(service, terms, holding)
    except ListeningError as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED
    finally:
        jobs.end()
        scans.end()
        runner.end()
        residents.close()
        rotations.end()
        inventory.end()
        sizing.end()
        withdrawal.end()
        # while it is still our turn: what they put down is kept
        runner.join(_PARTING)
        tenure.end()
    holding.join(_PARTING)
    return 0


def withdrawal_of(residents: Residents, reach: Callable[[], AbstractContextManager[Custody]]) -> Withdrawal:
    """What takes from a service the keys that open for nobody any more, until they open again."""
    return Withdrawal(
        lambda: (bytes.fromhex(state.key_identifier) for state in residents.states()), reach, residents.wipe
    )


def _serve(service: Service, terms: Terms, holding: threading.Thread) -> None:
    server = Server(service)
    if terms.inherited is not None:
        server.live_by(socket.socket(fileno=terms.inherited))
        holding.start()
        server.run()
        return
    with listening(terms.path, terms.peer) as listener:
        server.accept_from(listener.accept, listener.socket)
        holding.start()
        server.run()
