-- Why: the registry's present state. One row says what registry this is and how far its history has
-- come; objects are kept in parts as JSON text (bytea: the database never looks inside, and stores
-- it for a third less CPU and WAL than jsonb); bodies that many objects share are stored once.
-- Locks: creates tables only.

create table registry (
    one         boolean primary key default true check (one),
    incarnation uuid    not null default gen_random_uuid(),
    -- Revision of the last committed change. Written by apply_batch alone, under the writer lock.
    revision    bigint  not null default 0,
    -- Changes up to here may be gone from the log.
    horizon     bigint  not null default 0
) with (fillfactor = 10);

insert into registry default values;

create table objects (
    revision   bigint not null,
    -- Revision that this state replaced; 0 if the object was created.
    prior      bigint not null,
    -- Revision of the last change to anything but the status.
    written    bigint not null,
    generation bigint not null,
    uid        uuid   not null,
    resource   text collate "C" not null,
    namespace  text collate "C" not null,
    name       text collate "C" not null,
    -- sha256 of the body.
    digest     bytea  not null,
    labels     jsonb  not null,
    metadata   bytea  not null,
    -- Null: it is in bodies, by digest.
    body       bytea,
    -- Empty: none.
    status     bytea  not null,
    primary key (resource, namespace, name)
) with (fillfactor = 70);

create table bodies (
    digest  bytea primary key,
    content bytea not null
);

-- For the sweep of unreferenced bodies.
create index objects_shared on objects (digest) where body is null;
