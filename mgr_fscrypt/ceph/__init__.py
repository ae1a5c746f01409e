"""The only room that touches libcephfs and librados.

`interface` has what other rooms may lean on (Protocols and values); it and `errors` import without Ceph's
bindings, so that code which only uses a mount can be read, typed and tested where there is none.
`connect` gives the real thing, which `guard` can keep in a process of its own.
"""
