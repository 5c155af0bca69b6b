"""The tables of `DATA/derived/facts.db`: what `fold` writes and `known` reads. No meaning of their own beyond the log's."""

from typing import Final

SCHEMA: Final = """CREATE TABLE run (first INTEGER PRIMARY KEY, minute INTEGER NOT NULL) STRICT;
CREATE INDEX run_minute ON run (minute);
CREATE TABLE lost (entry INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, from_us INTEGER NOT NULL, why TEXT NOT NULL) STRICT;
CREATE TABLE vendor (id TEXT PRIMARY KEY, at_us INTEGER NOT NULL, entry INTEGER NOT NULL) STRICT;
CREATE TABLE holder (entry INTEGER PRIMARY KEY, name TEXT NOT NULL, vendor TEXT NOT NULL, at_us INTEGER NOT NULL,
    sponsor TEXT, ended_us INTEGER, ended INTEGER) STRICT;
CREATE INDEX holder_name ON holder (name);
CREATE INDEX holder_sponsor ON holder (sponsor);
CREATE TABLE session (id TEXT PRIMARY KEY, vendor TEXT NOT NULL, who TEXT NOT NULL, project TEXT NOT NULL, sponsor TEXT,
    hardware INTEGER NOT NULL, entry INTEGER NOT NULL, at_us INTEGER NOT NULL, length_us INTEGER NOT NULL,
    ended_us INTEGER) STRICT;
CREATE INDEX session_vendor ON session (vendor, at_us);
CREATE TABLE pulse (vendor TEXT NOT NULL, minute INTEGER NOT NULL, accesses INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, PRIMARY KEY (vendor, minute)) STRICT, WITHOUT ROWID;
CREATE TABLE unnamed (entry INTEGER PRIMARY KEY, vendor TEXT NOT NULL, at_us INTEGER NOT NULL) STRICT;
CREATE INDEX unnamed_vendor ON unnamed (vendor);
CREATE TABLE refusal (entry INTEGER PRIMARY KEY, vendor TEXT NOT NULL, at_us INTEGER NOT NULL, rule TEXT NOT NULL) STRICT;
CREATE INDEX refusal_vendor ON refusal (vendor);
CREATE TABLE touch (session TEXT NOT NULL, day INTEGER NOT NULL, vendor TEXT NOT NULL, entry INTEGER NOT NULL,
    at_us INTEGER NOT NULL, PRIMARY KEY (session, day)) STRICT, WITHOUT ROWID;
CREATE INDEX touch_vendor ON touch (vendor);
CREATE TABLE served (vendor TEXT NOT NULL, project TEXT NOT NULL, day INTEGER NOT NULL, entry INTEGER NOT NULL,
    at_us INTEGER NOT NULL, PRIMARY KEY (vendor, project, day)) STRICT, WITHOUT ROWID;
CREATE TABLE flight (entry INTEGER PRIMARY KEY, vendor TEXT NOT NULL, at_us INTEGER NOT NULL, closed_us INTEGER,
    copy INTEGER, parts TEXT NOT NULL) STRICT;
CREATE INDEX flight_vendor ON flight (vendor);
CREATE TABLE unsure (entry INTEGER PRIMARY KEY, vendor TEXT NOT NULL, at_us INTEGER NOT NULL, told_us INTEGER NOT NULL,
    outcome INTEGER NOT NULL) STRICT;
CREATE INDEX unsure_vendor ON unsure (vendor);
CREATE TABLE tier (name TEXT PRIMARY KEY, hardware INTEGER NOT NULL) STRICT;
CREATE TABLE raised (entry INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, tier TEXT NOT NULL) STRICT;
CREATE TABLE asset (id TEXT PRIMARY KEY, project TEXT NOT NULL, tier TEXT NOT NULL, entry INTEGER NOT NULL) STRICT;
CREATE TABLE version (asset TEXT NOT NULL, number INTEGER NOT NULL, length INTEGER NOT NULL,
    PRIMARY KEY (asset, number)) STRICT, WITHOUT ROWID;
CREATE TABLE copy (id INTEGER PRIMARY KEY, vendor TEXT NOT NULL, project TEXT NOT NULL, who TEXT NOT NULL, asset TEXT NOT NULL,
    version INTEGER NOT NULL, UNIQUE (project, who, asset, version)) STRICT;
CREATE INDEX copy_vendor ON copy (vendor);
CREATE TABLE piece (copy INTEGER NOT NULL, shard TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    PRIMARY KEY (copy, shard, start)) STRICT, WITHOUT ROWID;
CREATE TABLE grown (entry INTEGER PRIMARY KEY, copy INTEGER NOT NULL, at_us INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
CREATE INDEX grown_copy ON grown (copy);
CREATE TABLE granted (id TEXT PRIMARY KEY, vendor TEXT, project TEXT NOT NULL, holder TEXT NOT NULL, entry INTEGER NOT NULL,
    at_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, ended_us INTEGER, ended INTEGER) STRICT;
CREATE INDEX granted_project ON granted (project);
CREATE TABLE pause (entry INTEGER PRIMARY KEY, vendor TEXT NOT NULL, at_us INTEGER NOT NULL, took_us INTEGER NOT NULL,
    drill INTEGER NOT NULL, measured INTEGER, measured_us INTEGER, last_byte_us INTEGER) STRICT;
CREATE INDEX pause_vendor ON pause (vendor);
CREATE TABLE told (entry INTEGER PRIMARY KEY, kind TEXT NOT NULL, vendor TEXT NOT NULL, at_us INTEGER NOT NULL,
    fields TEXT NOT NULL) STRICT;
CREATE INDEX told_vendor ON told (vendor, kind)
"""
