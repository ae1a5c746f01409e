"""The release of this software, for both ends of a message. setup.cfg says the same: a test holds it."""

RELEASE = "0.1.0"
