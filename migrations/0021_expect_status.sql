-- Why: a status that is written on the state that it was decided on (through the API, by controllers) takes the short way, too: the log
-- says what the status is and repeats nothing else. So the revision that is expected counts for statuses; a hub of before gives none.
-- One status alone needs no joins either. Otherwise this is the function of 0020.
-- Locks: replaces a function only.

create or replace function write_batch(
    -- 1 create, 2 replace, 3 status, 4 delete
    kinds          smallint[],
    resources      text[],
    namespaces     text[],
    names          text[],
    uids           uuid[],
    expecteds      bigint[],
    epochs         bigint[],
    generations    bigint[],
    -- null for a replace: the body stays as it is
    digests        bytea[],
    labelses       text[],
    metadatas      bytea[],
    -- null: it is in bodies, or in shared_bodies
    inline_bodies  bytea[],
    statuses       bytea[],
    shared_digests bytea[],
    shared_bodies  bytea[],
    -- whether anybody but the caller listens
    tell           boolean
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
    select r.revision, l.epoch into base, term from registry r left join leadership l on true;

    if cardinality(shared_digests) > 0 then
        insert into bodies (digest, content)
        select * from unnest(shared_digests, shared_bodies)
        on conflict do nothing;
    end if;

    -- One write alone, as a single client makes them: setting up the joins below costs more than the write.
    if size = 1 and kinds[1] in (1, 2, 3) then
        if epochs[1] is null or epochs[1] = term then
            if kinds[1] = 1 then
                insert into objects
                    (revision, prior, written, generation, uid, resource, namespace, name, digest, labels, metadata, body, status)
                values (base + 1, 0, base + 1, generations[1], uids[1], resources[1], namespaces[1], names[1], digests[1],
                        labelses[1]::jsonb, metadatas[1], inline_bodies[1], statuses[1])
                on conflict do nothing;
                get diagnostics applied = row_count;
                if applied > 0 then
                    insert into changes
                        (revision, prior, written, kind, resource, namespace, name, uid, generation, digest, labels, metadata, body, status)
                    values (base + 1, 0, base + 1, 1, resources[1], namespaces[1], names[1], uids[1], generations[1], digests[1],
                            labelses[1]::jsonb, metadatas[1], inline_bodies[1], statuses[1]);
                end if;
            elsif kinds[1] = 3 then
                with put as (
                    update objects as o
                    set revision = base + 1, prior = o.revision, status = statuses[1]
                    where o.resource = resources[1] and o.namespace = namespaces[1] and o.name = names[1]
                      and o.uid = uids[1] and (expecteds[1] is null or o.revision = expecteds[1]) and o.status <> statuses[1]
                    returning o.revision, o.prior, o.written, o.resource, o.namespace, o.name, o.uid, o.status
                )
                insert into changes (revision, prior, written, kind, resource, namespace, name, uid, status)
                select revision, prior, written, 3, resource, namespace, name, uid, status
                from put;
                get diagnostics applied = row_count;
            else
                with put as (
                    update objects as o
                    set revision = base + 1, prior = o.revision, written = base + 1, generation = generations[1],
                        digest = coalesce(digests[1], o.digest), labels = labelses[1]::jsonb, metadata = metadatas[1],
                        body = case when digests[1] is null then o.body else inline_bodies[1] end, status = statuses[1]
                    where o.resource = resources[1] and o.namespace = namespaces[1] and o.name = names[1]
                      and o.uid = uids[1] and o.revision = expecteds[1]
                    returning o.*
                )
                insert into changes
                    (revision, prior, written, kind, resource, namespace, name, uid, generation, digest, labels, metadata, body, status)
                select revision, prior, written, 2, resource, namespace, name, uid, generation, digest, labels, metadata, body, status
                from put;
                get diagnostics applied = row_count;
            end if;
        end if;
    else
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
                    digest = coalesce(t.digest, o.digest), labels = t.labels::jsonb, metadata = t.metadata,
                    body = case when t.digest is null then o.body else t.body end, status = t.status
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
                from unnest(kinds, resources, namespaces, names, uids, expecteds, epochs, statuses) with ordinality
                    as t (kind, resource, namespace, name, uid, expected, epoch, status, ordinal)
                where t.kind = 3 and (t.epoch is null or t.epoch = term)
                  and o.resource = t.resource and o.namespace = t.namespace and o.name = t.name
                  and o.uid = t.uid and (t.expected is null or o.revision = t.expected) and o.status <> t.status
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
    end if;

    -- A batch that changed nothing leaves no trace, so it costs no flush either.
    if applied > 0 then
        update registry set revision = base + size;
        if tell then
            perform pg_notify('koinon_changes', (base + size)::text);
        end if;
    end if;

    return query select 0::bigint, 0::smallint, base;
    if applied < size then
        return query
        select t.ordinal,
               (case
                    when t.epoch is not null and t.epoch is distinct from term then 4
                    when t.kind = 1 then 1
                    when o.uid is null then 2
                    when t.kind = 3 and t.expected is null and o.uid <> t.uid then 2
                    when t.kind = 3 and o.uid = t.uid and (t.expected is null or o.revision = t.expected) then 5
                    else 3
                end)::smallint,
               o.revision
        from unnest(kinds, resources, namespaces, names, uids, expecteds, epochs) with ordinality
                 as t (kind, resource, namespace, name, uid, expected, epoch, ordinal)
             left join objects o on o.resource = t.resource and o.namespace = t.namespace and o.name = t.name
        where not exists (select from changes c where c.revision = base + t.ordinal);
    end if;
end
$$;
