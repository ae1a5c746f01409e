"""The wheel: has all that the checkout has of the packages, and runs where it is installed."""

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mgr_fscrypt.client.outcome import Exit
from mgr_fscrypt.messages import RELEASE

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("mgr_fscrypt", "dashboard_ui")
MADE_ON_THE_WAY = ("__pycache__",)
# what a program looks for beside itself, and nobody imports
DATA = {
    "mgr_fscrypt/py.typed",
    "mgr_fscrypt/format/accelerator.c",
    "mgr_fscrypt/monitoring/alerts.yml",
    "mgr_fscrypt/monitoring/dashboard.json",
    "dashboard_ui/templates/base.html",
    "dashboard_ui/static/pages.css",
    "dashboard_ui/carbon/package-lock.json",
    "dashboard_ui/carbon/.npmrc",
}

pytestmark = pytest.mark.tentacle


def done(*words: str | Path) -> str:
    """Run a program that has to succeed; what it printed."""
    answer = subprocess.run(words, capture_output=True, text=True, check=False, cwd="/")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of a copy: setuptools writes beside what it reads."""
    source, into = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        done("cp", "-r", ROOT / name, source)
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", into)
    done(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *options, source)
    (made,) = into.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel and the system's packages, among them Ceph's bindings."""
    return environment(wheel, tmp_path_factory.mktemp("with"), "--system-site-packages")


def environment(wheel: Path, folder: Path, *options: str) -> Path:
    base = Path(sys.base_exec_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    done(base, "-m", "venv", "--without-pip", *options, folder)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin/python")
    done(*pip, "install", "--no-deps", "--no-index", wheel)
    return folder / "bin"


def test_all_of_the_packages_is_in_it_and_nothing_else(wheel: Path):
    there = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and not set(file.parts) & set(MADE_ON_THE_WAY)
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == there
    assert names >= DATA


def test_its_metadata_are_those_of_the_release(wheel: Path):
    assert wheel.name == f"cephfs_fscrypt-{RELEASE}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"cephfs_fscrypt-{RELEASE}.dist-info/METADATA").decode()
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    for extra in metadata["options.extras_require"]:
        assert f"Provides-Extra: {extra}\n" in text


def test_what_is_installed_runs(installed: Path):
    assert done(installed / "cephfs-fscrypt", "--version") == f"cephfs-fscrypt {RELEASE}\n"
    assert "subtree" in done(installed / "cephfs-fscrypt", "--help")
    where = "import mgr_fscrypt, dashboard_ui; print(mgr_fscrypt.__file__, dashboard_ui.__file__)"
    assert done(installed / "python", "-I", "-c", where).count(str(installed.parent)) == len(PACKAGES)
    assert "--socket" in done(installed / "python", "-I", "-m", "mgr_fscrypt.service", "--help")


def test_without_what_ceph_brings_it_says_what_is_missing(wheel: Path, tmp_path: Path):
    program = environment(wheel, tmp_path) / "cephfs-fscrypt"
    for words in ((), ("--help",), ("ls", "/secret")):
        answer = subprocess.run([program, *words], capture_output=True, text=True, check=False, cwd="/")
        assert answer.returncode == Exit.UNREACHABLE
        assert answer.stderr.startswith(
            "cephfs-fscrypt: this host lacks the Python module `rados`, `cephfs`, "
        )
        assert "python3-cephfs" in answer.stderr
