"""The import rules of the design, held transitively by reading the sources.

A room may import what its row in `ROOMS` says, and whatever those rooms may import; nothing may lead it
anywhere else, in no branch and no function.
"""

import ast
import configparser
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from mgr_fscrypt.messages import RELEASE

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "mgr_fscrypt"
PAGES = "dashboard_ui"


@dataclass(frozen=True)
class Room:
    """What a room may import.

    Args:
        ours: rooms.
        theirs: packages that are neither ours nor Python's own.
    """

    ours: frozenset[str] = frozenset()
    theirs: frozenset[str] = frozenset()


def room(*ours: str, theirs: tuple[str, ...] = ()) -> Room:
    return Room(frozenset(ours), frozenset(theirs))


ROOMS: Mapping[str, Room] = {
    "format": room(theirs=("cryptography",)),
    "ceph": room(theirs=("rados", "cephfs")),
    "engine": room("format", "ceph"),
    # whether a tree is encrypted is the engine's to know: it only asks the format how long names may be
    "migrate": room("engine", "ceph", theirs=("distributed",)),
    # what a master key is called is the format's to say
    "keys": room(
        "format",
        theirs=(
            "azure",
            "barbicanclient",
            "boto3",
            "botocore",
            "cryptography",
            "google",
            "google_crc32c",
            "grpc",
            "hvac",
            "keystoneauth1",
            "kmip",
            "pkcs11",
            "requests",
            "shamir_mnemonic",
        ),
    ),
    "messages": room(),
    "store": room(),
    "backoff": room(),
    # where keys lie: for all who open them
    "custody": room("ceph", "keys"),
    # keys in memory that were withdrawn: for all who hold some for long
    "withdrawal": room("custody"),
    # what is reported of a subtree: for all who make or change some
    "subtree_facts": room("engine", "messages"),
    # what is told of what is kept: for all who tell it
    "reported": room("keys", "messages"),
    "control": room("store", "messages", "backoff", theirs=("yaml",)),
    "service_link": room("control", "messages"),
    "servers": room("control"),
    "progress_board": room("control"),
    "door": room("control", "messages", theirs=("mgr_module",)),
    # its pages lie beside the package
    "api": room("control", "door", "messages", PAGES, theirs=("cheroot", "cherrypy", "dashboard")),
    "module": room(
        "api",
        "control",
        "door",
        "messages",
        "progress_board",
        "servers",
        "service_link",
        theirs=("mgr_module",),
    ),
    "service": room(
        "engine",
        "keys",
        "messages",
        "migrate",
        "backoff",
        "custody",
        "reported",
        "withdrawal",
        "subtree_facts",
    ),
    # it reports the subtrees that it makes to the manager, hence messages
    "client": room(
        "engine",
        "keys",
        "messages",
        "migrate",
        "custody",
        "reported",
        "withdrawal",
        "subtree_facts",
        theirs=("mfusepy",),
    ),
    # what Python programs import: it reaches clusters and keys as the commands do
    "cephfscrypt": room("client", theirs=("fsspec",)),
    # ceph-mgr asks the package for Module
    "__init__": room("module"),
    # they reach the manager by what a door hands them alone
    PAGES: room(theirs=("jinja2",)),
}


@dataclass(frozen=True)
class Import:
    """One import of a source file: from `room` to `target`, which is a room or a foreign package."""

    room: str
    target: str
    ours: bool
    place: str


def sources(root: Path) -> Iterator[tuple[str, Path]]:
    """Give each Python source of the program with its room."""
    for file in sorted((root / PACKAGE).rglob("*.py")):
        first = file.relative_to(root / PACKAGE).parts[0]
        yield first.removesuffix(".py"), file
    for file in sorted((root / PAGES).rglob("*.py")):
        yield PAGES, file


