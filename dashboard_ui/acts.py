"""What can be done from a page: one form for each command, with the words that a person needs for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

Values = Mapping[str, str]
"""What was typed, by the names of fields."""


@dataclass(frozen=True)
class Field:
    """One input of a form.

    Args:
        name: the argument of the command that it is.
        label: what it is called.
        hint: what may be typed.
        kind: "text", "number", "flag", or "choice" of `choices`.
        choices: what can be chosen; an empty one stands for the command's default.
        required: whether the command needs it.
        more: whether it stands below "More options".
    """

    name: str
    label: str
    hint: str = ""
    kind: str = "text"
    choices: tuple[str, ...] = ()
    required: bool = False
    more: bool = False


@dataclass(frozen=True)
class Act:
    """One form.

    Args:
        command: that it gives.
        title: the heading of its page.
        button: what stands on the button.
        about: what it does, in a sentence or two.
        fields: its inputs.
        home: the page that it belongs to, and that follows when it was done.
        kept: the fields whose values that page needs.
        rehearsal: the command that tells what would be done: itself, with ``dry_run``, or another one with the same
            fields; empty: there is none.
        grave: whether something is lost by it.
        typed: the field whose value a person types once more; empty: none. The command's ``confirm`` gets it.
        confirm: whether the command has it.
        once: the field of the answer that is shown then and never again; empty: there is none.
    """

    command: str
    title: str
    button: str
    about: str
    fields: tuple[Field, ...]
    home: str
    kept: tuple[str, ...] = ()
    rehearsal: str = ""
    grave: bool = False
    typed: str = ""
    confirm: bool = False
    once: str = ""

    @property
    def address(self) -> str:
        """Where its form is, below the base."""
        return "/do/" + self.command.replace(" ", "/")

    def filled(self, values: Values) -> str:
        """The address of the form with some fields filled in."""
        return f"{self.address}?{urlencode(values)}" if values else self.address

    def way_home(self, values: Values) -> str:
        """The page that follows."""
        kept = {name: values[name] for name in self.kept if values.get(name)}
        return f"{self.home}?{urlencode(kept)}" if kept else self.home


FS = Field("fs", "File system", required=True)
PATH = Field("path", "Path", "of the top directory, as /payroll", required=True)
KEY = Field("key", "Key", "its name, or 32 hexadecimal digits", required=True)
KEY_ID = Field("key", "Key identifier", "32 hexadecimal digits", required=True)
KIND = Field(
    "kind",
    "Opened by",
    "kms for a key manager by way of a tenant; what it is read from is said on the client",
    "choice",
    ("kms", "passphrase", "recovery-code", "key-file", "shares", "escrow", "pkcs11"),
    required=True,
)
PROTECTOR = Field("protector", "Protector", required=True)
JOB = Field("job", "Job", "32 hexadecimal digits", required=True)
KMS = Field("kms", "Key manager", required=True)
TENANT = Field("tenant", "Tenant", required=True)
RATE = Field("rate", "Entries a second", "at most; empty: as fast as it goes", "number")
ADMIT = Field(
    "admit", "Admitted clients", "entities that may get there, as client.app, with commas", more=True
)
KEEP = Field("keep", "Kept pools or namespaces", 'that others keep, with commas; "" for none', more=True)
OPEN = Field("open", "Paths that stay open", "to those who are kept out, with commas", more=True)
NAMESPACE = Field(
    "namespace", "RADOS namespace", "of its files; empty: one that follows from the path", more=True
)
MASTER_KEY = Field(
    "master_key", "Master key", "of the new tree: its name or identifier; it needs a key manager"
)
LEFT_OUT = Field(
    "exclude", "Leave out", "numbers of inodes, with commas, as a job lists what it could not copy", more=True
)
COMPARERS = Field("workers", "Workers", "processes that compare", "number", more=True)
DECRYPT = Field("decrypt", "From encrypted to plain", kind="flag")
NAME = Field("name", "Name", required=True)
ROLE = Field(
    "role", "Role", "", "choice", ("read-only", "operator", "key-admin", "security-officer"), required=True
)
OF_TENANT = Field("tenant", "Tenant", "whose things alone it is about; empty: all")
UNTIL = Field("expires", "For", "as 30d, or never; empty: 90d")
RUNGS = ("observe", "isolate", "exclude", "evict", "fence", "require")
_GATE = (
    FS,
    PATH,
    Field(
        "rung",
        "Rung",
        "observe takes a gate back; require is of the whole file system, at the path /",
        "choice",
        RUNGS,
        required=True,
    ),
    NAMESPACE,
    ADMIT,
    KEEP,
    OPEN,
    Field(
        "grace", "Grace", "seconds that a client has before it is ended (evict, fence)", "number", more=True
    ),
    Field(
        "confirm", "Sessions", "how many you agree to end, where it is asked for (evict)", "number", more=True
    ),
    Field("gateway", "Gateways", "entities of gateways that are ended too, with commas (fence)", more=True),
)
_SUBTREE = "/subtrees/show"
_KEY = "/keys/show"
_JOB = "/jobs/show"

ACTS: tuple[Act, ...] = (
    Act(
        "subtree create",
        "Create an encrypted subtree",
        "Create the subtree",
        "A job looks at the place; then a gate and a RADOS namespace keep others out; then the directory gets its "
        "policy. The directory is made if it is not there.",
        (
            FS,
            Field(
                "path",
                "Path",
                "of a directory that is missing or empty, as /payroll; or name a subvolume below",
            ),
            Field(
                "master_key", "Master key", "its name or identifier; it needs a key manager", required=True
            ),
            Field("mode", "Mode", "whose clients write it", "choice", ("", "engine", "kernel")),
            Field("subvolume", "Subvolume", "in the place of a path", more=True),
            Field("group", "Subvolume group", more=True),
            Field("contents", "Cipher of contents", "as AES-256-XTS", more=True),
            Field("padding", "Padding of names", "", "choice", ("", "4", "8", "16", "32"), more=True),
            NAMESPACE,
            ADMIT,
            KEEP,
            OPEN,
            Field(
                "unprotected", "Without a gate and a namespace", "any client may damage it", "flag", more=True
            ),
        ),
        _SUBTREE,
        ("fs", "path"),
        rehearsal="subtree create",
    ),
    Act(
        "subtree adopt",
        "Register a subtree that exists",
        "Look and register",
        "A job looks at a directory that somebody encrypted, and registers it. No file is changed.",
        (FS, PATH),
        _SUBTREE,
        ("fs", "path"),
        rehearsal="subtree adopt",
    ),
    Act(
        "subtree verify",
        "Verify a subtree",
        "Begin",
        "A job reads all of it with its key and looks for damage. Nothing is changed.",
        (FS, PATH, RATE),
        _SUBTREE,
        ("fs", "path"),
    ),
    Act(
        "subtree release",
        "Hand a subtree to kernel clients",
        "Release",
        "Afterwards kernel clients with the key own it; other clients that can reach it have to be gone first.",
        (FS, PATH),
        _SUBTREE,
        ("fs", "path"),
        rehearsal="subtree release",
    ),
    Act(
        "subtree hold",
        "Take a subtree back from kernel clients",
        "Hold",
        "Afterwards our clients write it again. With a copy kernel clients can go on meanwhile.",
        (FS, PATH, Field("copy", "Write its files again, while kernel clients go on", kind="flag")),
        _SUBTREE,
        ("fs", "path"),
        rehearsal="subtree hold",
    ),
    Act(
        "subtree forget",
        "Forget a subtree",
        "Forget",
        "Its record is dropped. Its files and keys stay as they are, encrypted.",
        (FS, PATH),
        "/subtrees",
        rehearsal="subtree forget",
    ),
    Act(
        "subtree rm",
        "Remove a subtree",
        "Remove for good",
        "A job removes the directory, its gate and its record. There is no way back.",
        (FS, PATH, Field("with_contents", "And all that lies in it", kind="flag")),
        "/subtrees",
        rehearsal="subtree rm",
        grave=True,
        typed="path",
        confirm=True,
    ),
    Act(
        "scan",
        "Scan a file system",
        "Begin",
        "A job looks for encrypted subtrees, and for what does not belong into them. It needs no key, and no "
        "file is changed.",
        (
            FS,
            Field("path", "Below", "a directory; empty: all of it"),
            Field("register", "Register what it finds", kind="flag"),
            RATE,
        ),
        "/subtrees/scanned",
        ("fs",),
    ),
    *(
        Act(
            f"job {verb}",
            f"{verb.capitalize()} a job",
            f"{verb.capitalize()} it",
            about,
            (JOB,),
            "/jobs" if verb == "forget" else _JOB,
            () if verb == "forget" else ("job",),
            rehearsal=f"job {verb}",
            grave=verb == "cancel",
        )
        for verb, about in (
            ("pause", "It stops at its next step, and keeps its place."),
            ("resume", "It goes on from where it was."),
            ("cancel", "It ends for good, and puts away what it left half done."),
            ("forget", "The record of a job that is over is dropped, and the warning about it."),
        )
    ),
    Act(
        "migrate plan",
        "Plan a migration",
        "Plan it",
        "A job tells what migrating a directory would do, and what is in its way. Nothing is changed.",
        (FS, PATH, MASTER_KEY, DECRYPT, LEFT_OUT),
        "/jobs",
    ),
    Act(
        "migrate start",
        "Start a migration, or go on with it",
        "Start",
        "A job copies, has clients gone, verifies, and exchanges the trees. Started again with other limits, it goes "
        "on with those.",
        (
            FS,
            PATH,
            MASTER_KEY,
            Field("plan", "Plan", "its hash, as planning told it"),
            Field("files_per_second", "Files a second", "at most; empty: as fast as it goes", "number"),
            Field("bytes_per_second", "Bytes a second", "at most; empty: as fast as it goes", "number"),
            Field(
                "latency_ms",
                "Milliseconds",
                "that the cluster may take for an answer; slower, and it waits",
                "number",
                more=True,
            ),
            Field("window", "Hours", "in which it copies, as 22:00-06:00", more=True),
            Field("keep_trash", "Keep the old tree for", "as 7d; then it is removed", more=True),
            LEFT_OUT,
            Field("include", "Do not leave out any more", "numbers of inodes, with commas", more=True),
            Field("workers", "Workers", "processes that copy, and that compare", "number", more=True),
            NAMESPACE,
            Field("copy_only", "Copy, and stop before the trees are exchanged", kind="flag", more=True),
            Field("evict", "End the sessions of clients that can reach it", kind="flag", more=True),
            Field("offline", "Nobody uses the tree", "which is checked", "flag", more=True),
            Field("even_changed", "Though it has changed since it was planned", kind="flag", more=True),
            replace(DECRYPT, more=True),
            Field("confirm", "The sentence that decrypting wants", more=True),
        ),
        "/migrations/show",
        ("fs", "path"),
    ),
    Act(
        "migrate verify",
        "Verify a migration",
        "Verify",
        "A job compares both trees, every byte and attribute. Nothing is changed.",
        (
            FS,
            PATH,
            Field("no_key", "Without the key: the new tree, as it is stored, with what it was", kind="flag"),
            COMPARERS,
        ),
        "/migrations/show",
        ("fs", "path"),
    ),
    Act(
        "migrate rollback",
        "Roll a migration back",
        "Roll back",
        "A job brings the old tree back, if both are the same.",
        (
            FS,
            PATH,
            Field("evict", "End the sessions of clients that can reach it", kind="flag"),
            Field("lose_changes", "What was written since the trees were exchanged may be lost", kind="flag"),
            COMPARERS,
        ),
        "/migrations/show",
        ("fs", "path"),
        rehearsal="migrate rollback",
        grave=True,
        typed="path",
    ),
    Act(
        "migrate purge",
        "Remove the old tree",
        "Remove for good",
        "A job removes the tree that was there before. There is no way back.",
        (
            FS,
            PATH,
            Field("lose_changes", "What was written into it late may be lost", kind="flag"),
            Field("lose_excluded", "What was left out may be lost, too", kind="flag"),
        ),
        "/migrations/show",
        ("fs", "path"),
        rehearsal="migrate purge",
        grave=True,
        typed="path",
    ),
    Act(
        "migrate cancel",
        "Call a migration off",
        "Call it off",
        "A job removes the new tree, before the trees are exchanged. The source is as it was.",
        (FS, PATH),
        "/migrations/show",
        ("fs", "path"),
        rehearsal="migrate cancel",
        grave=True,
    ),
    Act(
        "gate set",
        "Set a gate",
        "Set the gate",
        "A gate keeps clients out of an encrypted subtree. Check first who would be cut off.",
        _GATE,
        "/gates",
        ("fs", "path"),
        rehearsal="gate preview",
        grave=True,
    ),
    Act(
        "key create",
        "Create a key",
        "Show the line",
        "A key is made on a client, since nothing that opens it may pass through the manager.",
        (FS, KEY, KIND, Field("tenant", "Tenant", "whose key wraps it, for kms")),
        "/keys",
    ),
    Act(
        "key add",
        "Add a protector",
        "Show the line",
        "One more way to open the key.",
        (FS, KEY, KIND),
        _KEY,
        ("fs", "key"),
    ),
    Act(
        "key rewrap",
        "Rotate a protector",
        "Show the line",
        "The key is wrapped anew for one of its protectors. Data stays as it is.",
        (FS, KEY, PROTECTOR, KIND),
        _KEY,
        ("fs", "key"),
    ),
    Act(
        "key remove",
        "Remove a protector",
        "Show the line",
        "What this protector opens with opens the key no more.",
        (FS, KEY, PROTECTOR),
        _KEY,
        ("fs", "key"),
        grave=True,
    ),
    *(
        Act(f"key {verb}", title, "Show the line", about, (FS, KEY, *more), _KEY, ("fs", "key"))
        for verb, title, about, more in (
            (
                "test",
                "Test a protector",
                "The key is opened by it once, and that it works is noted.",
                (PROTECTOR,),
            ),
            (
                "drill",
                "Do the recovery drill",
                "The key is opened by what is kept for the bad day, and the day of that is noted.",
                (PROTECTOR,),
            ),
            (
                "drill-every",
                "Set how often a drill is due",
                "Health warns when a drill is overdue.",
                (Field("time", "Every", "as 180d, or never", required=True),),
            ),
            (
                "expire",
                "Set the day of expiry",
                "From then on health warns that the key should be replaced; nothing stops by itself.",
                (Field("day", "Day", "as 2027-12-31, or never", required=True),),
            ),
            ("disable", "Disable a key", "It opens for nobody until it is enabled.", ()),
            ("enable", "Enable a key", "It opens again.", ()),
            ("cancel", "Call off the destruction", "The key stays, while its waiting time is not over.", ()),
            (
                "recover",
                "Write the key into a file",
                "On the client, for the day on which all else fails.",
                (Field("file", "File", "there", required=True),),
            ),
        )
    ),
    Act(
        "key destroy",
        "Destroy a key",
        "Show the line",
        "After a waiting time all data under the key is gone, in snapshots and copies too. Until then it can be "
        "called off.",
        (FS, KEY, Field("wait", "Waiting time", "as 7d")),
        _KEY,
        ("fs", "key"),
        grave=True,
        typed="key",
    ),
    Act(
        "key finish",
        "Finish the destruction",
        "Show the line",
        "The waiting time is over: what wraps the key is destroyed, for good.",
        (FS, KEY),
        _KEY,
        ("fs", "key"),
        grave=True,
        typed="key",
    ),
    *(
        Act(
            f"key destruction {verb}",
            title,
            button,
            about,
            (FS, KEY),
            _KEY,
            ("fs", "key"),
            grave=grave,
            typed=typed,
        )
        for verb, title, button, about, grave, typed in (
            (
                "request",
                "Ask for the end of a key",
                "Ask for it",
                "Where that takes two people: somebody else has to approve.",
                True,
                "key",
            ),
            (
                "approve",
                "Approve of the end of a key",
                "Approve",
                "Somebody else asked for it. Then it can be destroyed.",
                True,
                "key",
            ),
            (
                "withdraw",
                "Take back the wish for the end of a key",
                "Take it back",
                "It was asked for, or approved, and is not any more.",
                False,
                "",
            ),
        )
    ),
    Act(
        "key rescan",
        "Read all keys anew",
        "Begin",
        "The engine service reads what is kept of keys and tenants, and the lists are made anew by it.",
        (FS,),
        "/keys",
    ),
    Act(
        "key unlock",
        "Unlock a key in the engine service",
        "Unlock",
        "By its key manager. The service wipes it after that time.",
        (KEY_ID, Field("seconds", "Seconds", "for which it is kept", "number", required=True)),
        "/settings",
    ),
    Act(
        "key lock",
        "Wipe a key from the engine service",
        "Wipe it",
        "Jobs that need it wait until it is unlocked again. Clients with keys of their own go on.",
        (KEY_ID,),
        "/settings",
    ),
    Act(
        "kms test",
        "Test a key manager",
        "Test the connection",
        "The engine service wraps and unwraps some random bytes by it.",
        (FS, KMS),
        "/kms",
    ),
    Act(
        "kms add",
        "Make a key manager known",
        "Show the line",
        "Its settings lie beside the keys, its credentials on each host that uses it.",
        (
            FS,
            KMS,
            Field("type", "Type", "as vault, kmip, aws: see the manual", required=True),
            Field("address", "Address", required=True),
            Field("its_key", "Which of its keys", required=True),
            Field("file", "Name of the file with its credentials", "on each host", required=True),
        ),
        "/kms",
    ),
    Act(
        "kms trust", "Trust its settings on a host", "Show the line", "On each host once.", (FS, KMS), "/kms"
    ),
    Act(
        "kms rm",
        "Forget a key manager",
        "Show the line",
        "What it wrapped stays wrapped.",
        (FS, KMS),
        "/kms",
        grave=True,
        typed="kms",
    ),
    Act(
        "tenant create",
        "Create the key of a tenant",
        "Show the line",
        "A key manager wraps it; it wraps the keys of the tenant.",
        (FS, TENANT, KMS),
        "/keys",
    ),
    Act(
        "tenant rotate",
        "Rotate the key of a tenant",
        "Show the line",
        "A new key is made, and the master keys of the tenant are wrapped under it. Data stays as it is.",
        (FS, TENANT, Field("kms_too", "Rotate at the key manager, too", kind="flag")),
        "/keys",
    ),
    Act(
        "tenant rotate-every",
        "Rotate by schedule",
        "Show the line",
        "The engine service rotates the key of the tenant by itself.",
        (FS, TENANT, Field("time", "Every", "as 90d, or never", required=True)),
        "/keys",
    ),
    Act(
        "api token create",
        "Create a token",
        "Create it",
        "For a tool, or for a person to log in here. It is shown once.",
        (NAME, ROLE, OF_TENANT, UNTIL),
        "/settings",
        once="token",
    ),
    Act(
        "api certificate add",
        "Let in a client certificate",
        "Let it in",
        "Whoever shows a certificate for this subject may use the API.",
        (NAME, Field("subject", "Subject", "as CN=node1,O=Example", required=True), ROLE, OF_TENANT, UNTIL),
        "/settings",
    ),
    Act(
        "api user add",
        "Let in a user of Ceph's dashboard",
        "Let them in",
        "There, as a role of ours; without, whoever may read CephFS there may look here.",
        (Field("user", "User", required=True), ROLE, OF_TENANT, UNTIL),
        "/settings",
    ),
    Act(
        "api access revoke",
        "End an access",
        "End it",
        "At once, with all sessions that it began.",
        (NAME,),
        "/settings",
        grave=True,
    ),
    Act(
        "api session revoke",
        "End a session",
        "End it",
        "At once: who has it is asked to log in again. A link that nobody followed yet is good for nobody then.",
        (NAME,),
        "/settings",
        grave=True,
    ),
)
BY_COMMAND: Mapping[str, Act] = {act.command: act for act in ACTS}
BY_ADDRESS: Mapping[str, Act] = {act.address: act for act in ACTS}
