-- Why: the keys that sign service tokens. Every replica signs with the newest that all have, and takes tokens of all that are here.
-- Locks: creates a table only.

create table token_keys (
    id          text collate "C" primary key,
    private_key bytea       not null,
    created_at  timestamptz not null default now()
);
