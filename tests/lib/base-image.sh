#!/usr/bin/env bash
# Makes a base image as an OCI layout from Debian's own packages, without a registry: base-image.sh NAME
# Prints the layout's directory. Layouts are cached by a hash of their recipe; SOURCE_DATE_EPOCH makes them repeatable.
#
#   debian      the minimal Debian (with apt)
#   debian-gcc  the same with gcc and libc6-dev, to compile C programs in a build stage
#   debian-programs  the same with programs that open much by themselves: modules, plug-ins, character sets, fonts, other programs
#   busybox     one static program with its links and the accounts root and nobody: 2 MB, for tests and benchmarks
#   busybox-arm64  the same for another processor, with a few of its links
set -euo pipefail
lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib/host.sh
source "$lib/host.sh"

# One suite everywhere: every Debian or Ubuntu keyring in use knows bookworm's keys.
suite=bookworm
export SOURCE_DATE_EPOCH=1700000000

# mirror: the machine's own when it is a Debian machine, else Debian's.
mirror() {
    local own
    # shellcheck disable=SC2016 # apt's own variables
    own=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 == "Debian" && $2 !~ /security/ { print $2; exit }')
    echo "${RBUILD_MIRROR:-${own:-http://deb.debian.org/debian}}"
}

# debian_tar [PACKAGE...]: a minimal Debian as a tar archive; works as root and, with sub-ids, as anybody.
debian_tar() {
    local IFS=,
    mmdebstrap --quiet --variant=minbase --format=tar ${1:+--include="$*"} \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        "$suite" - "$(mirror)"
}

# busybox_tar: needs neither root nor sub-ids, since tar is told the owners.
busybox_tar() {
    local busybox
    busybox=$(unpacked_program busybox-static bin/busybox "$scratch")
    busybox_tree "$busybox" "$("$busybox" --list)"
}

# foreign_busybox_tar ARCHITECTURE: mmdebstrap gets a package of another architecture without changing the host's apt.
foreign_busybox_tar() {
    mmdebstrap --quiet --variant=extract --format=tar --architectures="$1" --include=busybox-static "$suite" - "$(mirror)" |
        tar -x -C "$scratch" ./bin/busybox
    busybox_tree "$scratch/bin/busybox" 'cat chown echo env id ls mkdir sh sleep stat su touch uname'
}

# busybox_tree PROGRAM LINKS: the image of one program and its links, as a tar archive.
busybox_tree() {
    local tree=$scratch/tree busybox=$1 link
    mkdir -p "$tree"/{bin,etc,dev,proc,sys,root,tmp,usr,var,work}
    install -m 0755 "$busybox" "$tree/bin/busybox"
    for link in $2; do
        [ "$link" = busybox ] || ln -s busybox "$tree/bin/$link"
    done
    printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/bin/false >"$tree/etc/passwd"
    printf '%s\n' root:x:0: nogroup:x:65534: >"$tree/etc/group"
    chmod 0700 "$tree/root"
    chmod 1777 "$tree/tmp"
    tar -C "$tree" -c --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" .
}

name=${1:?usage: base-image.sh debian|debian-gcc|debian-programs|busybox|busybox-arm64}
architecture=
case $name in
    debian) recipe=(debian_tar) ;;
    debian-gcc) recipe=(debian_tar gcc libc6-dev) ;;
    debian-programs) recipe=(debian_tar ca-certificates curl fonts-dejavu-core git gnupg graphviz libnginx-mod-http-echo
        nginx-light openssl python3 perl sqlite3 tzdata) ;;
    busybox) recipe=(busybox_tar) ;;
    busybox-arm64) architecture=arm64 recipe=(foreign_busybox_tar arm64) ;;
    *) die "no recipe for a base image '$name'" ;;
esac

cache=$(bases_cache)
key=$(cat "${BASH_SOURCE[0]}" "$lib/tar2oci.py" | sha256sum | cut -c1-16)
layout=$cache/$key/$name

if [ ! -e "$layout" ]; then
    ensure_packages mmdebstrap python3
    mkdir -p "$cache/$key"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    say "making the base image $name"
    "${recipe[@]}" | python3 "$lib/tar2oci.py" "$layout" --tag "$name" --created-by "base-image.sh $name" \
        --architecture "$architecture" \
        --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd /bin/sh
fi
echo "$layout"
