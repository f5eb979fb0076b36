-- Why: a leader that was deposed without noticing must not free a name that the next cluster has by now (P5), and nobody may free one
-- that a cluster has. Whether somebody does is looked up under the writer lock: objects come and go under it, terms begin under it. A
-- function, as the lock must not wait for a client that sleeps, and each statement in here takes a snapshot after it was granted.
-- Locks: creates a function only.

create function release_name(
    -- the resource of clusters, and the cluster
    of_resource text,
    of_name     text,
    -- the object that may have the name still; null: none may
    of_uid      uuid,
    -- null: decided in no term
    of_epoch    bigint
)
-- 0 there is nothing to free, 1 freed, 2 another object has the name, 4 deposed (as of write_batch).
returns smallint
language plpgsql as $$
declare
    hit   bigint;
    freed bigint;
begin
    perform pg_advisory_xact_lock(1802463598, 1);
    if of_epoch is distinct from (select epoch from leadership) and of_epoch is not null then
        return 4;
    end if;
    if exists (
        select from objects
        where resource = of_resource and namespace = '' and name = of_name and uid is distinct from of_uid
    ) then
        return 2;
    end if;
    delete from identities where cluster = of_name;
    get diagnostics freed = row_count;
    delete from heartbeats where cluster = of_name;
    get diagnostics hit = row_count;
    return least(freed + hit, 1);
end
$$;