def imports(root: Path) -> Iterator[Import]:
    """Give every import of the program.

    Raises:
        ValueError: an import that cannot be held to the rules: of our own package by its absolute name
            (ceph-mgr loads it under another), or by a name that is computed.
    """
    for name, file in sources(root):
        package = file.relative_to(root).parent.parts
        for node in ast.walk(ast.parse(file.read_text())):
            for target in _targets(node, package, f"{file.relative_to(root)}:{getattr(node, 'lineno', 0)}"):
                place = f"{file.relative_to(root)}:{getattr(node, 'lineno', 0)}"
                yield _import(name, target, place)


def _targets(node: ast.AST, package: tuple[str, ...], place: str) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(level=0):
            return [f"{node.module}.{alias.name}" for alias in node.names]
        case ast.ImportFrom():
            base = ".".join((*package[: len(package) - node.level + 1], *filter(None, [node.module])))
            return [f"{base}.{alias.name}" for alias in node.names]
        case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
            match node.args:
                case [ast.Constant(value=str(name)), *_] if not name.startswith("."):
                    return [name]
            msg = f"{place}: imports a name that is computed"
            raise ValueError(msg)
    return []


def _import(name: str, target: str, place: str) -> Import:
    top, *rest = target.split(".")
    if top == PACKAGE:
        return Import(name, rest[0] if rest else "__init__", ours=True, place=place)
    return Import(name, top, ours=top == PAGES, place=place)


def closure(rooms: Mapping[str, Room], name: str) -> Room:
    """Give all that a room may import, directly and through the rooms that it may import."""
    ours, theirs, left = {name}, set[str](), [name]
    while left:
        row = rooms[left.pop()]
        theirs |= row.theirs
        left += row.ours - ours
        ours |= row.ours
    return Room(frozenset(ours), frozenset(theirs))


def offences(root: Path, rooms: Mapping[str, Room] = ROOMS) -> list[str]:
    """Give what breaks the rules, as sentences."""
    found = []
    for each in imports(root):
        if each.room not in rooms:
            found.append(f"{each.place}: {each.room} is no room of the table")
            continue
        allowed = closure(rooms, each.room)
        if each.ours and each.target not in allowed.ours:
            found.append(f"{each.place}: {each.room} imports {each.target}")
        if not each.ours and each.target not in allowed.theirs | sys.stdlib_module_names:
            found.append(f"{each.place}: {each.room} imports {each.target}")
    return found


def absolute_own_imports(root: Path) -> list[str]:
    """Give the places in the package that import it by its absolute name: ceph-mgr has it under another."""
    found = []
    for name, file in sources(root):
        for node in ast.walk(ast.parse(file.read_text())):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                named = [node.module or ""]
            if name != PAGES and any(each.split(".")[0] == PACKAGE for each in named):
                found.append(f"{file.relative_to(root)}:{getattr(node, 'lineno', 0)}")
    return found


