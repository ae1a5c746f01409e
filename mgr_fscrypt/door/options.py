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
)
