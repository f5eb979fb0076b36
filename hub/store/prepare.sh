#!/bin/sh
# Renews .sqlx/, the checked metadata of the store's queries, against a throwaway Postgres with all
# migrations applied. Run it after a change to a query or a migration, and commit what it writes.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
dir=$(mktemp -d /tmp/koinon-prepare-XXXXXX)
target=${CARGO_TARGET_DIR:-$root/target}

# Postgres refuses to run as root.
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
    chown nobody "$dir"
    as() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }
fi
cd "$dir"
stop() {
    as "$bin/pg_ctl" -D "$dir/data" -m immediate -s stop || true
    rm -rf "$dir"
}
trap stop EXIT

as "$bin/initdb" --auth=trust --username=postgres --no-sync --no-locale --encoding=UTF8 -D "$dir/data" >"$dir/initdb.log"
as "$bin/pg_ctl" -D "$dir/data" -s -w -l "$dir/log" -o "-k $dir -c listen_addresses= -c fsync=off" start
for migration in "$root"/migrations/*.sql; do
    "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$dir" -U postgres -f "$migration" postgres
done

# The macros write what they ask the database; without a rebuild of the crate they would not run.
mkdir -p "$root/.sqlx" "$target"
rm -f "$root"/.sqlx/query-*.json
touch "$root/hub/store/src/lib.rs"
cd "$root"
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$root/.sqlx" SQLX_TMP="$target" \
    DATABASE_URL="postgres://postgres@localhost/postgres?host=$dir" cargo check -q -p koinon-store
ls "$root/.sqlx" | wc -l | sed 's/$/ queries checked/'
