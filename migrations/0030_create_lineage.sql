-- Why: revisions alone cannot tell a history from another that branched off an older copy of it and grew past it (P4).
-- Every connection that is going to write begins a stretch with a stamp of its own. A registry that was restored goes on
-- with a new stretch from where the copy ends: the stamp at a revision that was lost is another one than it was.
-- A stretch takes a revision, so that whoever knows a revision in it has read of it.
-- Locks: creates a table and a function, and adds a column with a constant default.

create table lineage (
    -- First revision of the stretch.
    start bigint      primary key,
    stamp uuid        not null,
    since timestamptz not null default clock_timestamp()
);

-- Start of the last stretch, to see without a second look whether there is a new one.
alter table registry add column lineage bigint not null default 0;

create function begin_lineage() returns bigint language plpgsql as $$
declare
    first bigint;
begin
    perform pg_advisory_xact_lock(1802463598, 1);
    update registry set revision = revision + 1, lineage = revision + 1 returning revision into first;
    insert into lineage (start, stamp) values (first, gen_random_uuid());
    perform pg_notify('koinon_changes', first::text);
    return first;
end
$$;
