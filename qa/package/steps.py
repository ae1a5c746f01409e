"""The steps, each by commands as an administrator and a user give them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

_KEY, _MOUNT = Path("/cluster/kept.key"), Path("/cluster/mounted")
_SUBTREE = "/kept"
_TEXT = "Meet me under the oak.\n"
_INSTALLED = "/usr/lib/python3/dist-packages/"
_OF_WHEELS = "/opt/cephfs-fscrypt/bin/python"
"""Where the page on installing, and the Containerfile, have an environment for the wheel."""
_PATIENCE = 90.0


class UnexpectedError(Exception):
    """Something is not as it should be; the message says what."""


def began(release: str) -> None:
    """A host with fresh packages: they are what runs; a subtree is made, mounted, and written through the mount."""
    where = said(sys.executable, "-c", "import mgr_fscrypt.client, sys; print(mgr_fscrypt.__file__)")
    expect(where.startswith(_INSTALLED), f"what is imported is not what was installed: {where}")
    compiled = "from mgr_fscrypt.format.fastest import fastest; print(fastest().name)"
    expect(said(sys.executable, "-c", compiled) == "accelerator\n", "the compiled cipher is not used")
    _runs(release)
    _first_used()


def upgraded(release: str) -> None:
    """The packages were replaced under a cluster and a mount that go on; the manager begins anew with them."""
    # the mount is a process of the release before, until it is made anew
    expect((_MOUNT / "letter").read_text() == _TEXT, "the mount of the release before lost what it had")
    (_MOUNT / "answer").write_text(_TEXT)
    said("ceph", "mgr", "fail")
    _runs(release)
    expect(_SUBTREE in said("ceph", "fscrypt", "subtree", "ls"), "the manager forgot a subtree")
    expect(_with_key("cat", f"{_SUBTREE}/letter") == _TEXT, "a file is not what it was")
    said("umount", str(_MOUNT))
    _with_key("mount", _SUBTREE, str(_MOUNT))
    expect((_MOUNT / "answer").read_text() == _TEXT, "what was written during the upgrade is lost")
    said("umount", str(_MOUNT))
    _with_key("fsck", _SUBTREE)


def poor(python: str) -> None:
    """With an interpreter that lacks Ceph's bindings no service works, and the doctor says what it needs."""
    said("ceph", "config", "set", "mgr", "mgr/fscrypt/service_python", python)
    until("the doctor tells what is missing", lambda: "No module named" in _doctor("service")["found"])
    told = _doctor("service")
    expect(told["grade"] == "error", f"the doctor takes that lightly: {told}")
    expect("service_python" in told["remedy"], f"the doctor does not tell what to do: {told}")


def rich(python: str) -> None:
    """With an environment of its own the service works by that, and what lies in it comes before the system's."""
    said("ceph", "config", "set", "mgr", "mgr/fscrypt/service_python", python)
    until("the service works again", lambda: _doctor("service")["grade"] == "ok")
    expect(_interpreter() == python, f"the service runs by {_interpreter()}")
    variables = Path("/proc", str(_service()["pid"]), "environ").read_bytes().split(b"\0")
    expect(
        not any(variable.startswith(b"PYTHONPATH=") for variable in variables),
        "the system's packages come before those of the environment",
    )
    program = "import hvac, mgr_fscrypt, rados; print(hvac.__file__, mgr_fscrypt.__file__, rados.__file__)"
    library, ours, bindings = said(python, "-I", "-c", program).split()
    expect(library.startswith(str(Path(python).parents[1])), f"the library is another one: {library}")
    expect(ours.startswith(_INSTALLED), f"the service is another one: {ours}")
    expect(bindings.startswith("/usr/lib/python3/"), f"the bindings are other ones: {bindings}")


def image(release: str) -> None:
    """An image was built by the Containerfile: the manager has the module, whose service runs by the image's
    interpreter."""
    _runs_by(_OF_WHEELS, release)
    said(_OF_WHEELS, "-I", "-c", "import hvac, cherrypy, jinja2, mfusepy, rados, dashboard_ui.pages")


