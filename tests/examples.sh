#!/usr/bin/env bash
# Writes every template with `rbuild init`, builds it from Debian's packages (so it needs the network), and runs it: under keep-id, with a
# read-only root and no capabilities, its own files on a tmpfs at /tmp, as an ordinary user with sub-ids. A service is asked over its port.
#
#   tests/examples.sh [TEMPLATE...]   as root or as an ordinary user with sudo; RBUILD_BIN names an rbuild that is there already
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/lib/host.sh
source "$repo/tests/lib/host.sh"
cd "$repo"

ensure_packages uidmap passt mmdebstrap python3 openssl curl git
ensure_test_users
built=${RBUILD_BIN:-}
if [ -z "$built" ]; then
    cargo build --locked --bin rbuild
    built=${CARGO_TARGET_DIR:-$repo/target}/$(host_triple)/debug/rbuild
fi
debian=$("$repo/tests/lib/base-image.sh" debian)
work=$(mktemp -d /var/tmp/rbuild-examples.XXXXXX)
ended() {
    [ -z "${served:-}" ] || as_root kill "$(rbuild_below "$served")" 2>/dev/null || true
    [ -z "${tls:-}" ] || kill "$tls" 2>/dev/null || true
    as_user "$TEST_USER" RBUILD_ROOT="$work/store" "$work/rbuild" unshare rm -rf "$work/store/trees" >/dev/null 2>&1 || true
    as_root rm -rf "$work"
}
trap ended EXIT
chmod 0755 "$work"
as_root install -m 0755 "$built" "$work/rbuild"
as_root install -d -o "$TEST_USER" -m 0700 "$work/store" "$work/projects"

user() { VISIBLE="$debian:$work" as_user "$TEST_USER" -C "$work/projects" RBUILD_ROOT="$work/store" "$@"; }
rbuild() { user "$work/rbuild" "$@"; }

# run NAME ARGUMENT...: the image as the templates' units run it. More options in `options`, volumes in `volumes`.
options=()
run() {
    rbuild run --read-only --cap-drop ALL --tmpfs /tmp:mode=1777 "${options[@]}" "$@"
}

# expect PATTERN COMMAND...: what it prints, on either stream, has the pattern.
expect() {
    local pattern=$1 said
    shift
    said=$("$@" 2>&1) || die "$* ended with $?: $said"
    grep -Eq -- "$pattern" <<<"$said" || die "$* said nothing like $pattern: $said"
    printf '    %s\n' "$(grep -Em1 -- "$pattern" <<<"$said")"
}

# rbuild_below PID: the rbuild that a shell started through as_user.
rbuild_below() {
    local pid=$1
    until [ "$(cat "/proc/$pid/comm")" = rbuild ]; do
        pid=$(pgrep -o -P "$pid")
    done
    echo "$pid"
}

# asked NAME PATTERN: starts the service, asks it over a published port, and ends it with the image's signal.
asked() {
    local name=$1 pattern=$2 port=18080 tries=100
    run --publish "127.0.0.1:$port:8080" --stop-timeout 5 "$name" >"$work/log" 2>&1 &
    served=$!
    until curl -sS -m 5 -o "$work/answer" "http://127.0.0.1:$port/" 2>/dev/null; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! kill -0 $served 2>/dev/null; then
            die "$name does not answer: $(cat "$work/log")"
        fi
        sleep 0.1
    done
    grep -Eq -- "$pattern" "$work/answer" || die "$name answered: $(cat "$work/answer")"
    printf '    answers: %s\n' "$(head -n1 "$work/answer")"
    as_root kill -TERM "$(rbuild_below $served)"
    wait $served || true
    served=
}

check_static-c() { expect 'app 1\.0' run static-c --version && asked static-c hello; }
check_static-rust() { expect 'app 1\.0' run static-rust --version && asked static-rust hello; }
check_go() { expect 'app 1\.0' run go --version && asked go hello; }
check_cpp() { expect 'app 1\.0' run cpp --version && asked cpp hello; }
check_python() { expect '[1-9][0-9]+ certificate authorities' run python --version && asked python 'visitor 1$'; }
check_java() {
    # The runtime trusts what the bundle has, not what it came with.
    local count
    count=$(grep -Eo ': [0-9]+ certificates' "$work/log" | grep -Eo '[0-9]+')
    expect "app 1\\.0: $count certificate" run java --version
    asked java hello
    if command -v keytool >/dev/null; then
        rbuild build --quiet -o "$work/projects/java-files" --build-context "docker.io/library/debian:12-slim=oci-layout:$debian" java >/dev/null
        expect "contains $count entries" keytool -list -keystore "$work/projects/java-files/opt/java/lib/security/cacerts" -storepass changeit
    fi
}
check_nginx() {
    asked nginx hello
    expect '"GET / HTTP/1.1" 200' cat "$work/log"
}
check_psql() { expect 'psql \(PostgreSQL\) 15' run psql --version; }

