#!/usr/bin/env bash
# The peers to compare with: podman, buildah and skopeo of Debian 13, rootless, on whatever machine this is.
#
#   peers.sh make             makes the tree (cached under /var/cache/rbuild-peers) and prints its directory
#   peers.sh run COMMAND...   runs COMMAND in it as the peers' ordinary user; a path in PEER_DIR is the same path inside,
#                             and PEER_DIR/peer is their storage
#   peers.sh try              builds and runs a two-line Containerfile with them, to see that they work here
#
# What it takes, found by trying: pivot_root and not chroot, since a chrooted process may make no user namespace; a cgroup2
# mount of the (empty) unified hierarchy where the machine has cgroup v1, since podman 5 warns about v1 otherwise and crun
# refuses; --cgroups=disabled, since nobody delegates a cgroup here; native overlay on ext4, as on a user's machine.
set -euo pipefail
benches=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib/host.sh
source "$benches/../tests/lib/host.sh"

packages=podman,buildah,skopeo,crun,passt,uidmap,fuse-overlayfs,netavark,aardvark-dns,python3
# An account that exists in the tree only.
peer_uid=7001
# Left alone between runs: ext4 creates files slowly after large deletes.
peer_home=/home/peer

configure() {
    local etc=$1/etc
    mkdir -p "$etc/containers"
    cat >"$etc/containers/storage.conf" <<CONF
[storage]
driver = "overlay"
CONF
    cat >"$etc/containers/containers.conf" <<CONF
[containers]
cgroups = "disabled"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
CONF
    chroot "$1" useradd --create-home --home-dir "$peer_home" --uid "$peer_uid" --shell /bin/bash peer
    printf 'peer:7100000:65536\n' | tee "$etc/subuid" >"$etc/subgid"
}

make_tree() {
    local key
    key=$({ declare -f configure && echo "$packages $peer_uid"; } | sha256sum | cut -c1-16)
    tree=/var/cache/rbuild-peers/$key
    export tree
    [ -e "$tree" ] && return
    ensure_packages mmdebstrap debian-archive-keyring
    say "making the peers' Debian 13 tree (400 MB, once)"
    mkdir -p "${tree%/*}"
    rm -rf "$tree.part"
    mmdebstrap --quiet --variant=minbase --include="$packages" --dpkgopt='path-exclude=/usr/share/doc/*' \
        trixie "$tree.part" "${RBUILD_MIRROR:-http://deb.debian.org/debian}"
    configure "$tree.part"
    mv "$tree.part" "$tree"
}

# Runs in mount and pid namespaces of its own, as root: makes the tree the root directory and becomes the user. What podman
# leaves running (its pause process) ends with the command; commands that shall share one are one command for `run`.
enter() {
    local uid=$peer_uid dir=${PEER_DIR:-}
    mount --bind "$tree" "$tree"
    mount -t proc proc "$tree/proc"
    mount --rbind /dev "$tree/dev"
    mount --rbind /sys "$tree/sys"
    mount -t tmpfs -o mode=0755 run "$tree/run"
    mount -t cgroup2 cgroup2 "$tree/sys/fs/cgroup"
    mount -t tmpfs -o mode=0755 net "$tree/dev/net"
    mknod -m 0666 "$tree/dev/net/tun" c 10 200
    install -d -m 0700 -o "$uid" -g "$uid" "$tree/run/user/$uid"
    if [ -n "$dir" ]; then
        mkdir -p "$tree/$dir"
        mount --bind "$dir" "$tree/$dir"
        install -d -o "$uid" -g "$uid" "$tree/$dir/peer"
    fi
    cd "$tree"
    # The old root is stacked on the new one and then let go: pivot_root(2), "pivot_root(".", ".")".
    pivot_root . .
    umount -l .
    # As on a machine with systemd; podman warns otherwise.
    mount --make-rshared /
    cd "${dir:-$peer_home}"
    exec setpriv --reuid "$uid" --regid "$uid" --clear-groups \
        env -i HOME="$peer_home" USER=peer LOGNAME=peer PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        XDG_RUNTIME_DIR="/run/user/$uid" XDG_DATA_HOME="${dir:-$peer_home/.local}/peer" "$@"
}

run() { as_root env PEER_DIR="${PEER_DIR:-}" tree="$tree" unshare --mount --pid --fork --kill-child "${BASH_SOURCE[0]}" enter "$@"; }

try() {
    local base
    make_tree
    base=$("$benches/../tests/lib/base-image.sh" busybox)
    export PEER_DIR
    PEER_DIR=$(mktemp -d /var/tmp/rbuild-peers.XXXXXX)
    trap 'as_root rm -rf "$PEER_DIR"' EXIT
    chmod 0755 "$PEER_DIR"
    cp -r "$base" "$PEER_DIR/base"
    printf 'FROM localhost/busybox\nRUN id -u && cat /proc/self/uid_map\n' >"$PEER_DIR/Containerfile"
    run skopeo copy -q oci:base containers-storage:localhost/busybox
    run buildah build --network none -t peers-try .
    run podman run --rm --userns keep-id --network none localhost/peers-try id
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
    make) make_tree && echo "$tree" ;;
    run) make_tree && run "$@" ;;
    enter) enter "$@" ;;
    try) try ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
