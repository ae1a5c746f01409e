BEGIN TRANSACTION;
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
        );
INSERT INTO "Act" VALUES(1,1700000004,'client.admin','x','subtree adopt','["cephfs", "/c"]',0,'registered','0000000000000000000000000000000000000000000000000000000000000000','abababababababababababababababababababababababababababababababab');
CREATE TABLE Destruction (
            fscid INTEGER NOT NULL,
            key_identifier TEXT NOT NULL,
            requested_by TEXT NOT NULL,
            requested INTEGER NOT NULL,
            approved_by TEXT NOT NULL,
            approved INTEGER NOT NULL,
            PRIMARY KEY (fscid, key_identifier)
        ) WITHOUT ROWID
        ;
INSERT INTO "Destruction" VALUES(1,'0f72fb0d426a0334a9f8ab1dfb5e7d8e','ann',1700000000,'',0);
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
        ;
INSERT INTO "EndedSession" VALUES(1,4711,'10.0.0.7:0/1','/a/b','client.stray','host1','libcephfs 20.2','/','mounted / from where it can meet the subtree',1700000060,1700003660,0);
INSERT INTO "EndedSession" VALUES(1,4711,'10.0.0.7:0/1','/gone','client.stray','host1','libcephfs 20.2','/','mounted / from where it can meet the subtree',1700000060,1700003660,0);
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
            trouble TEXT NOT NULL, inode INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (fscid, path)
        ) WITHOUT ROWID
        ;
INSERT INTO "Eviction" VALUES(1,'/a/b','fence',60,10,'[]','["client.nfs.a"]',1700000000,1700000100,'',10);
INSERT INTO "Eviction" VALUES(1,'/gone','evict',0,20,'["client.batch"]','[]',1700000000,0,'the mon does not answer',0);
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
        ;
INSERT INTO "Gate" VALUES(1,'/a/b','isolate','fscrypt-1','["client.app"]','[]','[]',1800000000,0,'');
CREATE TABLE GatedCaps (
            entity TEXT PRIMARY KEY,
            original TEXT NOT NULL,
            history TEXT NOT NULL
        ) WITHOUT ROWID
        ;
INSERT INTO "GatedCaps" VALUES('client.other','{"osd":"allow rw pool=cephfs_data"}','[]');
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
        ;
INSERT INTO "Identity" VALUES('backup','token','ab','operator','acme',1700000000,1800000000,1700000001);
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
        ;
INSERT INTO "Key" VALUES(1,'00112233445566778899aabbccddeeff','payroll','acme','active',3,1800000000,0,0,1950000000,'[["first","passphrase",1800000000,1850000000]]',1900000000);
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
        ;
INSERT INTO "LeftMigration" VALUES(1,'/a/b','encrypt','000102030405060708090a0b0c0d0e0f',1099511627999,1,'["before"]',1900000000,1900600000);
CREATE TABLE Measured (
            what TEXT NOT NULL,
            span INTEGER NOT NULL,
            at INTEGER NOT NULL,
            about TEXT NOT NULL,
            value REAL NOT NULL,
            n INTEGER NOT NULL,
            PRIMARY KEY (what, span, at, about)
        ) WITHOUT ROWID
        ;
INSERT INTO "Measured" VALUES('bytes',600,1700000400,'cephfs',4096.0,2);
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
        ;
INSERT INTO "Subtree" VALUES(1,'/a/b','cephfs',10,'engine','AES-256-XTS','AES-256-CBC-CTS',32,'00112233445566778899aabbccddeeff',1700000000);
INSERT INTO "Subtree" VALUES(1,'/c','cephfs',11,'kernel','AES-256-XTS','AES-256-CBC-CTS',16,'00112233445566778899aabbccddeeff',1700000001);
INSERT INTO "Subtree" VALUES(1,'/d','third',12,'kernel','AES-256-XTS','AES-256-CBC-CTS',32,'ffeeddccbbaa99887766554433221100',1700000003);
INSERT INTO "Subtree" VALUES(2,'/a/b','scratch',10,'engine','AES-128-CBC-ESSIV','AES-128-CBC-CTS',4,'ffeeddccbbaa99887766554433221100',1700000002);
CREATE TABLE SubtreeCount (
            fscid INTEGER NOT NULL,
            mode TEXT NOT NULL,
            n INTEGER NOT NULL,
            PRIMARY KEY (fscid, mode)
        ) WITHOUT ROWID
        ;
INSERT INTO "SubtreeCount" VALUES(1,'engine',1);
INSERT INTO "SubtreeCount" VALUES(1,'kernel',2);
INSERT INTO "SubtreeCount" VALUES(2,'engine',1);
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
        ;
INSERT INTO "Tenant" VALUES(1,'acme',2,1700000000,7776000,'["vault"]','[]',1700000001);
CREATE INDEX SubtreeByKey ON Subtree (key_identifier);
CREATE INDEX SubtreeByName ON Subtree (fs_name);
CREATE INDEX SubtreeByMode ON Subtree (fscid, mode);
CREATE INDEX KeyByName ON Key (fscid, name);
CREATE TRIGGER SubtreeCounted AFTER INSERT ON Subtree BEGIN
            INSERT INTO SubtreeCount VALUES (NEW.fscid, NEW.mode, 1)
                ON CONFLICT (fscid, mode) DO UPDATE SET n = n + 1;
        END;
CREATE TRIGGER SubtreeUncounted AFTER DELETE ON Subtree BEGIN
            UPDATE SubtreeCount SET n = n - 1 WHERE fscid = OLD.fscid AND mode = OLD.mode;
            DELETE FROM SubtreeCount WHERE fscid = OLD.fscid AND mode = OLD.mode AND n = 0;
        END;
CREATE INDEX SubtreeByKeyAndMode ON Subtree (fscid, key_identifier, mode);
CREATE INDEX KeyByTenant ON Key (fscid, tenant);
CREATE INDEX KeyByState ON Key (fscid, state);
CREATE TRIGGER ActsStay BEFORE UPDATE ON Act BEGIN
            SELECT RAISE(ABORT, 'acts are never changed');
        END;
CREATE TRIGGER ActsRemain BEFORE DELETE ON Act BEGIN
            SELECT RAISE(ABORT, 'acts are never dropped');
        END;
CREATE INDEX EndedSessionByTime ON EndedSession (at);
CREATE INDEX EndedSessionByAddress ON EndedSession (address);
CREATE INDEX SubtreeByTime ON Subtree (fscid, registered);
CREATE INDEX KeyByExpiry ON Key (fscid, (IIF(expires, expires, 4611686018427387904)));
CREATE INDEX MeasuredByAge ON Measured (span, at);
COMMIT;
PRAGMA user_version = 12;
