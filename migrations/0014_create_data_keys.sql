-- Why: statuses of works are sealed too, and a status that has not changed must be the same bytes whichever replica sealed it: the database
-- compares them. So all replicas seal statuses with one data key for each key of the key service; here it lies, wrapped.
-- Locks: creates a table only.

create table data_keys (
    -- Id of the key that it is wrapped with.
    key_id  text        primary key,
    wrapped bytea       not null,
    since   timestamptz not null default clock_timestamp()
);
