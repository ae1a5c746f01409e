"""Work that may hang, kept away from those who must not wait.

The manager's database lies in RADOS: while its placement group is not active, a statement on it waits. A
command handler of ceph-mgr must not.
"""

import errno
from collections.abc import Callable
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as FutureTimeoutError

from .results import Result


class Waiting:
    """Runs work one after the other on a thread of its own, and answers in time whatever happens to it.

    Args:
        executor: has exactly one worker, so that work never overlaps.
        patience: seconds after which the answer is "not now".

    Attributes:
        trouble: why what the work is done on did not answer when it was asked last; empty: it did. The work itself
            tells, too.
    """

    def __init__(self, executor: Executor, patience: float) -> None:
        self._executor = executor
        self._patience = patience
        self.trouble = ""

    def answer(self, work: Callable[[], Result]) -> Result:
        """Give the result of the work, or EAGAIN when it does not come in time.

        Work that had not begun by then never will; work that had begun goes on: commands may be repeated.
        Exceptions of the work are raised here.
        """
        try:
            future = self._executor.submit(work)
        except RuntimeError:
            return Result.failed(
                errno.EAGAIN,
                "the module is stopping, nothing was changed; run the command again in a few seconds",
            )
        try:
            return future.result(timeout=self._patience)
        except FutureTimeoutError:
            outcome = "nothing was changed" if future.cancel() else "the command may yet be carried out"
            self.trouble = late = f"the manager's database did not answer in {self._patience:g} s"
            return Result.failed(
                errno.EAGAIN,
                f"{late}, {outcome}; "
                "look at `ceph health detail`, then run the command again (twice does no harm)",
            )
