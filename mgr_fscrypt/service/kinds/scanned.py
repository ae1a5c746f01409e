"""What is answered to questions about what a scan found."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager
from typing import Protocol

from ...ceph.errors import CephError
from ...messages.scan import LARGEST_PAGE, FoundSubtree, ScanPage, ScanQuestion
from ...messages.service import Said, Trouble

PATIENCE = 2.0
"""Seconds that who asks waits for the cluster: it waits 4 s for us, and others ask behind it."""


class KeptFindings(Protocol):
    """As `ceph.findings.FindingStore`."""

    def page(self, work: str, after: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """Some of them."""
        ...


class ScanAnswers:
    """Answers in time, whatever the cluster does: it is asked on a thread of its own."""

    def __init__(
        self, reach: Callable[[], AbstractContextManager[KeptFindings]], patience: float = PATIENCE
    ) -> None:
        self._reach = reach
        self._patience = patience
        self._clerk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fscrypt-scan-clerk")

    def answer(self, ask: ScanQuestion) -> Said:
        """Give a page, or say why not."""
        done = self._clerk.submit(self._page, ask)
        try:
            return done.result(self._patience)
        except FutureTimeoutError:
            done.cancel()
            return Trouble(
                "failed",
                "the cluster did not answer the engine service in time",
                "look at `ceph -s`, run it again",
            )
        except CephError as error:
            return Trouble("failed", f"the cluster refused: {error.strerror or error}", "look at `ceph -s`")

    def end(self) -> None:
        """Take no more."""
        self._clerk.shutdown(wait=False, cancel_futures=True)

    def _page(self, ask: ScanQuestion) -> ScanPage:
        with self._reach() as findings:
            kept = findings.page(ask.job, ask.after.encode(), ask.limit + 1)
        found: list[FoundSubtree] = []
        size = 0
        for _, data in kept[: ask.limit]:
            if size > LARGEST_PAGE:
                break
            found.append(FoundSubtree.decode(data))
            size += len(data)
        more = len(found) < len(kept)
        return ScanPage(tuple(found), found[-1].path if more else None)