def plant(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_the_rooms_keep_to_the_table():
    assert offences(ROOT) == []


def test_every_room_of_the_table_is_there_and_none_is_empty():
    present = {name for name, file in sources(ROOT) if file.read_text().strip()}
    assert present == set(ROOMS)


def test_imports_inside_the_package_are_relative():
    assert absolute_own_imports(ROOT) == []


def test_the_manager_reaches_neither_ciphers_nor_the_file_system():
    reached = closure(ROOMS, "__init__")
    assert reached.theirs == {"cheroot", "cherrypy", "dashboard", "jinja2", "mgr_module", "yaml"}
    assert reached.ours == {
        "__init__",
        "module",
        "api",
        "dashboard_ui",
        "door",
        "servers",
        "progress_board",
        "service_link",
        "control",
        "store",
        "messages",
        "backoff",
    }


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("mgr_fscrypt/control/a.py", "from ..engine import b", "control imports engine"),
        ("mgr_fscrypt/control/deep/a.py", "from ...format.keys import b", "control imports format"),
        ("mgr_fscrypt/control/a.py", "def f():\n    from .. import ceph", "control imports ceph"),
        ("mgr_fscrypt/messages/a.py", "import cryptography.hazmat", "messages imports cryptography"),
        ("mgr_fscrypt/module.py", "if False:\n    import cephfs", "module imports cephfs"),
        ("mgr_fscrypt/module.py", "__import__('cephfs')", "module imports cephfs"),
        (
            "mgr_fscrypt/store/a.py",
            "import importlib\nimportlib.import_module('rados')",
            "store imports rados",
        ),
        ("mgr_fscrypt/engine/a.py", "import jinja2", "engine imports jinja2"),
        ("mgr_fscrypt/engine/a.py", "from ..migrate import b", "engine imports migrate"),
        ("mgr_fscrypt/migrate/a.py", "from ..keys import b", "migrate imports keys"),
        ("mgr_fscrypt/client/a.py", "from ..control import b", "client imports control"),
        ("mgr_fscrypt/service/a.py", "from ..control import b", "service imports control"),
        ("mgr_fscrypt/service_link.py", "from .service import b", "service_link imports service"),
        ("dashboard_ui/a.py", "from mgr_fscrypt.engine import b", "dashboard_ui imports engine"),
        ("mgr_fscrypt/odds/a.py", "import os", "odds is no room"),
    ],
)
def test_a_planted_import_is_caught(tmp_path: Path, file: str, text: str, says: str):
    (found,) = offences(plant(tmp_path, {file: text}))
    assert says in found


def test_a_computed_import_is_refused(tmp_path: Path):
    planted = plant(tmp_path, {"mgr_fscrypt/control/a.py": "import_module('ra' + 'dos')"})
    with pytest.raises(ValueError, match="computed"):
        offences(planted)


def test_a_planted_absolute_import_is_caught(tmp_path: Path):
    planted = plant(tmp_path, {"mgr_fscrypt/control/a.py": "import os\nfrom mgr_fscrypt.store import b"})
    assert absolute_own_imports(planted) == ["mgr_fscrypt/control/a.py:2"]


def test_a_table_row_opens_what_its_rooms_reach():
    rooms = {"a": room("b"), "b": room("c", theirs=("x",)), "c": room("a", theirs=("y",)), "d": room()}
    assert closure(rooms, "a") == room("a", "b", "c", theirs=("x", "y"))


MANAGER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        # and where what the API takes is not installed
        absent = ("cryptography", "cephfs", "rados", "jinja2", "cheroot", "cherrypy", "dashboard", "dashboard_ui")
        if name.split(".")[0] in absent:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import fscrypt
print(fscrypt.Module.__name__, *sorted(fscrypt.Module.CLICommand.COMMANDS), sep="; ")
print(any(name.split(".")[0] == "mgr_fscrypt" for name in sys.modules))
"""

TENTACLE = """
class CLICommandBase:
    def __init__(self, prefix, perm="rw", poll=False):
        self.prefix = prefix
    def __call__(self, func):
        self.COMMANDS[self.prefix] = self
        return func
    @classmethod
    def make_registry_subtype(cls, name):
        return type(name, (cls,), {"COMMANDS": {}})
"""

REEF = """
class CLICommand:
    COMMANDS = {}
    def __init__(self, prefix, perm="rw", poll=False):
        self.prefix = prefix
    def __call__(self, func):
        self.COMMANDS[self.prefix] = self
        return func
"""

STUB = """
HandleCommandResult = tuple
Option = dict
class MgrDBNotReady(RuntimeError):
    pass
class MgrModule:
    pass
class CommandResult:
    pass
