BEGIN TRANSACTION;
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
INSERT INTO "Subtree" VALUES(2,'/a/b','scratch',10,'engine','AES-128-CBC-ESSIV','AES-128-CBC-CTS',4,'ffeeddccbbaa99887766554433221100',1700000002);
CREATE INDEX SubtreeByKey ON Subtree (key_identifier);
CREATE INDEX SubtreeByName ON Subtree (fs_name);
CREATE INDEX SubtreeByMode ON Subtree (fscid, mode);
COMMIT;
PRAGMA user_version = 1;
