# kube-apiserver and kube-controller-manager from Debian 12's source package.
# Debian ships only the client, but the source holds everything, vendored.

# Raise the number when the recipe changes: what an older one built is not used.
kubernetes_home=$cache/kubernetes.2

build_kubernetes() {
  local work=$cache/build-kubernetes log=$cache/kubernetes.log go tree version
  say "building kube-apiserver and kube-controller-manager from Debian's source, once (some minutes; log: $log)"
  # A build that was broken off has left a folder that nothing else uses.
  rm -rf "$work"
  mkdir -p "$work/bin"
  : >"$log"

  command -v dpkg-source >/dev/null || { say "  installing dpkg-dev, which unpacks source packages"; system_install dpkg-dev; }
  private_apt_update bookworm || die "could not read Debian's package lists." "See $cache/apt.log"
  say "  fetching the source and a Go compiler"
  fetch_source "$work" "$log"
  tree=$(echo "$work"/kubernetes-*/)
  go=$(go_compiler)
  replace_reflect2 "$tree"

  mkdir -p "$work/gopath/src/k8s.io"
  ln -s "${tree%/}" "$work/gopath/src/k8s.io/kubernetes"
  export GOPATH=$work/gopath GO111MODULE=off CGO_ENABLED=0 GOFLAGS=-trimpath GOCACHE=$work/gocache GOTOOLCHAIN=local

  say "  generating the OpenAPI definitions, which the source leaves out"
  generate_openapi "$go" "$work" "$log"

  version=$(sed -n '1s/.*really\([0-9.]*\).*/\1/p; 1q' "${tree%/}/debian/changelog")
  # /version is answered by the aggregator, which has client-go's.
  local package flags="-s -w" program
  for package in component-base/version client-go/pkg/version; do
    package=k8s.io/kubernetes/vendor/k8s.io/$package
    flags+=" -X $package.gitVersion=v$version -X $package.gitMajor=${version%%.*} -X $package.gitMinor=$(echo "$version" | cut -d. -f2) -X $package.gitTreeState=clean"
  done
  for program in kube-apiserver kube-controller-manager; do
    say "  building $program $version"
    logged "$log" in_tree "$work" "$go" build -ldflags "$flags" -o "$work/bin/$program" "k8s.io/kubernetes/cmd/$program"
  done

  # The finished folder appears at once, so that a half-built one is never used.
  mkdir "$work/done"
  mv "$work/bin" "$work/done/bin"
  rm -rf "${cache:?}"/kubernetes "${cache:?}"/kubernetes.[0-9]*
  mv "$work/done" "$kubernetes_home"
  chmod -R u+w "$work"
  rm -rf "$work" "$cache/debian/golang-1.19-go" "$cache/debian/golang-1.19-src" "$cache/debian/golang-github-modern-go-reflect2-dev"
}

fetch_source() {
  # dpkg-source refuses to unpack where root's umask hides the files from itself.
  (cd "$1" && umask 022 && private_apt bookworm source kubernetes) >>"$2" 2>&1 </dev/null ||
    { tail -n 25 "$2" >&2; die "could not fetch Debian's kubernetes source." "The whole log is in $2"; }
}

# Prints a go command of version 1.19: the system's, else unpacked into the cache.
go_compiler() {
  local go=/usr/lib/go-1.19/bin/go root=$cache/debian/golang-1.19-go
  if [ ! -x "$go" ]; then
    unpack bookworm golang-1.19-go golang-1.19-src || die "could not fetch Debian's golang-1.19-go." "See $cache/apt.log"
    # Debian splits the tree over /usr/lib and /usr/share, joined by links.
    cp -a "$cache/debian/golang-1.19-src/." "$root/"
    go=$root/usr/lib/go-1.19/bin/go
  fi
  printf '%s' "$go"
}

# The vendored reflect2 reads Go's maps by a layout that Go 1.18 changed: the
# servers would crash on the first custom resource with a label. Debian has the
# version that knows better.
replace_reflect2() {
  local vendored=$1/vendor/github.com/modern-go/reflect2 package=golang-github-modern-go-reflect2-dev
  unpack bookworm "$package" || die "could not fetch Debian's $package." "See $cache/apt.log"
  rm -rf "$vendored"
  cp -rL "$cache/debian/$package/usr/share/gocode/src/github.com/modern-go/reflect2" "$vendored"
  rm -f "$vendored"/*_test.go
}

in_tree() {
  local work=$1
  shift
  (cd "$work/gopath/src/k8s.io/kubernetes" && GOROOT=$("$1" env GOROOT) nice -n 5 "$@")
}

# Every package that asks for definitions, under the path it is imported by.
openapi_packages() {
  (cd "$1/gopath/src/k8s.io/kubernetes" &&
    grep -rl --include=doc.go --include='*.go' '+k8s:openapi-gen=' pkg cmd vendor/k8s.io staging/src/k8s.io 2>/dev/null |
    grep -v -e code-generator -e sample-apiserver -e _test.go -e /testdata/ |
    sed -e 's,/[^/]*$,,' -e 's,^staging/src/,vendor/,' | sort -u | sed 's,^,k8s.io/kubernetes/,')
}

generate_openapi() {
  local go=$1 work=$2 log=$3 generated=k8s.io/kubernetes/pkg/generated/openapi
  logged "$log" in_tree "$work" "$go" build -o "$work/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
  logged "$log" in_tree_path "$work" "$go" "$work/openapi-gen" --logtostderr \
    --input-dirs "$(openapi_packages "$work" | paste -sd,)" --output-package "$generated" --output-base "$work/gopath/src" \
    --output-file-base zz_generated.openapi --go-header-file hack/boilerplate/boilerplate.generatego.txt --report-filename "$work/violations"
}

# The generator calls go/build, which wants the go command in PATH.
in_tree_path() {
  local work=$1 go=$2
  shift 2
  (cd "$work/gopath/src/k8s.io/kubernetes" && GOROOT=$("$go" env GOROOT) PATH=$(dirname "$go"):$PATH nice -n 5 "$@")
}
