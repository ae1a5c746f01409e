"""What pages of the manual need around them: the word in a page's `<!-- run: ... -->`, and what it stands for.

Key managers are the real servers of `qa/kms`. Each stage gives variables that the page's commands may use, as an
administrator has them.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from qa.kms.bao import Bao
from qa.kms.strict_moto import ACCESS_KEY
from qa.kms.test_aws import Moto
from qa.kms.test_kmip import Kmip
from qa.kms.test_pkcs11 import SoftHsm

from .pages import ROOT

EACH_TIME = "each-time"
"""Of pages that `qa/run test` runs, too; nothing is needed for it."""
_BARE = "/usr/sbin:/usr/bin:/sbin:/bin"

Variables = Mapping[str, str]


@contextmanager
def _vault(folder: Path) -> Iterator[Variables]:
    """OpenBao, unsealed, and its administrator's token. Its files lie in /srv/bao."""
    bao = Bao(folder)
    try:
        yield {
            "BAO_ADDR": bao.address(bao.port),
            "BAO_TOKEN": bao.admin.token,
            "BAO_CACERT": str(bao.authority.file),
        }
    finally:
        bao.stop()


@contextmanager
def _aws(folder: Path) -> Iterator[Variables]:
    """AWS KMS as moto serves it, with a key and who may use it."""
    moto = Moto(folder)
    try:
        yield {
            "AWS_KMS": moto.address(moto.port),
            "AWS_CA": str(moto.authority.file),
            "KEY_ID": moto.settings().key,
            "ACCESS_KEY_ID": ACCESS_KEY,
            "SECRET_ACCESS_KEY": moto.secret,
        }
    finally:
        moto.stop()


@contextmanager
def _kmip(folder: Path) -> Iterator[Variables]:
    """PyKMIP's server, with an active key, and a client's certificate."""
    kmip = Kmip(folder)
    try:
        yield {
            "KMIP": kmip.address(kmip.port),
            "KEY_ID": kmip.settings().key,
            "KMIP_CA": str(kmip.authority.file),
            "KMIP_CERTIFICATE": str(kmip.alice.certificate),
            "KMIP_PRIVATE_KEY": str(kmip.alice.key),
        }
    finally:
        kmip.stop()


@contextmanager
def _hsm(folder: Path) -> Iterator[Variables]:
    """A place for SoftHSM's tokens, with none in it."""
    hsm = SoftHsm(folder)
    shutil.rmtree(folder / "tokens")
    (folder / "tokens").mkdir()
    yield {"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"], "TOKEN": hsm.label}


@contextmanager
def _checkout(folder: Path) -> Iterator[Variables]:
    """A copy of the checkout, on a host with none of our tools: where the README begins."""
    place = folder / "checkout"
    shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns(".git", "__pycache__", "build", "*.egg-info"))
    yield {"PLACE": str(place), "PATH": _BARE}


@contextmanager
def _nothing(_folder: Path) -> Iterator[Variables]:
    """Nothing but the cluster, and what is the same for all pages."""
    yield {}


STAGES: Mapping[str, Callable[[Path], AbstractContextManager[Variables]]] = {
    "cluster": _nothing,
    EACH_TIME: _nothing,
    "vault": _vault,
    "aws": _aws,
    "kmip": _kmip,
    "hsm": _hsm,
    "checkout": _checkout,
}


@contextmanager
def stage(needs: Sequence[str], folder: Path) -> Iterator[dict[str, str]]:
    """All that a page needs; give the variables for its commands."""
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PLACE": "/root",
        "HOME": "/root",
        "PYTHONPATH": "",
    }
    with ExitStack() as stack:
        for need in needs:
            place = folder / need
            place.mkdir()
            variables |= stack.enter_context(STAGES[need](place))
        yield variables