# curl and git speak TLS with a server of ours, whose authority only the image knows.
check_curl() {
    options=(--network host)
    expect 'hello over TLS' run curl -sS "https://localhost:18443/hello"
    # The host's own curl, which does not know the authority, refuses.
    ! curl -sS "https://localhost:18443/hello" 2>/dev/null || die "the server's authority is one of the host's"
    options=()
}
check_git() {
    options=(--network host --tmpfs /home/git:mode=1777)
    expect 'refs/heads/main' run git ls-remote "https://localhost:18443/repo.git"
    options=()
    expect 'OpenSSH_' run --entrypoint /usr/bin/ssh git -V
    expect 'gpg \(GnuPG\)' run --entrypoint /usr/bin/gpg git --version
    # A signed commit: git executes gpg, which starts its agent.
    # shellcheck disable=SC2016 # the container's own variables
    expect 'Good signature from "a@b' run --env HOME=/tmp --entrypoint /usr/bin/sh git -c '
        set -e
        ulimit -c 0; umask 077
        gpg --batch --quiet --passphrase "" --quick-gen-key a@b
        git init -q /tmp/r && cd /tmp/r
        git -c user.name=a -c user.email=a@b -c user.signingkey=a@b commit -q --allow-empty -S -m signed
        git verify-commit HEAD'
}

# serve: a CA, a server certificate, and a server with a page and a repository.
serve() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=rbuild-examples -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$work/key.pem" -out "$work/server.csr" 2>/dev/null
    printf 'subjectAltName=DNS:localhost\n' >"$work/ext"
    openssl x509 -req -in "$work/server.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 -extfile "$work/ext" \
        -out "$work/cert.pem" 2>/dev/null
    mkdir "$work/www"
    echo 'hello over TLS' >"$work/www/hello"
    git init -q -b main "$work/tree"
    git -C "$work/tree" -c user.name=a -c user.email=a@b commit -q --allow-empty -m first
    git clone -q --bare "$work/tree" "$work/www/repo.git"
    git -C "$work/www/repo.git" update-server-info
    python3 - "$work" <<'PYTHON' &
import functools, http.server, ssl, sys
work = sys.argv[1]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=work + "/www")
handler.func.log_message = lambda *_: None
server = http.server.ThreadingHTTPServer(("127.0.0.1", 18443), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(work + "/cert.pem", work + "/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
PYTHON
    tls=$!
}

# example NAME: written, examined, built, run.
example() {
    local name=$1 started=$SECONDS base=debian:12-slim
    say "$name"
    rbuild init "$name" "$name" >/dev/null 2>&1
    rbuild lint "$name"
    local args=(build --progress plain -t "$name")
    case $name in
        static-rust)
            # Debian's cargo stands in for Rust's own image.
            printf 'FROM debian\nRUN apt-get update && apt-get install -y --no-install-recommends cargo gcc libc6-dev\n' |
                rbuild build --user-policy off --quiet -t rust-base --build-context "debian=oci-layout:$debian" -f - . >/dev/null
            args+=(--build-context docker.io/library/rust:1-slim-bookworm=docker-image://rust-base)
            ;;
        curl | git)
            # The example's own line, with the test's authority beside Mozilla's.
            as_root install -o "$TEST_USER" -m 0644 "$work/ca.pem" "$work/projects/$name/ca.pem"
            as_root sed -i 's/^# rbuild:ca-certificates$/& extra=ca.pem/' "$work/projects/$name/Containerfile"
            ;;
    esac
    rbuild "${args[@]}" --build-context "docker.io/library/$base=oci-layout:$debian" "$name" >"$work/log" 2>&1 ||
        { cat "$work/log" && die "$name was not built"; }
    printf '    %s\n' "$(grep '^built ' "$work/log")"
    rbuild test --config "$name/structure-test.yaml" "$name" >"$work/tests" || { cat "$work/tests" && die "$name fails its structure tests"; }
    printf '    %s\n' "$(tail -n1 "$work/tests")"
    "check_$name"
    printf '    %s s\n' $((SECONDS - started))
}

# An ordinary image of Python, which is changed into one from scratch.
distroless() {
    local project=$work/projects/distroless
    say "distroless"
    user mkdir "$project"
    user tee "$project/Containerfile" >/dev/null <<'FILE'
FROM docker.io/library/debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3
WORKDIR /app
COPY app.py .
CMD python3 app.py
FILE
    echo 'import ssl, sqlite3; print(sqlite3.sqlite_version, len(ssl.create_default_context().get_ca_certs()) > 100)' |
        user tee "$project/app.py" >/dev/null
    expect 'both end with 0, and print the same' rbuild distroless --write "$project/Containerfile" -- \
        --build-context "docker.io/library/debian:12-slim=oci-layout:$debian"
    expect 'FROM scratch' cat "$project/Containerfile"
}

templates=("$@")
[ $# -gt 0 ] || mapfile -t templates < <(rbuild init --list | awk '$1 != "ci" { print $1 }')
serve
for name in "${templates[@]}"; do
    example "$name"
done
[ $# -gt 0 ] || distroless
say "${#templates[@]} examples built and run"
