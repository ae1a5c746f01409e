"""The tables, as the steps that lead to them. A step that was ever released is never changed: add another."""

NEVER = 1 << 62
"""Where what never expires stands among times: last."""
EXPIRY = f"IIF(expires, expires, {NEVER})"
"""What an index is made of, so it is asked for by these very words."""

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
    (
        # a million rows are not counted on demand
        """
        CREATE TABLE SubtreeCount (
            fscid INTEGER NOT NULL,
            mode TEXT NOT NULL,
            n INTEGER NOT NULL,
            PRIMARY KEY (fscid, mode)
        ) WITHOUT ROWID
        """,
        "INSERT INTO SubtreeCount SELECT fscid, mode, COUNT(*) FROM Subtree GROUP BY fscid, mode",
        """
        CREATE TRIGGER SubtreeCounted AFTER INSERT ON Subtree BEGIN
            INSERT INTO SubtreeCount VALUES (NEW.fscid, NEW.mode, 1)
                ON CONFLICT (fscid, mode) DO UPDATE SET n = n + 1;
        END
        """,
        """
        CREATE TRIGGER SubtreeUncounted AFTER DELETE ON Subtree BEGIN
            UPDATE SubtreeCount SET n = n - 1 WHERE fscid = OLD.fscid AND mode = OLD.mode;
            DELETE FROM SubtreeCount WHERE fscid = OLD.fscid AND mode = OLD.mode AND n = 0;
        END
        """,
        # indexes end with the primary key, so each of these is in order of paths
        "CREATE INDEX SubtreeByKeyAndMode ON Subtree (fscid, key_identifier, mode)",
        "CREATE INDEX KeyByTenant ON Key (fscid, tenant)",
        "CREATE INDEX KeyByState ON Key (fscid, state)",
    ),
    (
        """
        CREATE TABLE Act (
            number INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            who TEXT NOT NULL,
            manager TEXT NOT NULL,
            command TEXT NOT NULL,
            about TEXT NOT NULL,
            code INTEGER NOT NULL,
            result TEXT NOT NULL,
            previous TEXT NOT NULL,
            digest TEXT NOT NULL
        )
        """,
        # against mistakes of ours; whoever may write the pool can do anything, and the chain shows it
        """
        CREATE TRIGGER ActsStay BEFORE UPDATE ON Act BEGIN
            SELECT RAISE(ABORT, 'acts are never changed');
        END
        """,
        """
        CREATE TRIGGER ActsRemain BEFORE DELETE ON Act BEGIN
            SELECT RAISE(ABORT, 'acts are never dropped');
        END
        """,
    ),
    (
        """
        CREATE TABLE Tenant (
            fscid INTEGER NOT NULL,
            tenant TEXT NOT NULL,
            version INTEGER NOT NULL,
            rotated INTEGER NOT NULL,
            rotate_every INTEGER NOT NULL,
            managers TEXT NOT NULL,
            others TEXT NOT NULL,
            reported INTEGER NOT NULL,
            PRIMARY KEY (fscid, tenant)
        ) WITHOUT ROWID
        """,
    ),
    (
        """
        CREATE TABLE Eviction (
            fscid INTEGER NOT NULL,
            path TEXT NOT NULL,
            rung TEXT NOT NULL CHECK (rung IN ('observe', 'evict', 'fence')),
            grace INTEGER NOT NULL,
            most INTEGER NOT NULL,
            spared TEXT NOT NULL,
            gateways TEXT NOT NULL,
            wanted INTEGER NOT NULL,
            complete INTEGER NOT NULL,
            trouble TEXT NOT NULL,
            PRIMARY KEY (fscid, path)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE EndedSession (
            fscid INTEGER NOT NULL,
            session INTEGER NOT NULL,
            address TEXT NOT NULL,
            path TEXT NOT NULL,
            entity TEXT NOT NULL,
            host TEXT NOT NULL,
            software TEXT NOT NULL,
            root TEXT NOT NULL,
            why TEXT NOT NULL,
            at INTEGER NOT NULL,
            until INTEGER NOT NULL,
            lifted INTEGER NOT NULL,
            PRIMARY KEY (fscid, session, address)
        ) WITHOUT ROWID
        """,
        # told of by age, and looked up by what the blocklist has
        "CREATE INDEX EndedSessionByTime ON EndedSession (at)",
        "CREATE INDEX EndedSessionByAddress ON EndedSession (address)",
    ),
    (
        # whose it is: another subtree at its path is not meant. 0 is nobody's
        "ALTER TABLE Eviction ADD COLUMN inode INTEGER NOT NULL DEFAULT 0",
        """
        UPDATE Eviction SET inode = IFNULL((
            SELECT inode FROM Subtree WHERE Subtree.fscid = Eviction.fscid AND Subtree.path = Eviction.path), 0)
        """,
        # a session that was ended for two subtrees counts for both
        "ALTER TABLE EndedSession RENAME TO EndedOnce",
        """
        CREATE TABLE EndedSession (
            fscid INTEGER NOT NULL,
            session INTEGER NOT NULL,
            address TEXT NOT NULL,
            path TEXT NOT NULL,
            entity TEXT NOT NULL,
            host TEXT NOT NULL,
            software TEXT NOT NULL,
            root TEXT NOT NULL,
            why TEXT NOT NULL,
            at INTEGER NOT NULL,
            until INTEGER NOT NULL,
            lifted INTEGER NOT NULL,
            PRIMARY KEY (fscid, session, address, path)
        ) WITHOUT ROWID
        """,
        "INSERT INTO EndedSession SELECT * FROM EndedOnce",
        "DROP TABLE EndedOnce",
        "CREATE INDEX EndedSessionByTime ON EndedSession (at)",
        "CREATE INDEX EndedSessionByAddress ON EndedSession (address)",
    ),
    (
        """
        CREATE TABLE Identity (
            name TEXT PRIMARY KEY,
            kind TEXT NOT NULL CHECK (kind IN ('token', 'certificate', 'dashboard')),
            proof TEXT NOT NULL,
            role TEXT NOT NULL,
            tenant TEXT NOT NULL,
            created INTEGER NOT NULL,
            expires INTEGER NOT NULL,
            used INTEGER NOT NULL,
            UNIQUE (kind, proof)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE Destruction (
            fscid INTEGER NOT NULL,
            key_identifier TEXT NOT NULL,
            requested_by TEXT NOT NULL,
            requested INTEGER NOT NULL,
            approved_by TEXT NOT NULL,
            approved INTEGER NOT NULL,
            PRIMARY KEY (fscid, key_identifier)
        ) WITHOUT ROWID
        """,
    ),
    (
        """
        CREATE TABLE LeftMigration (
            fscid INTEGER NOT NULL,
            path TEXT NOT NULL,
            direction TEXT NOT NULL,
            key_identifier TEXT NOT NULL,
            source INTEGER NOT NULL,
            trash INTEGER NOT NULL,
            snapshots TEXT NOT NULL,
            since INTEGER NOT NULL,
            kept_until INTEGER NOT NULL,
            PRIMARY KEY (fscid, path)
        ) WITHOUT ROWID
        """,
    ),
    (
        # orders in which lists are asked for; each ends with the primary key
        "CREATE INDEX SubtreeByTime ON Subtree (fscid, registered)",
        f"CREATE INDEX KeyByExpiry ON Key (fscid, ({EXPIRY}))",
    ),
    (
        # a figure for each span of time: means, of `n` samples each. Rows are bounded by the spans that are kept
        """
        CREATE TABLE Measured (
            what TEXT NOT NULL,
            span INTEGER NOT NULL,
            at INTEGER NOT NULL,
            about TEXT NOT NULL,
            value REAL NOT NULL,
            n INTEGER NOT NULL,
            PRIMARY KEY (what, span, at, about)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX MeasuredByAge ON Measured (span, at)",
    ),
    (
        # of those who are there nobody knows who let them in: any two of them could be one person
        "ALTER TABLE Identity ADD COLUMN created_by TEXT NOT NULL DEFAULT '?'",
        "ALTER TABLE Destruction ADD COLUMN behind TEXT NOT NULL DEFAULT '?'",
        "UPDATE Destruction SET behind = requested_by || ' ?'",
    ),
)
