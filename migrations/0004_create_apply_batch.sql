-- Why: one round trip and one flush for a batch of writes, each with its own outcome.
-- A function and not one statement with many CTEs: each statement in here takes a snapshot after the lock was
-- granted. No two entries of a batch may name the same object.
-- Locks: creates a function only.

create function apply_batch(
    -- 1 create, 2 replace, 3 status, 4 delete
    kinds          smallint[],
    resources      text[],
    namespaces     text[],
    names          text[],
    uids           uuid[],
    expecteds      bigint[],
    epochs         bigint[],
    generations    bigint[],
    digests        bytea[],
    labelses       text[],
    metadatas      bytea[],
    -- null: it is in bodies, or in shared_bodies
    inline_bodies  bytea[],
    statuses       bytea[],
    shared_digests bytea[],
    shared_bodies  bytea[]
)
-- One row with ordinal 0 and the revision before the batch: an entry that was applied has that plus its ordinal.
-- One row for each entry that was not, with the object's revision if there is one:
-- 1 exists, 2 not found, 3 conflict, 4 deposed, 5 unchanged.
returns table (entry_ordinal bigint, entry_outcome smallint, entry_revision bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    base    bigint;
    term    bigint;
    size    bigint := cardinality(kinds);
    applied bigint := 0;
    hit     bigint;
begin
    -- The lock is what makes the order of revisions the order of commits (P1).
    perform pg_advisory_xact_lock(1802463598, 1);
    select revision into base from registry;
    select epoch into term from leadership;

    if cardinality(shared_digests) > 0 then
        insert into bodies (digest, content)
        select * from unnest(shared_digests, shared_bodies)
        on conflict do nothing;
    end if;

    if 1::smallint = any (kinds) then
        with put as (
            insert into objects as o
                (revision, prior, written, generation, uid, resource, namespace, name, digest, labels, metadata, body, status)
            select base + t.ordinal, 0, base + t.ordinal, t.generation, t.uid, t.resource, t.namespace, t.name, t.digest,
                   t.labels::jsonb, t.metadata, t.body, t.status
            from unnest(kinds, resources, namespaces, names, uids, epochs, generations, digests, labelses, metadatas,
                        inline_bodies, statuses) with ordinality
                as t (kind, resource, namespace, name, uid, epoch, generation, digest, labels, metadata, body, status, ordinal)
            where t.kind = 1 and (t.epoch is null or t.epoch = term)
            on conflict do nothing
            returning o.*
        )
        insert into changes
            (revision, prior, written, kind, resource, namespace, name, uid, generation, digest, labels, metadata, body, status)
        select revision, prior, written, 1, resource, namespace, name, uid, generation, digest, labels, metadata, body, status
        from put;
        get diagnostics hit = row_count;
        applied := applied + hit;
    end if;

    if 2::smallint = any (kinds) then
        with put as (
            update objects as o
            set revision = base + t.ordinal, prior = o.revision, written = base + t.ordinal, generation = t.generation,
                digest = t.digest, labels = t.labels::jsonb, metadata = t.metadata, body = t.body, status = t.status
            from unnest(kinds, resources, namespaces, names, uids, expecteds, epochs, generations, digests, labelses,
                        metadatas, inline_bodies, statuses) with ordinality
                as t (kind, resource, namespace, name, uid, expected, epoch, generation, digest, labels, metadata, body, status, ordinal)
            where t.kind = 2 and (t.epoch is null or t.epoch = term)
              and o.resource = t.resource and o.namespace = t.namespace and o.name = t.name
              and o.uid = t.uid and o.revision = t.expected
            returning o.*
        )
        insert into changes
            (revision, prior, written, kind, resource, namespace, name, uid, generation, digest, labels, metadata, body, status)
        select revision, prior, written, 2, resource, namespace, name, uid, generation, digest, labels, metadata, body, status
        from put;
        get diagnostics hit = row_count;
        applied := applied + hit;
    end if;

    if 3::smallint = any (kinds) then
        with put as (
            update objects as o
            set revision = base + t.ordinal, prior = o.revision, status = t.status
            from unnest(kinds, resources, namespaces, names, uids, epochs, statuses) with ordinality
                as t (kind, resource, namespace, name, uid, epoch, status, ordinal)
            where t.kind = 3 and (t.epoch is null or t.epoch = term)
              and o.resource = t.resource and o.namespace = t.namespace and o.name = t.name
              and o.uid = t.uid and o.status <> t.status
            returning o.revision, o.prior, o.written, o.resource, o.namespace, o.name, o.uid, o.status
        )
        insert into changes (revision, prior, written, kind, resource, namespace, name, uid, status)
        select revision, prior, written, 3, resource, namespace, name, uid, status
        from put;
        get diagnostics hit = row_count;
        applied := applied + hit;
    end if;

    if 4::smallint = any (kinds) then
        with gone as (
            delete from objects as o
            using unnest(kinds, resources, namespaces, names, uids, expecteds, epochs) with ordinality
                as t (kind, resource, namespace, name, uid, expected, epoch, ordinal)
            where t.kind = 4 and (t.epoch is null or t.epoch = term)
              and o.resource = t.resource and o.namespace = t.namespace and o.name = t.name
              and (t.uid is null or o.uid = t.uid) and (t.expected is null or o.revision = t.expected)
            returning base + t.ordinal as revision, o.revision as prior, o.written, o.resource, o.namespace, o.name, o.uid
        )
        insert into changes (revision, prior, written, kind, resource, namespace, name, uid)
        select revision, prior, written, 4, resource, namespace, name, uid
        from gone;
        get diagnostics hit = row_count;
        applied := applied + hit;
    end if;

    -- A batch that changed nothing leaves no trace, so it costs no flush either.
    if applied > 0 then
        update registry set revision = base + size;
        perform pg_notify('koinon_changes', (base + size)::text);
    end if;

    return query select 0::bigint, 0::smallint, base;
    if applied < size then
        return query
        select t.ordinal,
               (case
                    when t.epoch is not null and t.epoch is distinct from term then 4
                    when t.kind = 1 then 1
                    when o.uid is null then 2
                    when t.kind = 3 and o.uid = t.uid then 5
                    when t.kind = 3 then 2
                    else 3
                end)::smallint,
               o.revision
        from unnest(kinds, resources, namespaces, names, uids, epochs) with ordinality
                 as t (kind, resource, namespace, name, uid, epoch, ordinal)
             left join objects o on o.resource = t.resource and o.namespace = t.namespace and o.name = t.name
        where not exists (select from changes c where c.revision = base + t.ordinal);
    end if;
end
$$;
