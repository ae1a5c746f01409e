import subprocess

import pytest

from mgr_fscrypt.control.text import shell_word


@pytest.mark.parametrize(
    "text", ["/plain", "/a b", "/a'b", "$(reboot)", "`reboot`", "/a\n\x1b[2J'\\1", "größe\t9", ""]
)
def test_a_shell_reads_the_word_back(text: str):
    word = shell_word(text)
    assert word.isprintable()
    answer = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert answer.stdout.decode() == text