def wheel(release: str) -> None:
    """The wheel was installed beside Ceph: module and service run by it, and the command does what it is for."""
    _runs_by(_OF_WHEELS, release)
    said(_OF_WHEELS, "-I", "-c", "import hvac, mfusepy, shamir_mnemonic, rados")
    _first_used()
    said("umount", str(_MOUNT))
    _with_key("put", str(Path(__file__).parent), _SUBTREE)
    own = f"{Path(__file__).parent.name}/{Path(__file__).name}"
    expect(_with_key("cat", f"{_SUBTREE}/{own}") == Path(__file__).read_text(), "what was put in is another")
    expect(_with_key("cat", f"{_SUBTREE}/letter") == _TEXT, "what was written through the mount is another")
    expect(_SUBTREE in said("ceph", "fscrypt", "subtree", "ls"), "the manager was not told of a subtree")
    _with_key("fsck", _SUBTREE)


def left(_: str) -> None:
    """The module is disabled, as before its packages are removed: no process of ours stays."""
    said("ceph", "config", "rm", "mgr", "mgr/fscrypt/service_python")
    said("ceph", "mgr", "module", "disable", "fscrypt")
    until("the service ends", lambda: not any("mgr_fscrypt" in words for words in _processes()))


def said(*words: str) -> str:
    """What a command prints, which has to succeed.

    Raises:
        UnexpectedError: it did not; with its words.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/", timeout=300)
    if done.returncode != 0:
        raise UnexpectedError(f"`{' '.join(words)}` ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def expect(fine: bool, otherwise: str) -> None:
    """Raises UnexpectedError, with what it is `otherwise`."""
    if not fine:
        raise UnexpectedError(otherwise)


def until(what: str, done: Callable[[], bool]) -> None:
    """Wait; refusals meanwhile count as not yet. Raises UnexpectedError: it did not come."""
    end, last = time.monotonic() + _PATIENCE, ""
    while time.monotonic() < end:
        try:
            if done():
                return
        except UnexpectedError as error:
            last = str(error)
        time.sleep(1)
    raise UnexpectedError(f"not in {_PATIENCE:.0f} s: {what}. {last}")


def _runs(release: str) -> None:
    """The command, the manager module and its service are of this release, and well."""
    told = said("cephfs-fscrypt", "--version")
    expect(told == f"cephfs-fscrypt {release}\n", f"the command is {told}")
    until(
        f"the manager module is {release}",
        lambda: json.loads(said("ceph", "fscrypt", "status", "--format", "json"))["version"] == release,
    )
    # of another release is a warning
    until("the service works", lambda: _doctor("service")["grade"] == "ok")


def _runs_by(python: str, release: str) -> None:
    said("ceph", "config", "set", "mgr", "mgr/fscrypt/service_python", python)
    _runs(release)
    until(f"the service runs by {python}", lambda: _interpreter() == python)


def _first_used() -> None:
    """A key, a subtree, and a file that is written through a mount, which stays."""
    said("cephfs-fscrypt", "key", "generate", str(_KEY))
    _with_key("subtree", "create", _SUBTREE, "--make")
    _MOUNT.mkdir()
    _with_key("mount", _SUBTREE, str(_MOUNT))
    (_MOUNT / "letter").write_text(_TEXT)


def _doctor(check: str) -> dict[str, Any]:
    findings = json.loads(said("ceph", "fscrypt", "doctor", "--format", "json"))["findings"]
    found: dict[str, Any] = next(finding for finding in findings if finding["check"] == check)
    return found


def _service() -> dict[str, Any]:
    status: dict[str, Any] | None
    status = json.loads(said("ceph", "fscrypt", "service", "status", "--format", "json"))["service"]
    if status is None:
        raise UnexpectedError("no service works")
    return status


def _processes() -> Iterator[str]:
    """The command lines of all that run; what has ended and was not waited for has none."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield place.read_text(errors="replace").replace("\0", " ")


def _interpreter() -> str:
    """What the service runs by; nothing while it makes room for another one."""
    with suppress(FileNotFoundError):
        return Path("/proc", str(_service()["pid"]), "cmdline").read_bytes().split(b"\0")[0].decode()
    return ""


def _with_key(*words: str) -> str:
    return said("cephfs-fscrypt", *words, "--key", str(_KEY))
