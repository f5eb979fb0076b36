-- Why: works that have a Secret among their manifests are sealed as Secrets are. What is sealed in the log is found without reading all of
-- it, and what is still in the clear is looked for once.
-- Locks: writes to changes wait while it is read once.

-- The mark of an envelope (hub/store/src/seal/envelope.rs).
create function is_sealed(part bytea) returns boolean
language sql immutable parallel safe
as $$ select substring(part from 1 for 15) = '\x006b6f696e6f6e2d7365616c2d3100'::bytea $$;

-- How a Secret looks in JSON, and in an annotation that repeats one (hub/store/src/seal.rs).
create function may_hold_secret(part bytea) returns boolean
language sql immutable parallel safe
as $$ select position('\x53656372657422'::bytea in part) > 0 or position('\x5365637265745c'::bytea in part) > 0 $$;

drop index changes_of_secrets;
create index changes_sealed on changes (revision) where resource = 'secrets' or is_sealed(metadata);

-- Whether no work with a Secret is in the clear; a hub without a key says that nobody knows.
alter table registry add column works_sealed boolean not null default false;
