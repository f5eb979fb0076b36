-- Why: which member cluster owns which name, what certificates it was given, and by which authority.
-- Locks: creates tables only.

create table identities (
    cluster           text collate "C" primary key,
    -- UID of the member's kube-system namespace: what the name is bound to.
    cluster_uid       text        not null,
    public_key_sha256 bytea       not null,
    agent_id          text        not null,
    claimed_at        timestamptz not null default now(),
    updated_at        timestamptz not null default now()
);

create table certificates (
    serial    bytea       primary key,
    cluster   text collate "C" not null,
    issued_at timestamptz not null default now(),
    not_after timestamptz not null
);

create index certificates_cluster on certificates (cluster, not_after);

create table authorities (
    name        text collate "C" primary key,
    certificate bytea       not null,
    private_key bytea       not null,
    created_at  timestamptz not null default now()
);
