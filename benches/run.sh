#!/usr/bin/env bash
# Measures rbuild, what the machine could do at best (floor) and buildah or podman (peer) in one run, and prints a table.
#
#   RBUILD_BIN=PROGRAM benches/run.sh [--no-peers] [--no-rbuild] [ONLY...]
#
# ONLY names lines: steps, context, parallel, run, lint, scale, outputs, closure, registry. Everything runs as an ordinary user: rbuild and
# the floors as rbuild-test, the peers as their own user (peers.sh). Every place is fresh, and nothing is deleted before the end: ext4 creates files
# many times more slowly for minutes after a large delete.
set -euo pipefail
benches=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib/host.sh
source "$benches/../tests/lib/host.sh"

peers=1 rbuild=1 only=()
for argument in "$@"; do
    case $argument in
        --no-peers) peers= ;;
        --no-rbuild) rbuild= ;;
        -*) die "unknown flag $argument" ;;
        *) only+=("$argument") ;;
    esac
done
[ ${#only[@]} -gt 0 ] || only=(steps context parallel run lint scale outputs closure registry)
[ -z "$rbuild" ] || [ -x "${RBUILD_BIN:-}" ] || die "RBUILD_BIN must name the rbuild to measure (or --no-rbuild)"

ensure_packages uidmap passt bubblewrap python3 gcc libc6-dev
ensure_test_users
[ -z "$peers" ] || "$benches/peers.sh" make >/dev/null
bench=$(mktemp -d /var/tmp/rbuild-bench.XXXXXX)
trap 'as_root rm -rf "$bench"' EXIT
chmod 0755 "$bench"
cp "$benches/measure.py" "$bench/"
[ -z "$rbuild" ] || install -m 0755 "$RBUILD_BIN" "$bench/rbuild"
as_root install -d -o "$TEST_USER" "$bench/mine" "$bench/floor"
results=$bench/results.tsv
# A busy machine slows process starts most: the table says how busy it was.
load=$(cut -d' ' -f1 /proc/loadavg)

# measure KEY [-n RUNS] [-w WARMUPS] [-m] COMMAND...: KEY is rbuild.NAME, floor.NAME or peer.NAME; skipped kinds do nothing.
measure() {
    local key=$1 options=() measured
    shift
    while [[ $1 == -* ]]; do
        case $1 in -m) options+=("$1") && shift ;; *) options+=("$1" "$2") && shift 2 ;; esac
    done
    case $key in
        rbuild.*) [ -n "$rbuild" ] || return 0 ;;
        peer.*) [ -n "$peers" ] || return 0 ;;
    esac
    case $key in
        peer.*) measured=$(peer python3 "$bench/measure.py" "${options[@]}" "$key" "$@") ;;
        *) measured=$(as_user "$TEST_USER" -C "$bench" python3 "$bench/measure.py" "${options[@]}" "$key" "$@") ;;
    esac
    echo "$measured" | tee -a "$results" >&2
}

# once KIND COMMAND...: the same without measuring, to prepare.
once() { measure "$1.once" -n 1 "${@:2}"; }

peer() { PEER_DIR=$bench "$benches/peers.sh" run "$@"; }

# load_peer LAYOUT NAME: an OCI layout into the peers' storage.
load_peer() {
    [ -n "$peers" ] || return 0
    peer skopeo copy -q "oci:$1" "containers-storage:localhost/$2" >&2
}

base=$bench/bases/busybox
mkdir "$bench/bases"
cp -r "$("$benches/../tests/lib/base-image.sh" busybox)" "$base"
for part in "${only[@]}"; do
    say "measuring: $part"
    # shellcheck source=/dev/null
    source "$benches/measure-$part.sh"
done

printf '\n%s, %s cores, Linux %s, load average at the start %s\n\n' \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(uname -r)" "$load"
python3 "$benches/report.py" <"$results"
