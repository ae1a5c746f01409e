"""Proof of gating on a real cluster: what each rung was seen to do to clients, beside what doc/gating.md promises.

`place` is a subtree with its entities, `strays` are the kinds of clients that know nothing of encryption, `story` is
what is done and asked.
"""
