import errno

from mgr_fscrypt.control import Result
from mgr_fscrypt.control.health import DATABASE, GRACE, DatabaseWatch, job_checks
from mgr_fscrypt.messages.job import JobBrief, Jobs

SILENT = Result.failed(errno.EAGAIN, "no answer")


def test_health_is_patient_then_tells_then_recovers():
    now = [100.0]
    watch = DatabaseWatch(lambda: now[0])
    assert watch.checks(Result()) == {}
    now[0] += GRACE - 1
    assert watch.checks(SILENT) == {}
    now[0] += 1
    check = watch.checks(SILENT)[DATABASE]
    assert check["severity"] == "warning"
    assert "for 60 s: no answer" in check["detail"]
    assert watch.checks(Result()) == {}
    now[0] += GRACE - 1
    assert watch.checks(SILENT) == {}


def job(state: str = "failed", since: float = 100.0, why: str = "no key\x1b") -> JobBrief:
    return JobBrief("7" * 32, "verify", 1, "/a", state, why, since, 0, None, "", None)


def test_jobs_that_somebody_must_see_to_are_told():
    assert job_checks(Jobs(5, 0, 0, (job("running"), job("paused"), job("done"))), 1000) == {}
    checks = job_checks(Jobs(2, 1, 30, (job("waiting", since=940), job())), 1000)
    assert set(checks) == {"FSCRYPT_JOB_FAILED", "FSCRYPT_JOB_WAITING"}
    failed = checks["FSCRYPT_JOB_FAILED"]
    assert (failed["count"], failed["summary"]) == (30, "30 jobs failed")
    assert failed["detail"][0] == f"job {'7' * 32}, verify /a: no key\\x1b"
    assert "job forget" in failed["detail"][-1]
    assert checks["FSCRYPT_JOB_WAITING"]["summary"] == "1 jobs wait for a key or for the cluster"
    # outages end
    assert job_checks(Jobs(1, 1, 0, (job("waiting", since=941),)), 1000) == {}
