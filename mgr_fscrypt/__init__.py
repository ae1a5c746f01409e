"""Encryption for CephFS in the Linux kernel's fscrypt format.

Imported as ``mgr_fscrypt`` everywhere; ceph-mgr loads the same directory as its module ``fscrypt``
and looks for ``Module`` in the package (doc/facts.md M13), which only exists where ``ceph_module`` does.
"""

from importlib.util import find_spec

if find_spec("ceph_module") is not None:
    from .module import Module as Module
