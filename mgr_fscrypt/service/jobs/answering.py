"""What is answered to questions about jobs, and to what is to be done with them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

from ...ceph.errors import CephError
from ...messages.job import Jobs
from ...messages.service import (
    CancelJob,
    Done,
    ForgetJob,
    JobAsk,
    JobQuestion,
    JobsQuestion,
    PauseJob,
    ResumeJob,
    Said,
    StartJob,
    Trouble,
)
from .interface import RefusedWishError
from .runner import JobRefusedError, NoSuchJobError, NotServingError, Runner

PATIENCE = 2.0
"""Seconds that who asks waits for the cluster: it waits 4 s for us, and others ask behind it."""


class JobAnswers:
    """Answers in time, whatever the cluster does: what changes something is done on a thread of its own."""

    def __init__(self, runner: Runner, patience: float = PATIENCE) -> None:
        self._runner = runner
        self._patience = patience
        self._clerk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fscrypt-job-clerk")

    def glance(self) -> Jobs | None:
        """All at a glance, for a status; None while they are not known."""
        return self._runner.glance()

    def hurry(self) -> None:
        """A key was unlocked: what waits is tried now."""
        self._clerk.submit(self._runner.hurry)

    def end(self) -> None:
        """Take no more."""
        self._clerk.shutdown(wait=False, cancel_futures=True)

    def answer(self, ask: JobAsk) -> Said:
        """Do it, or say why not."""
        match ask:
            case JobQuestion():
                return _told(lambda: self._runner.state(ask.id))
            case JobsQuestion():
                return _told(lambda: self._runner.page(ask))
        done = self._clerk.submit(_told, lambda: self._act(ask))
        try:
            return done.result(self._patience)
        except FutureTimeoutError:
            outcome = "nothing was changed" if done.cancel() else "it may yet be done"
            return Trouble(
                "failed",
                f"the cluster did not answer the engine service in {self._patience:g} s, {outcome}",
                "look at `ceph -s`, then run the command again (twice does no harm)",
            )

    def _act(self, ask: StartJob | PauseJob | ResumeJob | CancelJob | ForgetJob) -> Said:
        match ask:
            case StartJob():
                return self._runner.begin_job(ask.wish)
            case PauseJob():
                return self._runner.pause(ask.id)
            case ResumeJob():
                return self._runner.resume(ask.id)
            case CancelJob():
                return self._runner.cancel(ask.id)
            case ForgetJob():
                self._runner.forget(ask.id)
                return Done()


def _told(work: Callable[[], Said]) -> Said:
    try:
        return work()
    except NotServingError:
        return Trouble(
            "not-serving",
            "this service has no turn, or has just begun it, and knows no job; nothing was changed",
            "look at `ceph fscrypt service status`, and run the command again",
        )
    except NoSuchJobError as error:
        return Trouble(
            "no-such-job", f"there is no job {error}, nothing was changed", "see `ceph fscrypt job ls`"
        )
    except RefusedWishError as error:
        return Trouble("bad-wish", f"{error}; nothing was changed", error.remedy)
    except JobRefusedError as error:
        return Trouble("refused", f"{error}; nothing was changed", error.remedy)
    except CephError as error:
        return Trouble(
            "failed",
            f"the cluster did not keep it: {error.strerror or error}; it may or may not be done",
            "look at `ceph fscrypt job ls`, then run the command again (twice does no harm)",
        )
