"""How Linux misreads the end of a file at times: it puts zeros behind the end before it deciphers
(doc/kernel-witness.md)."""

from mgr_fscrypt.format import Contents, Context, MasterKey


def misread(key: MasterKey, context: Context, content: bytes) -> bytes:
    """What it reads then of a file of this content. It is wrong from the last multiple of 16 on, if at all."""
    with Contents(key, context) as contents:
        last = len(content) // contents.unit_size
        begin = last * contents.unit_size
        end = len(content) - begin
        stored = contents.encrypt(content[begin:].ljust(contents.unit_size, b"\0"), last)
        zeroed = stored[:end].ljust(contents.unit_size, b"\0")
        return content[:begin] + contents.decrypt(zeroed, last)[:end]
