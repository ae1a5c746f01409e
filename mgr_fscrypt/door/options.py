"""The options of the module: `ceph config set mgr mgr/fscrypt/NAME VALUE`."""

from mgr_module import Option

OPTIONS = (
    Option(
        name="service",
        default="child",
        enum_allowed=["child", "socket", "off"],
        desc="how the engine service runs: as ceph-mgr's child, by itself with a socket, or not at all",
    ),
    Option(name="service_python", default="", desc="interpreter of the child; empty: ceph-mgr's own"),
    Option(
        name="service_socket",
        default="/run/cephfs-fscrypt/service.sock",
        desc="where a service that runs by itself listens",
    ),
    Option(name="service_entity", default="", desc="whom the child connects as; empty: this manager"),
    Option(name="service_keyring", default="", desc="where that entity's key is"),
    Option(name="service_fs", default="", desc="the file system that it works for; empty: the default one"),
    Option(
        name="service_resident_limit",
        type="secs",
        default=0,
        desc="seconds for which the child may keep keys beyond the jobs that need them",
    ),
    Option(
        name="api_server",
        type="bool",
        default=False,
        desc="whether the module serves its API and its pages on an address of their own",
    ),
    Option(name="api_address", default="", desc="where it listens; empty: on the address of this manager"),
    Option(name="api_port", type="int", default=8449, min=1, max=65535, desc="the TCP port of it"),
    Option(
        name="api_certificate",
        default="",
        desc="file on the managers' hosts with its certificate; empty: one of its own making",
    ),
    Option(name="api_key", default="", desc="file on the managers' hosts with the key of that certificate"),
    Option(
        name="api_client_authority",
        default="",
        desc="file on the managers' hosts with the authorities whose client certificates are believed; empty: none is",
    ),
    Option(
        name="api_open_metrics",
        type="bool",
        default=False,
        desc="whether /metrics is answered to everybody",
    ),
    Option(
        name="two_people",
        type="bool",
        default=False,
        desc="whether the end of a key takes two people, known by the API; the command line then is told none for it",
    ),
)
