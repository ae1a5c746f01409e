"""Proof of hygiene: known secrets go through every flow, and are searched for in every place where none may be.

`forms` says how a secret may look, each searcher looks in one kind of place, `flows` are what is done with the
secret meanwhile, and `proof` puts them together. A new kind of secret is a `Secret`, a new command or service a flow.
"""
