# shellcheck shell=bash
# What the scripts need of the host: packages, ordinary test users, and commands run as one of them. Sourced, never run.
# Invariant: everything here is idempotent, and whatever needs root goes through as_root.

HOST_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The test users: one with exactly one range of 65536 subordinate ids, one without any.
TEST_USER=rbuild-test
NOSUB_USER=rbuild-nosub

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# as_root COMMAND...: as it is when we are root, else through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root or sudo for: $*"
    fi
}

# ensure_packages PACKAGE...: installs the missing ones of a Debian or Ubuntu machine.
ensure_packages() {
    local package missing=()
    for package in "$@"; do
        [ "$(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || die "install these packages first: ${missing[*]}"
    say "installing ${missing[*]}"
    if [ -z "${APT_UPDATED:-}" ]; then
        as_root apt-get update -qq </dev/null >&2
        APT_UPDATED=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        </dev/null >/dev/null
}

# sub_ids FILE USER: the number of subordinate ids that USER has in FILE, 0 when none.
sub_ids() { awk -F: -v user="$2" '$1 == user { n += $3 } END { print n + 0 }' "$1" 2>/dev/null || echo 0; }

# ensure_sub_ids USER: a range of 65536 above everybody else's, unless USER has that many. The same start in both files.
ensure_sub_ids() {
    local user=$1 start
    [ "$(sub_ids /etc/subuid "$user")" -ge 65536 ] && [ "$(sub_ids /etc/subgid "$user")" -ge 65536 ] && return
    start=$(cat /etc/subuid /etc/subgid 2>/dev/null |
        awk -F: 'BEGIN { end = 100000 } $2 + $3 > end { end = $2 + $3 } END { print end }')
    forget_sub_ids "$user"
    as_root usermod --add-subuids "$start-$((start + 65535))" --add-subgids "$start-$((start + 65535))" "$user"
}

forget_sub_ids() { as_root sed -i "/^$1:/d" /etc/subuid /etc/subgid; }

# ensure_user USER: an ordinary account with a home directory. Distributions may give new accounts a range: not here.
ensure_user() {
    as_root touch /etc/subuid /etc/subgid
    id "$1" >/dev/null 2>&1 && return
    as_root useradd --create-home --shell /bin/bash -K SUB_UID_COUNT=0 -K SUB_GID_COUNT=0 "$1"
    forget_sub_ids "$1"
}

# ensure_test_users: rbuild-test with sub-ids and rbuild-nosub without.
ensure_test_users() {
    ensure_packages uidmap
    ensure_user "$TEST_USER"
    ensure_sub_ids "$TEST_USER"
    ensure_user "$NOSUB_USER"
    forget_sub_ids "$NOSUB_USER"
}

# as_user USER [VAR=VALUE...] COMMAND...: with a clean environment, in USER's home directory, no supplementary groups but
# USER's own, and a usable /dev/net/tun. Directories in VISIBLE (separated by colons) can be reached even when a parent
# directory is closed, as with a checkout below /root. Temporary files lie in the filesystem of PLACES (see places.sh) if set.
as_user() { as_root env VISIBLE="${VISIBLE:-}" PLACES="${PLACES:-}" CI="${CI:-}" unshare --mount "$HOST_LIB/enter-user.sh" "$@"; }

# host_triple: the target that .cargo/config.toml builds for.
host_triple() { rustc -vV | sed -n 's/^host: //p'; }

# bases_cache: where base images and programs are kept between runs; root's serves every test user.
bases_cache() {
    if [ -z "${RBUILD_BASES:-}" ] && [ "$(id -u)" = 0 ]; then
        echo /var/cache/rbuild-bases
    else
        echo "${RBUILD_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/rbuild-bases}"
    fi
}

# unpacked_program PACKAGE PATH DIRECTORY: a program of a package, unpacked but not installed, since installing it would
# start a daemon. Prints the program's path.
unpacked_program() {
    local package=$1 path=$2 directory=$3
    if [ ! -x "$directory/$package/$path" ]; then
        # apt's own user cannot write into the directory and warns; the file is verified all the same.
        (cd "$directory" && apt-get download -qq -o APT::Sandbox::User=root "$package" </dev/null >&2)
        mkdir -p "$directory/$package"
        # Only the program: qemu's package would be 380 MB.
        dpkg-deb --fsys-tarfile "$directory/$package"_*.deb | tar -x -C "$directory/$package" "./$path"
        rm -f "$directory/$package"_*.deb
    fi
    echo "$directory/$package/$path"
}
