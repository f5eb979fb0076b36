-- Why: who did what, in hash chains, one for each process of the hub. Append-only: rows are neither changed nor deleted,
-- but by audit_trim when their time is over, which remembers where each chain goes on.
-- Locks: creates tables only.

create table audit (
    id       bigint generated always as identity primary key,
    replica  text collate "C" not null,
    sequence bigint not null,
    at       timestamptz not null default now(),
    hash     text collate "C" not null,
    -- JSON, exactly as it was hashed.
    record   text not null,
    unique (replica, sequence)
);

create index audit_at on audit using brin (at);

create table audit_trims (
    replica  text collate "C" primary key,
    sequence bigint not null,
    hash     text collate "C" not null,
    at       timestamptz not null default now()
);

create function audit_is_append_only() returns trigger language plpgsql as $$
begin
    if current_setting('koinon.audit_trim', true) = 'on' then
        return old;
    end if;
    raise exception 'the audit log is append-only';
end
$$;

create trigger audit_is_append_only before update or delete on audit
    for each row execute function audit_is_append_only();
create trigger audit_is_not_truncated before truncate on audit
    for each statement execute function audit_is_append_only();

-- Removes the records up to one; the caller has written into a chain that he does, and comes again for more.
create function audit_trim(edge bigint, keep_seconds double precision) returns bigint language plpgsql as $$
declare
    removed bigint;
begin
    insert into audit_trims (replica, sequence, hash)
    select distinct on (replica) replica, sequence, hash from audit where id <= edge order by replica, sequence desc
    on conflict (replica) do update set sequence = excluded.sequence, hash = excluded.hash, at = now();
    perform set_config('koinon.audit_trim', 'on', true);
    delete from audit where id <= edge;
    get diagnostics removed = row_count;
    perform set_config('koinon.audit_trim', 'off', true);
    -- A later chain may name this one for as long as its own first record is kept; the record that announced the trim is kept as long.
    delete from audit_trims t
    where t.at < now() - make_interval(secs => 2 * keep_seconds)
      and not exists (select from audit a where a.replica = t.replica);
    return removed;
end
$$;
