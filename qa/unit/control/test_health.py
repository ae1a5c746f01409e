import errno

from mgr_fscrypt.control import Result
from mgr_fscrypt.control.health import DATABASE, GRACE, DatabaseWatch

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
