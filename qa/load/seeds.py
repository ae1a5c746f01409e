"""Seeds of random tests: new ones each time, or the one that is asked for."""

import os
import random


def seed() -> int:
    """FSCRYPT_QA_SEED, or a new one; tests print it."""
    return int(os.environ.get("FSCRYPT_QA_SEED") or random.SystemRandom().randrange(1 << 32))
