#!/usr/bin/env bash
# Finds what the demo and the tests run against, and gets what is missing:
# Postgres, etcd, kubectl, kube-apiserver, kube-controller-manager.
#
# Only Postgres is installed into the system, without starting it. Everything
# else is unpacked or built below the cache folder. Running it again costs
# nothing. What was found is written to <cache>/env for the harness.
#
#   KOINON_CACHE        the cache folder   (${XDG_CACHE_HOME:-~/.cache}/koinon)
#   PG_BIN              folder with initdb and postgres, 14 or later
#   KUBEBUILDER_ASSETS  folder with kube-apiserver, kube-controller-manager and perhaps etcd, kubectl
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${KOINON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/koinon}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# shellcheck source=deploy/setup/say.sh
. "$here/setup/say.sh"
# shellcheck source=deploy/setup/debian.sh
. "$here/setup/debian.sh"
# shellcheck source=deploy/setup/find.sh
. "$here/setup/find.sh"
# shellcheck source=deploy/setup/kubernetes.sh
. "$here/setup/kubernetes.sh"

# Two set-ups at once (make demo beside make test) would build the same thing twice.
exec 9>"$cache/lock"
if ! flock -n 9; then
  say "another set-up is running; waiting for it"
  flock 9
fi

find_rust
find_postgres
find_etcd
find_kubectl
find_kubernetes

next=$cache/env.$$
{
  printf '# Written by deploy/setup.sh.\n'
  for name in PG_BIN ETCD KUBECTL KUBE_APISERVER KUBE_CONTROLLER_MANAGER; do
    printf '%s=%s\n' "$name" "${!name}"
  done
} >"$next"
mv -f "$next" "$cache/env"
done_line "$cache/env"
