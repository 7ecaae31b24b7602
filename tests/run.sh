#!/usr/bin/env bash
# Installs what the tests need and runs all of them, as root or as an ordinary user with sudo.
#
# Every test program is compiled once and then run in each degree of rootlessness that it belongs to: `subids` (an ordinary
# user with 65536 subordinate ids), `nosub` (a user without any) and `root`. The end-to-end tests run in all three, the
# crates' own tests in `subids` and `root`. A test that cannot run somewhere prints a line `SKIP NEED: why`, which
# tests/lib/tally.py counts; with CI=true a skip that tests/known-limits.txt does not excuse is a failure.
#
#   tests/run.sh [FILTER...]   FILTER goes to the test programs, e.g. the name of a test
#
# What the test programs are told:
#   RBUILD_TEST_USER=subids|nosub|root   RBUILD_BIN=the program under test   RBUILD_TEST_BASES=directory of OCI layouts, and of
#   emulators of other processors
#   RBUILD_TEST_REGISTRY=Debian's docker-registry, for tests of pull
#   RBUILD_TEST_ROUNDS=how often a race is tried, from our own environment; a few times without it
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/lib/host.sh
source "$repo/tests/lib/host.sh"
cd "$repo"

say "host: packages, users, base images"
ensure_packages uidmap passt mmdebstrap python3 python3-yaml gcc git libc6-dev musl-tools strace openssl
ensure_test_users
# World-readable, and not below anybody's home directory.
stage=$(mktemp -d /tmp/rbuild-tests.XXXXXX)
trap 'as_root rm -rf "$stage"' EXIT
chmod 0755 "$stage"
mkdir "$stage/bases" "$stage/logs"
for base in busybox busybox-arm64 debian debian-gcc debian-programs; do
    layout=$(tests/lib/base-image.sh "$base")
    # root's cache can be read by everybody; an ordinary user's is copied out of the home directory.
    case $layout in
        "$HOME"/*) cp -r "$layout" "$stage/bases/$base" ;;
        *) ln -s "$layout" "$stage/bases/$base" ;;
    esac
done
mkdir "$stage/bases/emulators"
install -m 0755 "$(unpacked_program qemu-user-static usr/bin/qemu-aarch64-static "$(bases_cache)")" "$stage/bases/emulators"
PLACES=$(tests/lib/places.sh "$stage")
export PLACES
registry=$(unpacked_program docker-registry usr/bin/docker-registry "$stage")

say "compiling the tests"
cargo build --workspace --locked --message-format=json >"$stage/build.json"
cargo test --workspace --locked --no-run --message-format=json >>"$stage/build.json"
python3 tests/lib/suites.py "$stage" <"$stage/build.json" >"$stage/suites.tsv"

say "documentation tests"
cargo test --workspace --locked --doc --quiet

visible=$repo
[ ! -d "$repo/../shared" ] || visible=$visible:$(cd "$repo/../shared" && pwd)

# run_suite DEGREE USER SUITE PROGRAM DIRECTORY [FILTER...]
run_suite() {
    local degree=$1 user=$2 suite=$3 program=$4 directory=$5 log=$stage/logs/$1.$3 status=0
    shift 5
    VISIBLE=$visible as_user "$user" -C "$directory" RBUILD_TEST_USER="$degree" RBUILD_BIN="$stage/bin/rbuild" \
        CARGO_BIN_EXE_rbuild="$stage/bin/rbuild" RBUILD_TEST_BASES="$stage/bases" RBUILD_TEST_REGISTRY="$registry" \
        RBUILD_TEST_ROUNDS="${RBUILD_TEST_ROUNDS:-}" \
        CARGO_MANIFEST_DIR="$directory" INSTA_WORKSPACE_ROOT="$repo" RUST_BACKTRACE=1 \
        timeout --kill-after=10 "${RBUILD_TEST_TIMEOUT:-600}" "$program" --show-output "$@" \
        </dev/null >"$log" 2>&1 || status=$?
    printf '%s\t%s\t%s\n' "$degree" "$suite" "$status" >>"$stage/results.tsv"
    printf '%-8s %-24s %s\n' "$degree" "$suite" "$(grep '^test result' "$log" || echo "no result, exit code $status")"
    [ "$status" = 0 ] || cat "$log"
}

# running USER: the user's processes that were not there before. What only waits to be reaped by init is not running.
running() { pgrep -u "$1" -r D,R,S,T -a | grep -vxFf "$stage/before" || true; }

# run_degree DEGREE USER KINDS [FILTER...]: and nothing may be left running afterwards.
run_degree() {
    local degree=$1 user=$2 kinds=$3 kind suite program directory
    shift 3
    say "tests as $user ($degree)"
    { pgrep -u "$user" -a || echo none; } >"$stage/before"
    while IFS=$'\t' read -r kind suite program directory <&3; do
        case $kinds in *"$kind"*) run_suite "$degree" "$user" "$suite" "$program" "$directory" "$@" ;; esac
    done 3<"$stage/suites.tsv"
    [ "$user" != root ] || return 0
    # A process that is just ending has a second to do so.
    [ -z "$(running "$user")" ] || sleep 1
    [ -z "$(running "$user")" ] || { echo "left running as $user:" && running "$user"; } | tee "$stage/logs/$degree.left"
}

run_degree subids "$TEST_USER" "unit e2e" "$@"
run_degree nosub "$NOSUB_USER" "e2e" "$@"
run_degree root root "unit root e2e" "$@"

# The README as an ordinary user with sudo, unless only some tests were asked for.
if [ $# = 0 ]; then
    log=$stage/logs/sudo.quickstart status=0
    tests/quickstart.sh "$stage/bin/rbuild" "$(tests/lib/base-image.sh debian-gcc)" >"$log" 2>&1 || status=$?
    [ "$status" = 0 ] && outcome=ok || outcome=FAILED
    printf 'test the_readme_as_an_ordinary_user ... %s\ntest result: %s. %d passed; %d failed; 0 ignored\n' \
        "$outcome" "$outcome" $((status == 0)) $((status != 0)) | tee -a "$log"
    printf 'sudo\tquickstart\t%s\n' "$status" >>"$stage/results.tsv"
    [ "$status" = 0 ] || cat "$log"
fi

python3 tests/lib/tally.py "$stage" tests/known-limits.txt
