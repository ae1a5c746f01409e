"""The engine service: the process that may hold unlocked master keys for jobs (doc/service.md).

`python -m mgr_fscrypt.service` runs it. `core.Service` decides; `server` talks to whoever asks; `tenure` sees to it
that one service works at a time; `resident` keeps keys, and `memory` their bytes.
"""
