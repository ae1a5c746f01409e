"""The probe as ceph-mgr imports it."""

from .module import Module

__all__ = ["Module"]
