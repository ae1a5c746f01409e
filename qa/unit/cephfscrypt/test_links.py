"""Symbolic links as the kernel follows them."""

import errno

import pytest

from mgr_fscrypt.cephfscrypt import Client, NotFoundError, RefusedError


@pytest.fixture
def tree(files: Client) -> Client:
    for path in ("/vault/a", "/vault/a/b"):
        files.mkdir(path)
    files.stream("/vault/a/b/file", "wb").close()
    for target, name in (
        ("a", "to a"),
        ("/vault/a/./b/", "to b"),
        ("to b/file", "to file"),
        ("../../../../vault/a/b/../b/file", "upwards"),
        ("to a/../to a/none", "to none"),
        ("none/deeper", "to deeper"),
        ("round two", "round one"),
        ("round one", "round two"),
    ):
        files.symlink(target, f"/vault/{name}")
    return files


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/", "/"),
        ("/vault/a/b/file", "/vault/a/b/file"),
        ("/vault//./to a", "/vault/a"),
        ("/vault/to a/b/file", "/vault/a/b/file"),
        ("/vault/to b/file", "/vault/a/b/file"),
        ("/vault/to file", "/vault/a/b/file"),
        ("/vault/upwards", "/vault/a/b/file"),
        ("/vault/to none", "/vault/a/none"),
        ("/vault/new", "/vault/new"),
    ],
)
def test_where_links_lead(tree: Client, path: str, real: str):
    assert tree.real_path(path) == real


def test_where_they_do_not(tree: Client):
    with pytest.raises(NotFoundError):
        tree.real_path("/vault/to deeper")
    with pytest.raises(RefusedError, match="too many") as caught:
        tree.stream("/vault/round one")
    assert caught.value.errno == errno.ELOOP


def test_files_are_opened_and_made_by_way_of_links(tree: Client):
    with tree.stream("/vault/to file", "wb") as stream:
        stream.write(b"1")
    with tree.stream("/vault/to none", "wb") as stream:
        stream.write(b"22")
    assert tree.stat("/vault/a/b/file").size == 1
    assert tree.stat("/vault/a/none").size == 2
    assert tree.followed("/vault/to none").size == 2
    with pytest.raises(FileExistsError):
        tree.stream("/vault/to file", "xb")
