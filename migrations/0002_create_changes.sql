-- Why: the log of all changes, in commit order. Replicas follow it, watches are resumed from it, and it
-- is the history of who changed what. Append-only; trimmed from its beginning.
-- Locks: creates a table only.

create table changes (
    revision   bigint      primary key,
    -- Revision of the object's change before this one; 0 for a creation.
    prior      bigint      not null,
    -- Revision of the change that holds metadata, body and labels: this one, unless only the status changed.
    written    bigint      not null,
    at         timestamptz not null default clock_timestamp(),
    -- 1 create, 2 replace, 3 status, 4 delete.
    kind       smallint    not null,
    resource   text collate "C" not null,
    namespace  text collate "C" not null,
    name       text collate "C" not null,
    uid        uuid        not null,
    -- Null for status and delete: so is the rest up to status.
    generation bigint,
    digest     bytea,
    labels     jsonb,
    metadata   bytea,
    -- Null with a digest: it is in bodies.
    body       bytea,
    -- Null for delete.
    status     bytea
);

-- For the sweep of unreferenced bodies.
create index changes_shared on changes (digest) where body is null and digest is not null;
