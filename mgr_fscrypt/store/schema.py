"""The tables, as the steps that lead to them. A step that was ever released is never changed: add another."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE Subtree (
            fscid INTEGER NOT NULL,
            path TEXT NOT NULL,
            fs_name TEXT NOT NULL,
            inode INTEGER NOT NULL,
            mode TEXT NOT NULL CHECK (mode IN ('engine', 'kernel')),
            contents TEXT NOT NULL,
            names TEXT NOT NULL,
            padding INTEGER NOT NULL,
            key_identifier TEXT NOT NULL,
            registered INTEGER NOT NULL,
            PRIMARY KEY (fscid, path),
            UNIQUE (fscid, inode)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX SubtreeByKey ON Subtree (key_identifier)",
        "CREATE INDEX SubtreeByName ON Subtree (fs_name)",
        "CREATE INDEX SubtreeByMode ON Subtree (fscid, mode)",
    ),
    (
        """
        CREATE TABLE Key (
            fscid INTEGER NOT NULL,
            identifier TEXT NOT NULL,
            name TEXT NOT NULL,
            tenant TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('active', 'disabled', 'destroying', 'destroyed')),
            generation INTEGER NOT NULL,
            created INTEGER NOT NULL,
            expires INTEGER NOT NULL,
            due INTEGER NOT NULL,
            drill_due INTEGER NOT NULL,
            protectors TEXT NOT NULL,
            reported INTEGER NOT NULL,
            PRIMARY KEY (fscid, identifier)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX KeyByName ON Key (fscid, name)",
    ),
    (
        """
        CREATE TABLE Gate (
            fscid INTEGER NOT NULL,
            path TEXT NOT NULL,
            rung TEXT NOT NULL CHECK (rung IN ('observe', 'require', 'isolate', 'exclude')),
            namespace TEXT NOT NULL,
            admitted TEXT NOT NULL,
            kept TEXT NOT NULL,
            open_paths TEXT NOT NULL,
            wanted INTEGER NOT NULL,
            applied INTEGER NOT NULL,
            trouble TEXT NOT NULL,
            PRIMARY KEY (fscid, path)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE GatedCaps (
            entity TEXT PRIMARY KEY,
            original TEXT NOT NULL,
            history TEXT NOT NULL
        ) WITHOUT ROWID
        """,
    ),
)
