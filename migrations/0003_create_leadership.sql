-- Why: the term of the replica that runs the controllers. Every write decided in a term names its epoch
-- and is refused once there is a later one (P5). Bumped under the writer lock.
-- Locks: creates a table only.

create table leadership (
    one    boolean     primary key default true check (one),
    epoch  bigint      not null,
    holder text        not null,
    since  timestamptz not null default now()
) with (fillfactor = 10);
