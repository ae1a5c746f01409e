"""Client sessions as the MDSs list them."""

from collections.abc import Mapping, Set
from typing import Any

from .interface import Session


def session_of(listed: Mapping[str, Any], managers: Set[str]) -> Session:
    """One element of `session ls`. `managers` are the addresses of ceph-mgr's own clients."""
    metadata = {key: value for key, value in listed["client_metadata"].items() if isinstance(value, str)}
    address = listed["entity"]["addr"]
    where = f"{address['addr']}/{address['nonce']}"
    authenticated = listed.get("auth_name")  # since 20: 18.2.7 lists no type
    kind = authenticated["type_str"] if authenticated else "client"
    return Session(
        number=int(listed["id"]),
        entity=f"{kind}.{metadata.get('entity_id', '?')}",
        address=where,
        root=metadata.get("root", "/").encode(errors="surrogateescape"),
        metadata=metadata,
        capabilities=int(listed.get("num_caps", 0)),
        manager=kind == "mgr" or where in managers,
    )
