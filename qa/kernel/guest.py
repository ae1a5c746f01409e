"""A host of its own with a Debian kernel, in qemu; no KVM is needed."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from . import machine, network
from .agent import PORT

_MEMORY = "1024M"
# old, so that little has to be emulated
_PROCESSOR = "Westmere"
_PATIENCE = 240.0
_TOLD = 4000


class GuestError(Exception):
    """The guest did not come up, or is gone; the message has the end of its console."""


class Guest:
    """A guest that runs. Acts are those of `agent.Agent`; what they raise there is raised here."""

    def __init__(self, process: "subprocess.Popen[bytes]", console: Path, connection: Connection) -> None:
        self._process = process
        self._console = console
        self._connection = connection

    def ask(self, act: str, *arguments: object) -> Any:
        """Let the guest do something, and wait for its answer."""
        try:
            self._connection.send((act, arguments))
            done, answer = self._received()
        except (EOFError, ConnectionError) as error:
            raise GuestError(f"the guest is gone, in {act}:\n{self.console()[-_TOLD:]}") from error
        if not done:
            raise answer
        return answer

    def _received(self) -> tuple[bool, Any]:
        while not self._connection.poll(1):
            # a guest that panics is gone without a word to its end of the connection
            if self._process.poll() is not None:
                raise EOFError
        answer: tuple[bool, Any] = self._connection.recv()
        return answer

    def console(self) -> str:
        """All that its kernel has said."""
        return self._console.read_text(errors="replace")


@contextmanager
def booted(folder: Path) -> Iterator[Guest]:
    """Boot one; it is gone afterwards, as a host whose power fails.

    Raises:
        GuestError: it did not come up.
    """
    console = folder / "console.log"
    initramfs = machine.make_initramfs(folder)
    settings = f"qa.address={network.GUEST}/{network.PREFIX} qa.path={os.environ['PATH']}"
    command = [
        *machine.QEMU,
        *("-machine", "q35", "-accel", "tcg", "-cpu", _PROCESSOR, "-m", _MEMORY, "-nodefaults", "-no-reboot"),
        *("-display", "none", "-serial", f"file:{console}"),
        *("-kernel", str(machine.image()), "-initrd", str(initramfs)),
        *("-append", f"console=ttyS0 panic=-1 loglevel=5 mitigations=off {settings}"),
        *("-netdev", f"tap,id=wire,ifname={network.WIRE},script=no,downscript=no"),
        *("-device", "virtio-net-pci,netdev=wire,romfile="),
        *("-virtfs", "local,path=/,mount_tag=chamber,security_model=none,readonly=on,multidevs=remap"),
    ]
    with (folder / "qemu.log").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        with _connected(process, console, folder / "qemu.log") as connection:
            yield Guest(process, console, connection)
    finally:
        process.kill()
        process.wait()


def _connected(process: "subprocess.Popen[bytes]", console: Path, log: Path) -> Connection:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            return Client((network.GUEST, PORT))
        except OSError:
            time.sleep(0.5)
    said = "\n".join(file.read_text(errors="replace")[-_TOLD:] for file in (log, console) if file.exists())
    raise GuestError(f"no guest came up in {_PATIENCE:.0f} s:\n{said}")
