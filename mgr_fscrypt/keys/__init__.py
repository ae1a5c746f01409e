"""Master keys outside of memory: wrapped, by one protector or several, in containers that are kept in RADOS.

Start with ``Lockbox`` (one master key and its protectors), ``kms`` (key managers) and doc/keys.md.
"""
