"""What the threat model says, as far as a program can check it; and that each test that the manual names is there."""

import ast
import re
import stat
from pathlib import Path

from mgr_fscrypt.ceph.interface import Kind
from qa.fakes.ceph import FakeCluster, FakeMount, Inode
from qa.fakes.engine_cases import planted
from qa.manual.inventory import ROOT

NAME, TARGET, WORDS = b"the-merger.txt", b"../somewhere-secret", b"We buy them in May. " * 300
SIZE = len(WORDS)
_NAMED = re.compile(r"`((?:qa|mgr_fscrypt|dashboard_ui|doc)/[\w./-]+)(?:::(\w+))?`")
# that no secret is among them is what this list is for: each is looked at by a person
_ENVIRONMENT = {
    "ceph/access.py": {"CEPH_CONF"},
    "client/fuse_library.py": {"FUSE_LIBRARY_NAME"},
    "format/accelerator.py": {"DIRECTORY_VARIABLE", "XDG_CACHE_HOME"},
    "keys/private_files.py": {"_HANDED_OVER"},
    "migrate/spawning.py": {"_SAFE_PATH"},
    "service_link.py": {"PYTHONPATH"},
}


def test_what_is_in_clear():
    """Of a file, a link and a directory: sizes, kinds, modes, attributes are what a server sees; nothing else is."""
    mount = FakeMount(FakeCluster())
    with planted(mount, FakeMount(mount.cluster), "threats") as tree:
        path = tree.make(NAME, WORDS, 0o640)
        tree.fs.setxattr(path, "user.colour", b"blue")
        tree.fs.symlink(TARGET, tree.path + b"/link")
        tree.fs.mkdir(tree.path + b"/folder")
        stored = tree.stored(NAME)
        assert len(list(tree.plain.scandir(tree.path))) == 3, "how many there are is in clear"
        assert tree.plain.stat(stored).kind is Kind.FILE
        assert stat.S_IMODE(tree.plain.stat(stored).mode) == 0o640
        assert tree.plain.getxattr(stored, "user.colour") == b"blue"
        assert tree.record(NAME).real_size == SIZE, "to the byte"
        assert tree.locked.stat(stored).size == SIZE, "without the key, too"
        held = b"\n".join(_all_held(mount.cluster.root))
        assert b"user.colour" in held, "the search finds what is there"
        for secret in (NAME, NAME[:-4], TARGET, WORDS[:19], b"folder"):
            assert secret not in held


def _all_held(inode: Inode) -> list[bytes]:
    """All that servers hold of an inode and what is below it."""
    held = [bytes(inode.data), inode.target]
    for name, value in inode.attributes.items():
        held += [name.encode(), value]
    for stored, below in inode.names.items():
        held += [stored, *_all_held(below)]
    return held


def test_no_secret_comes_by_the_environment():
    """All variables that the program reads, file by file."""
    found: dict[str, set[str]] = {}
    for file in sorted((ROOT / "mgr_fscrypt").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            name = _variable(node)
            if name is not None:
                found.setdefault(str(file.relative_to(ROOT / "mgr_fscrypt")), set()).add(name)
    assert found == _ENVIRONMENT


def _variable(node: ast.AST) -> str | None:
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get" | "setdefault" | "pop")
        ):
            words = node.args[0]
        case ast.Call(func=ast.Attribute(attr="getenv")):
            words = node.args[0]
        case ast.Subscript(value=ast.Attribute(attr="environ")):
            words = node.slice
        case _:
            return None
    return str(words.value) if isinstance(words, ast.Constant) else ast.unparse(words)


def test_each_file_and_test_that_the_manual_names_is_there():
    missing = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "doc").rglob("*.md")]:
        for name, test in _NAMED.findall(page.read_text()):
            place = ROOT / name.rstrip("/")
            if not (place.exists() or _made(name)):
                missing.append(f"{page.relative_to(ROOT)}: {name}")
            elif test and f"def {test}(" not in place.read_text():
                missing.append(f"{page.relative_to(ROOT)}: {name}::{test}")
    assert missing == []


def _made(name: str) -> bool:
    """Is it made by a program, and not kept?"""
    return Path(name.rstrip("/")) in map(Path, ("dashboard_ui/assets", "doc/reference", "qa/web/axe.min.js"))
