-- Why: what is secret in the log is looked at when a hub starts, to be sealed with the present key; it must not read the whole log.
-- Locks: writes to changes wait while it is read once.

create index changes_of_secrets on changes (revision) where resource = 'secrets';