"""


@pytest.mark.parametrize("shape", [TENTACLE, REEF], ids=["tentacle", "reef"])
def test_the_module_loads_where_ciphers_and_bindings_cannot(tmp_path: Path, shape: str):
    plant(tmp_path, {"ceph_module.py": "", "mgr_module.py": textwrap.dedent(shape + STUB)})
    (tmp_path / "fscrypt").symlink_to(ROOT / PACKAGE)
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", MANAGER],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    commands = (
        "fscrypt api access ls; fscrypt api access revoke; fscrypt api certificate add; fscrypt api login; "
        "fscrypt api session ls; fscrypt api session revoke; "
        "fscrypt api show; fscrypt api token create; fscrypt api user add; "
        "fscrypt apply; fscrypt audit ls; fscrypt audit verify; "
        "fscrypt client explain; fscrypt client ls; fscrypt doctor; "
        "fscrypt gate preview; fscrypt gate set; fscrypt gate show; fscrypt history; "
        "fscrypt job cancel; fscrypt job forget; fscrypt job ls; fscrypt job pause; fscrypt job resume; "
        "fscrypt job show; "
        "fscrypt key add; fscrypt key adopt; fscrypt key cancel; fscrypt key create; fscrypt key destroy; "
        "fscrypt key destruction approve; fscrypt key destruction ls; fscrypt key destruction request; "
        "fscrypt key destruction withdraw; "
        "fscrypt key disable; fscrypt key drill; fscrypt key drill-every; fscrypt key enable; fscrypt key expire; "
        "fscrypt key finish; fscrypt key lock; fscrypt key ls; fscrypt key recover; fscrypt key remove; "
        "fscrypt key rescan; fscrypt key rewrap; fscrypt key show; fscrypt key test; fscrypt key unlock; "
        "fscrypt kms add; fscrypt kms ls; fscrypt kms rm; fscrypt kms test; fscrypt kms trust; "
        "fscrypt metrics; "
        "fscrypt migrate cancel; fscrypt migrate plan; fscrypt migrate purge; fscrypt migrate rollback; "
        "fscrypt migrate start; fscrypt migrate status; fscrypt migrate verify; fscrypt scan; "
        "fscrypt service status; fscrypt show; fscrypt status; "
        "fscrypt subtree adopt; fscrypt subtree bundle; fscrypt subtree create; fscrypt subtree forget; "
        "fscrypt subtree hold; "
        "fscrypt subtree ls; fscrypt subtree release; fscrypt subtree rm; fscrypt subtree scanned; "
        "fscrypt subtree show; fscrypt subtree verify; "
        "fscrypt tenant add; fscrypt tenant adopt; fscrypt tenant create; fscrypt tenant ls; fscrypt tenant remove; "
        "fscrypt tenant rewrap; fscrypt tenant rotate; fscrypt tenant rotate-every; fscrypt tenant test"
    )
    assert done.stdout == f"Module; {commands}\nFalse\n"


def test_the_release_is_the_packages():
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert metadata["metadata"]["version"] == RELEASE


def kept_files(root: Path) -> Iterator[Path]:
    """Give the files of the project, not what tools leave behind."""
    yield from (file for file in root.iterdir() if file.is_file())
    for folder in (".ci", PACKAGE, PAGES, "packaging", "qa", "doc"):
        for file in (root / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


# written in pieces: this file is searched too
REGISTRIES = [
    "".join(parts).encode()
    for parts in (
        ("py", "pi.org"),
        ("python", "hosted.org"),
        ("npm", "js.org"),
        ("npm", "js.com"),
        ("crates", ".io"),
        ("golang", ".org"),
        ("rubygems", ".org"),
        ("debian", ".org"),
        ("anaconda", ".org"),
        ("docker", ".io"),
        ("quay", ".io"),
        ("ghcr", ".io"),
    )
]


def registries_named(root: Path) -> list[str]:
    return [
        f"{file.relative_to(root)} names {host.decode()}"
        for file in kept_files(root)
        for host in REGISTRIES
        if host in file.read_bytes().lower()
    ]


def test_no_file_names_a_package_registry():
    assert registries_named(ROOT) == []


def test_a_planted_registry_is_found(tmp_path: Path):
    plant(tmp_path, {"doc/a.md": "see https://" + ".".join(("pypi", "org")) + "/simple", "README.md": "fine"})
    assert registries_named(tmp_path) == ["doc/a.md names " + ".".join(("pypi", "org"))]
