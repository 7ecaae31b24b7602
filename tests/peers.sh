#!/usr/bin/env bash
# Builds the same Containerfiles with rbuild and with Debian 13's buildah, rootless both, from the same base images, and
# compares the flattened files entry by entry and the configurations field by field (tests/lib/compare.py).
#
#   tests/peers.sh [CASE...]    CASE: hello-static parallel-site copy run stages; all without one
#
# Not part of tests/run.sh: it needs root and a 400 MB tree of packages (benches/peers.sh). RBUILD_BIN names another rbuild.
# Differences that are expected stand below, with their reasons; any other is printed, and the exit code is 1.
set -euo pipefail
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(dirname "$tests")
# shellcheck source=tests/lib/host.sh
source "$tests/lib/host.sh"
cd "$repo"

# CASE, tab, an extended regular expression for a line of difference. A comment says why.
expected() {
    sed 's/^ *//; /^#/d' <<'LINES'
    # buildah writes the working directory that everybody assumes.
    hello-static	config WorkingDir (null|"/")$
    # buildah takes setuid bits away from what it copies; BuildKit and we keep them.
    copy	f [04]755 .* = "#!/bin/sh
    # buildah matches --exclude from the context's root; BuildKit and we from the source.
    copy	f 0644 0:0 exclude/a.txt
    # buildah keeps mount points and what a RUN wrote through them, which is the host's business and not the image's.
    *	(f 0[0-7]{3} 0:0 etc/(hostname|hosts|resolv.conf) = "(changed\\n)?"|d 0755 0:0 run)$
    # buildah gives a named user no supplementary groups; Docker, BuildKit and we do.
    run	tmp/app =
    # buildah leaves SHELL out of OCI configurations; BuildKit and we write it.
    run	config Shell
    # buildah makes a working directory when something runs in it; Docker, BuildKit and we at once.
    stages	d 0755 0:0 srv(/app)?$
LINES
}

# The cases: the base image that each needs, and its context.
cases=(hello-static parallel-site copy run stages)
base_of() { case $1 in hello-static | parallel-site) echo debian-gcc ;; *) echo busybox ;; esac; }
context_of() { case $1 in hello-static | parallel-site) echo "$repo/examples/$1" ;; *) echo "$tests/lib/compare/$1" ;; esac; }

# name_of BASE: the name that the Containerfiles give it.
name_of() { echo "${1%-gcc}"; }

ensure_test_users
work=$(mktemp -d /var/tmp/rbuild-compare.XXXXXX)
trap 'as_root rm -rf "$work"' EXIT
chmod 0755 "$work"
if [ -z "${RBUILD_BIN:-}" ]; then
    cargo build --bin rbuild
    RBUILD_BIN=${CARGO_TARGET_DIR:-$repo/target}/$(host_triple)/debug/rbuild
fi
install -m 0755 "$RBUILD_BIN" "$work/rbuild"
install -d -o "$TEST_USER" "$work/ours"

# peer COMMAND...: as the peers' user; $work/peer is theirs.
peer() { PEER_DIR=$work "$repo/benches/peers.sh" run "$@"; }

chosen=("$@")
[ $# != 0 ] || chosen=("${cases[@]}")
script="set -e; umask 022"
for case in "${chosen[@]}"; do
    base=$(base_of "$case")
    if [ ! -e "$work/$base" ]; then
        cp -rL "$(tests/lib/base-image.sh "$base")" "$work/$base"
        script+="; skopeo copy -q oci:$work/$base containers-storage:localhost/$(name_of "$base")"
    fi
    # Both see the same modes, whatever the checkout's umask was.
    cp -r "$(context_of "$case")" "$work/context-$case"
    chmod -R u=rwX,go=rX "$work/context-$case"
    [ ! -e "$work/context-$case/prepare.sh" ] || (cd "$work/context-$case" && sh ./prepare.sh && rm prepare.sh)
    script+="; buildah build -q --format oci --layers --network none --pull=never -t localhost/$case $work/context-$case"
    script+="; buildah push -q localhost/$case oci:$work/peer/$case"
done

say "building with rbuild as $TEST_USER"
for case in "${chosen[@]}"; do
    base=$(base_of "$case")
    as_user "$TEST_USER" RBUILD_ROOT="$work/ours/store" "$work/rbuild" build -q --network none --user-policy off \
        --build-context "$(name_of "$base")=oci-layout:$work/$base" -o "type=oci,dest=$work/ours/$case" "$work/context-$case"
done

say "building with $(peer buildah --version)"
peer sh -c "$script"

failed=0
for case in "${chosen[@]}"; do
    say "$case: rbuild (-) and buildah (+)"
    as_root python3 "$tests/lib/compare.py" images "$work/ours/$case" "$work/peer/$case" >"$work/$case.differences" || true
    expected | awk -F'\t' -v case="$case" '$1 == case || $1 == "*" { print $2 }' >"$work/$case.expected"
    grep -Evf "$work/$case.expected" "$work/$case.differences" >"$work/$case.unexpected" || true
    printf '%s differences, %s of them expected\n' "$(wc -l <"$work/$case.differences")" \
        "$(($(wc -l <"$work/$case.differences") - $(wc -l <"$work/$case.unexpected")))"
    if [ -s "$work/$case.unexpected" ]; then
        cat "$work/$case.unexpected"
        failed=1
    fi
done
exit "$failed"
