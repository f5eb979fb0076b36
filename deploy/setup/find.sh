# One function per tool: what the caller set, else what is on the machine, else
# what an earlier run put into the cache, else Debian's.

# tool NAME: prints the path of a Kubernetes tool that is already here.
tool() {
  local dir
  for dir in "${KUBEBUILDER_ASSETS:-}" "$kubernetes_home/bin"; do
    if [ -n "$dir" ] && [ -x "$dir/$1" ]; then
      printf '%s' "$dir/$1"
      return
    fi
    command -v "$1" && return
  done
  return 1
}

find_rust() {
  command -v cargo >/dev/null || die "cargo is missing." "Install Rust 1.95 or later, see https://rustup.rs"
  command -v cc >/dev/null && return
  need_debian "a C compiler" "Install gcc or clang."
  say "installing a C compiler (Debian gcc, libc6-dev): Rust links with it"
  system_install gcc libc6-dev
}

postgres_bin() {
  local dir
  if [ -n "${PG_BIN:-}" ]; then
    [ -x "$PG_BIN/initdb" ] && [ -x "$PG_BIN/postgres" ] || die "PG_BIN=$PG_BIN has no initdb and postgres."
    printf '%s' "$PG_BIN"
    return
  fi
  # Folders as Debian and Red Hat lay them out, the newest first; then PATH.
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -Vr) "$(dirname "$(command -v initdb || echo /nowhere/initdb)")"; do
    if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && [ "$("$dir/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 14 ]; then
      printf '%s' "$dir"
      return
    fi
  done
  return 1
}

find_postgres() {
  PG_BIN=$(postgres_bin) && return
  need_debian "Postgres (14 or later)" "Install its server, or set PG_BIN to the folder with initdb and postgres."
  say "installing Postgres (Debian postgresql, no server is started)"
  # Debian would create and start a cluster of its own; we want the binaries.
  local conf=/etc/postgresql-common/createcluster.conf ours=
  system_install postgresql-common
  if ! grep -q '^ *create_main_cluster' "$conf"; then
    as_root sh -c "echo 'create_main_cluster = false' >>$conf"
    ours=1
  fi
  system_install postgresql
  [ -z "$ours" ] || as_root sed -i '/^create_main_cluster = false$/d' "$conf"
  PG_BIN=$(postgres_bin) || die "Debian's postgresql has no server of version 14 or later."
}

find_etcd() {
  ETCD=${ETCD:-$(tool etcd || true)}
  [ -x "$ETCD" ] && return
  ETCD=$cache/debian/etcd-server/usr/bin/etcd
  [ -x "$ETCD" ] && return
  need_debian "etcd" "Put it into PATH or KUBEBUILDER_ASSETS."
  say "unpacking etcd (Debian etcd-server)"
  unpack "$(debian_release)" etcd-server || die "could not fetch Debian's etcd-server." "See $cache/apt.log"
}

find_kubectl() {
  KUBECTL=${KUBECTL:-$(tool kubectl || true)}
  [ -x "$KUBECTL" ] && return
  for KUBECTL in "$cache/debian/kubectl/usr/bin/kubectl" "$cache/debian/kubernetes-client/usr/bin/kubectl"; do
    [ -x "$KUBECTL" ] && return
  done
  need_debian "kubectl" "Put it into PATH or KUBEBUILDER_ASSETS."
  # Debian 12's own is 1.20, from before OpenAPI v3: it cannot explain kinds or
  # check fields against this hub. Debian 13's runs on Debian 12 as it is.
  say "unpacking kubectl (Debian 13's)"
  KUBECTL=$cache/debian/kubectl/usr/bin/kubectl
  if unpack trixie kubectl && "$KUBECTL" version --client >/dev/null 2>&1; then
    return
  fi
  rm -rf "$cache/debian/kubectl"
  say "that failed; unpacking Debian 12's kubernetes-client instead: it is 1.20, so \`kubectl explain\` and field checks will not work"
  KUBECTL=$cache/debian/kubernetes-client/usr/bin/kubectl
  unpack bookworm kubernetes-client || die "could not fetch Debian's kubernetes-client." "See $cache/apt.log"
}

find_kubernetes() {
  KUBE_APISERVER=${KUBE_APISERVER:-$(tool kube-apiserver || true)}
  KUBE_CONTROLLER_MANAGER=${KUBE_CONTROLLER_MANAGER:-$(tool kube-controller-manager || true)}
  [ -x "$KUBE_APISERVER" ] && [ -x "$KUBE_CONTROLLER_MANAGER" ] && return
  local manual="Set KUBEBUILDER_ASSETS to a folder with kube-apiserver and kube-controller-manager (any version from 1.20 on)."
  need_debian "kube-apiserver or kube-controller-manager" "$manual"
  [ "$(debian_release)" = bookworm ] || die "kube-apiserver or kube-controller-manager is missing." \
    "They are built from Debian 12's source package, and this is Debian $(debian_release)." "$manual"
  build_kubernetes
  KUBE_APISERVER=$kubernetes_home/bin/kube-apiserver
  KUBE_CONTROLLER_MANAGER=$kubernetes_home/bin/kube-controller-manager
}
