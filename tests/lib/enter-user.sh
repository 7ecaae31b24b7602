#!/usr/bin/env bash
# Runs a command as an ordinary user: enter-user.sh USER [VAR=VALUE...] COMMAND...
# Called by as_user (host.sh) as root, in a mount namespace of its own, so that no mount made here is seen outside.
set -euo pipefail

user=$1
shift
uid=$(id -u "$user")
gid=$(id -g "$user")
home=$(getent passwd "$user" | cut -d: -f6)
runtime=/run/user/$uid

# covered DIR: the first parent of DIR that is closed to USER, nothing when there is none.
covered() {
    local path="" part parts
    IFS=/ read -ra parts <<<"${1#/}"
    for part in "${parts[@]}"; do
        path=$path/$part
        setpriv --reuid "$uid" --regid "$gid" --clear-groups test -x "$path" && continue
        [ "$path" = "$1" ] || echo "$path"
        return
    done
}

# An empty open directory takes a closed parent's place, and the visible directories are put back into it. They have no
# name once the parent is covered, so they are reached through handles that were opened before.
declare -A handles=()
IFS=: read -ra visible <<<"${VISIBLE:-}"
for dir in "${visible[@]}"; do
    if [ "$uid" != 0 ] && [ -n "$(covered "$dir")" ]; then
        exec {handle}<"$dir"
        handles[$dir]=$handle
    fi
done
for dir in "${!handles[@]}"; do
    mkdir -p "$dir"
    closed=$(covered "$dir")
    [ -z "$closed" ] || mount -t tmpfs -o mode=0755 uncover "$closed"
    mkdir -p "$dir"
    mount --no-canonicalize --bind "/proc/self/fd/${handles[$dir]}" "$dir"
    handle=${handles[$dir]}
    exec {handle}<&-
done

# Desktop and server kernels come with a tun device that everybody may open; bare virtual machines and containers do not.
if [ "$(stat -c %a /dev/net/tun 2>/dev/null)" != 666 ]; then
    mkdir -p /dev/net
    mount -t tmpfs -o mode=0755 net /dev/net
    mknod -m 0666 /dev/net/tun c 10 200
fi

install -d -m 0755 /run/user
install -d -m 0700 -o "$uid" -g "$gid" "$runtime"

# Barriers protect from a power failure, which a test's files need not outlive.
temporary=()
if [ -n "${PLACES:-}" ]; then
    mkdir -p "$PLACES.d"
    mount -o loop,nobarrier,discard "$PLACES" "$PLACES.d"
    chmod 1777 "$PLACES.d"
    temporary=(TMPDIR="$PLACES.d")
fi

cd "$home"
exec setpriv --reuid "$uid" --regid "$gid" --init-groups \
    env -i HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/sh LANG=C.UTF-8 TERM="${TERM:-dumb}" CI="${CI:-}" \
    XDG_RUNTIME_DIR="$runtime" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${temporary[@]}" \
    env "$@"
