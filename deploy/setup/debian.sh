# Debian's packages: installed with apt where they must be, otherwise unpacked
# into the cache folder through an apt configuration of our own, so that neither
# the system's sources nor its package database change.

is_debian() {
  [ -r /etc/debian_version ] && command -v apt-get >/dev/null
}

debian_release() {
  # shellcheck disable=SC1091
  (. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
}

need_debian() {
  is_debian || die "$1 is missing, and this is not Debian, where it would be fetched." "${@:2}"
}

# Runs a command as root: as we are, or by sudo where that asks no password.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 77
  fi
}

system_install() {
  local log=$cache/apt.log
  if ! as_root true; then
    die "these Debian packages are missing: $*" "Install them as root and run this again:" "  apt-get install --no-install-recommends $*"
  fi
  logged "$log" as_root apt-get -q update
  logged "$log" as_root env DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "$@"
}

# The Debian mirror that the system uses, else Debian's own.
mirror() {
  local found
  found=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk -v release="$(debian_release)" '$2 == release && $3 == "main" && $1 ~ /\/debian\/?$/ { print $1; exit }') || true
  printf '%s' "${found:-http://deb.debian.org/debian/}"
}

# apt with lists and cache of its own, blind to what is installed: it only ever
# downloads. $1 is the release to read.
private_apt() {
  local release=$1 dir=$cache/apt/$1
  shift
  apt-get -q -o "Dir::State=$dir/state" -o "Dir::State::status=/dev/null" -o "Dir::Cache=$dir/cache" \
    -o "Dir::Etc::SourceList=$dir/sources.list" -o "Dir::Etc::SourceParts=-" -o "APT::Sandbox::User=$(id -un)" \
    -o "Acquire::Languages=none" -o "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false" -o "Acquire::Retries=3" "$@"
}

private_apt_update() {
  local release=$1 dir=$cache/apt/$1
  [ -e "$dir/updated.$$" ] && return
  mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial"
  rm -f "$dir"/updated.*
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  printf '%s [signed-by=%s] %s %s main\n' deb "$keyring" "$(mirror)" "$release" deb-src "$keyring" "$(mirror)" "$release" >"$dir/sources.list"
  private_apt "$release" update >>"$cache/apt.log" 2>&1 </dev/null && touch "$dir/updated.$$"
}

# unpack RELEASE PACKAGE...: into <cache>/debian/<package>, all or nothing.
unpack() {
  local release=$1 package work
  shift
  private_apt_update "$release" || return 1
  for package in "$@"; do
    work=$(mktemp -d "$cache/unpack.XXXXXX")
    (cd "$work" && private_apt "$release" download "$package") >>"$cache/apt.log" 2>&1 </dev/null &&
      mkdir "$work/root" && dpkg-deb -x "$work"/*.deb "$work/root" || { rm -rf "$work"; return 1; }
    mkdir -p "$cache/debian"
    rm -rf "${cache:?}/debian/$package"
    mv "$work/root" "$cache/debian/$package"
    rm -rf "$work"
  done
}
