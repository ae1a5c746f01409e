"""AES-CBC with ciphertext stealing, CS3, zero padding at the end of the input (NIST SP 800-38A addendum, RFC 3962).

The block cipher and CBC are OpenSSL's, through ``cryptography``; here the last two blocks change places.
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16


def encrypt(key: bytes, iv: bytes, plain: bytes) -> bytes:
    """Encrypt at least 16 bytes; the result is as long as the input. 16 bytes exactly are plain CBC."""
    tail = -len(plain) % BLOCK
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    blocks = encryptor.update(plain + bytes(tail)) + encryptor.finalize()
    if len(plain) == BLOCK:
        return blocks
    return blocks[: -2 * BLOCK] + blocks[-BLOCK:] + blocks[-2 * BLOCK : len(blocks) - BLOCK - tail]


def decrypt(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """Undo ``encrypt``."""
    if len(ciphertext) % BLOCK == 0:
        return _cbc(key, iv, _swapped(ciphertext))
    head_size = (len(ciphertext) - 1) // BLOCK * BLOCK - BLOCK
    last = ciphertext[head_size : head_size + BLOCK]
    stolen = ciphertext[head_size + BLOCK :]
    stolen += _cbc(key, bytes(BLOCK), last)[len(stolen) :]
    return _cbc(key, iv, ciphertext[:head_size] + stolen + last)[: len(ciphertext)]


def decrypt_all(key: bytes, iv: bytes, ciphertexts: Sequence[bytes]) -> list[bytes]:
    """As ``decrypt`` of each, at the cost of one.

    Whole blocks are one stream, with the IV before each of them: CBC adds to a block what is enciphered before it.
    """
    whole = [each for each in ciphertexts if len(each) % BLOCK == 0]
    stream = _cbc(key, iv, b"".join(iv + _swapped(each) for each in whole))
    plain, at = [], 0
    for each in ciphertexts:
        if len(each) % BLOCK:
            plain.append(decrypt(key, iv, each))
        else:
            at += BLOCK
            plain.append(stream[at : at + len(each)])
            at += len(each)
    return plain


def _swapped(ciphertext: bytes) -> bytes:
    """Whole blocks in the order of plain CBC."""
    if len(ciphertext) == BLOCK:
        return ciphertext
    return ciphertext[: -2 * BLOCK] + ciphertext[-BLOCK:] + ciphertext[-2 * BLOCK : -BLOCK]


def _cbc(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()
