# Progress lines: what is being done, and how long it took.

began=$(date +%s)
said=0

say() {
  said=1
  printf 'setup  %4ss  %s\n' "$(($(date +%s) - began))" "$*" >&2
}

die() {
  printf 'setup: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

# Runs a command with its output in a log; shows the end of it on failure.
logged() {
  local log=$1
  shift
  if ! "$@" >>"$log" 2>&1 </dev/null; then
    tail -n 25 "$log" >&2
    die "failed: $*" "The whole log is in $log"
  fi
}

# Quiet when there was nothing to do, but for somebody who ran it by hand.
done_line() {
  if [ "$said" = 1 ] || [ -t 1 ]; then
    printf 'setup  %4ss  ready; paths are in %s\n' "$(($(date +%s) - began))" "$1" >&2
  fi
}
