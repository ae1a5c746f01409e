"""``python3 -m qa.bench.format [--json]``: how fast contents are enciphered, beside ``openssl speed``.

AES-256-XTS in 4096-byte units, 1 MiB a call from one buffer into another that is used again, one core. The
subjects take turns, so that a slow second of the machine hits all of them. "without accelerator" is what
``fastest`` answers where none was built: libcrypto by ctypes.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mgr_fscrypt.format import Contents, Context, MasterKey, Policy
from mgr_fscrypt.format.accelerator import build_accelerator, load_accelerator
from mgr_fscrypt.format.libcrypto import load_libcrypto_units
from mgr_fscrypt.format.units import UnitCipherFactory
from qa.bench.report import Case, Ratio, Report, run_bench

ROUNDS = 7
SECONDS = 0.5
CALL = 1 << 20
UNIT = 4096
OPENSSL_SECONDS = 1
BARS = {"accelerator": 0.35, "libcrypto": 0.1}


def measure() -> Report:
    """Measure all subjects on one core, in turns."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        try:
            build_accelerator(Path(folder))
        except OSError as error:
            raise SystemExit(f"the accelerator cannot be built, so nothing was measured: {error}") from None
        factories = [load_accelerator(Path(folder)), load_libcrypto_units()]
    subjects: dict[tuple[str, str], Callable[[], float]] = {("openssl speed", "openssl"): _openssl}
    for factory in factories:
        if factory is None:
            raise SystemExit("an implementation is not usable here: see the warning above")
        subjects[("encrypt", factory.name)] = _Call(factory, encrypt=True).gigabytes
        subjects[("decrypt", factory.name)] = _Call(factory, encrypt=False).gigabytes
    runs: dict[tuple[str, str], list[float]] = {subject: [] for subject in subjects}
    for _ in range(ROUNDS):
        for subject, figure in subjects.items():
            runs[subject].append(figure())
    cases = [Case(name, subject, "GB/s", figures) for (name, subject), figures in runs.items()]
    openssl = cases[0].median
    ratios = [
        Ratio(f"{case.name} by {case.subject} / openssl", case.median / openssl, BARS[case.subject])
        for case in cases[1:]
    ]
    return Report.here(cases, ratios)


class _Call:
    """One direction of one implementation."""

    def __init__(self, factory: UnitCipherFactory, *, encrypt: bool) -> None:
        key = MasterKey(bytes(range(64)))
        self._contents = Contents(key, Context.fresh(Policy(key.identifier)), factory=factory)
        self._run = self._contents.encrypt_into if encrypt else self._contents.decrypt_into
        self._source, self._target = os.urandom(CALL), bytearray(CALL)

    def gigabytes(self) -> float:
        """GB (10**9 bytes) a second."""
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < SECONDS:
            self._run(self._source, self._target, calls * (CALL // UNIT))
            calls += 1
        return calls * CALL / elapsed / 1e9


def _openssl() -> float:
    """GB a second of ``openssl speed``."""
    command = [
        "openssl",
        "speed",
        "-seconds",
        str(OPENSSL_SECONDS),
        "-evp",
        "aes-256-xts",
        "-bytes",
        str(UNIT),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    figure = re.search(r"^AES-256-XTS\s+([0-9.]+)k", answer, re.MULTILINE | re.IGNORECASE)
    if figure is None:
        raise SystemExit(f"openssl speed answered something else: {answer}")
    return float(figure[1]) * 1000 / 1e9


if __name__ == "__main__":
    sys.exit(run_bench("GB/s of the format's contents beside openssl speed", measure))
