"""The API while the module runs: listens as the options say, and says how it stands."""

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from logging import Logger
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from ..control import Result
from ..control.access import Access, Doors
from ..control.acting import Acting
from ..control.cluster import FileSystemMap
from ..control.values import Simplified
from ..door.desk import Desk
from .certificate import DAYS, CertificateError, self_signed
from .dashboard import DashboardDoor
from .entrance import Entrance
from .interface import Api
from .limits import Limits
from .openapi import described
from .sessions import Sessions

if TYPE_CHECKING:
    from .inside import Inside
    from .server import Server
    from .site import Site

DOWN = "FSCRYPT_API_DOWN"
LOOK = 5.0
"""Seconds between two looks at the options."""
_MARK = "api_certificate"
_RENEWED = (DAYS - 60) * 86400.0
"""Seconds after which a certificate of our own making is made anew."""


@dataclass(frozen=True)
class Settings:
    """How to listen.

    Args:
        address: of this manager.
        port: of TCP.
        certificate, key: files; empty: make one.
        authority: a file with whose client certificates are believed; empty: nobody's.
        open_metrics: everybody may read the metrics.
    """

    address: str
    port: int
    certificate: str = ""
    key: str = ""
    authority: str = ""
    open_metrics: bool = False


class Kept(Protocol):
    """Where a certificate of our own making is kept for all managers."""

    def mark(self, name: str) -> str | None:
        """What is kept."""
        ...

    def set_mark(self, name: str, text: str) -> None:
        """Keep it."""
        ...


class ApiService:
    """Listens, or does not.

    Args:
        desk: the manager's.
        cluster: the file systems that there are.
        commands: methods of the commands, by what they are called without `fscrypt`.
        acting: does things.
        access: who may come in.
        settings: how to listen now; None: not at all.
        kept: keeps a certificate.
        dashboard: the door there.
        sessions: of those who log in to the pages.
        log: the module's.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        cluster: FileSystemMap,
        commands: Mapping[str, Callable[..., Any]],
        acting: Acting,
        access: Access,
        settings: Callable[[], Settings | None],
        kept: Kept,
        dashboard: DashboardDoor,
        sessions: Sessions,
        log: Logger,
    ) -> None:
        self.api = Api(desk=desk, cluster=cluster, commands=commands, acting=acting)
        self._desk = desk
        self._acting = acting
        self._access = access
        self._settings = settings
        self._kept = kept
        self._dashboard = dashboard
        self._log = log
        self._sessions = sessions
        self._limits = Limits(time.monotonic)
        self._hurry = threading.Event()
        self._stopping = False
        self._server: Server | None = None
        self._running: Settings | None = None
        self._doors = Doors()

    def run(self) -> None:
        """Listen as the options say, until `stop`; on a thread of its own."""
        if self._dashboard.there:
            self._dashboard.answering = self.inside().respond
        while not self._stopping:
            self._hurry.clear()
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again and told
                self._log.exception("the API failed by a mistake of this module")
                self._doors = Doors(
                    trouble=f"internal error ({type(error).__name__}); report it with the manager's log"
                )
            self._hurry.wait(LOOK)
        self._dashboard.answering = None
        self._end()

    def stop(self) -> None:
        """End it."""
        self._stopping = True
        self._hurry.set()

    def hurry(self) -> None:
        """Options were changed."""
        self._hurry.set()

    def doors(self) -> Doors:
        """See `control.access.Serving`."""
        return replace(self._doors, dashboard=self._dashboard.there)

    def checks(self) -> Simplified:
        """Give the health check, as ceph-mgr takes it."""
        trouble = self._doors.trouble
        if not trouble:
            return {}
        summary = "the API of the fscrypt module does not listen"
        return {DOWN: {"severity": "warning", "summary": summary, "count": 1, "detail": [trouble]}}

    def look(self) -> None:
        """Do what the options say, where it is not so."""
        wanted = self._settings()
        if self._server is not None and self._server.alive and wanted == self._running:
            return
        self._end()
        if wanted is None:
            self._doors = Doors()
            return
        try:
            self._begin(wanted)
        except (ImportError, OSError, ValueError, CertificateError) as error:
            said = str(error) or type(error).__name__
            if said != self._doors.trouble.partition(";")[0]:
                self._log.error("the API does not listen: %s", said)
            self._doors = Doors(
                trouble=f"{said}; mend it, or see the options api_* (`ceph config get mgr`): it is tried again"
            )

    def site(self, *, open_metrics: bool) -> "Site":
        """What its own server has. Raises ImportError: a package is not installed that pages need."""
        # taken when it is wanted: the module works without these packages, and takes no memory for a server that is off
        from dashboard_ui.pages import Pages

        from .site import Site

        return Site(
            api=self.api,
            entrance=Entrance(
                access=self._access,
                sessions=self._sessions,
                limits=self._limits,
                recorded=self._record,
                log=self._log,
            ),
            sessions=self._sessions,
            limits=self._limits,
            pages=Pages(),
            metrics=self._metrics,
            open_metrics=open_metrics,
            openapi=json.dumps(described(self.api.routes)).encode(),
            log=self._log,
        )

    def inside(self) -> "Inside":
        """What Ceph's dashboard has. Raises ImportError, as `site` does."""
        from dashboard_ui.pages import Pages

        from .inside import Inside

        return Inside(api=self.api, access=self._access, limits=self._limits, pages=Pages(), log=self._log)

    def _begin(self, wanted: Settings) -> None:
        from .server import Server

        context, fingerprint = self._context(wanted)
        site = self.site(open_metrics=wanted.open_metrics)
        self._server = Server(
            address=wanted.address, port=wanted.port, context=context, respond=site.respond, log=self._log
        )
        self._running = wanted
        host = f"[{wanted.address}]" if ":" in wanted.address else wanted.address
        self._doors = Doors(address=f"https://{host}:{self._server.port}", fingerprint=fingerprint)
        self._log.info("the API listens at %s", self._doors.address)

    def _end(self) -> None:
        if self._server is not None:
            self._server.stop()
        self._server = self._running = None

    def _metrics(self) -> Result:
        return self._acting.asked_at_once(self._desk.metrics.measure)

    def _record(self, command: str, about: str, result: Result) -> Result:
        return self._acting.known_as(f"nobody@{about}").done(command, (about,), lambda: result)

    def _context(self, wanted: Settings) -> tuple[ssl.SSLContext, str]:
        """TLS with the certificate that is wanted, and its fingerprint."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if wanted.authority:
            context.load_verify_locations(wanted.authority)
            context.verify_mode = ssl.CERT_OPTIONAL
        if wanted.certificate:
            context.load_cert_chain(wanted.certificate, wanted.key or None)
            text = Path(wanted.certificate).read_text()
        else:
            text = self._own_certificate(wanted.address)
            with TemporaryDirectory(prefix="fscrypt-api-") as folder:
                file = Path(folder, "certificate.pem")
                file.touch(0o600)
                file.write_text(text)
                context.load_cert_chain(file)
        begin = text.index("-----BEGIN CERTIFICATE-----")
        end = text.index("-----END CERTIFICATE-----", begin) + len("-----END CERTIFICATE-----")
        return context, hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[begin:end])).hexdigest()

    def _own_certificate(self, address: str) -> str:
        """The one for this address that was made before, or a new one."""
        place = f"{_MARK}/{address}"
        kept = self._kept.mark(place)
        if kept is not None:
            found = json.loads(kept)
            if time.time() - found["made"] < _RENEWED:
                return str(found["pem"])
        made = self_signed((address,))
        self._kept.set_mark(place, json.dumps({"made": time.time(), "pem": made}))
        return made
