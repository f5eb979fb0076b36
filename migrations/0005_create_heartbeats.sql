-- Why: signs of life, written for the whole fleet about once a second. No revision, no change, no
-- object: a narrow table with room in its pages, so that updates stay in place.
-- Locks: creates a table only.

create table heartbeats (
    at      timestamptz not null,
    session uuid        not null,
    cluster text collate "C" primary key
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.5, autovacuum_analyze_scale_factor = 5);
