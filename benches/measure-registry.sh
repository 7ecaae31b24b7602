# shellcheck shell=bash
# An image of 200 MB in four layers to and from Debian's docker-registry on loopback: a fresh push, one of which nothing is new, and a
# pull with unpacking, beside podman's. Sourced by run.sh.
# shellcheck disable=SC2154 # bench is run.sh's

registry_at=127.0.0.1:5987
registry_program=$(unpacked_program docker-registry usr/bin/docker-registry "$bench")
mkdir "$bench/registry" "$bench/large"
cat >"$bench/registry.yml" <<CONFIG
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $bench/registry}}
http: {addr: '$registry_at'}
CONFIG
"$registry_program" serve "$bench/registry.yml" >/dev/null 2>&1 &
registry_pid=$!
trap 'kill "$registry_pid"; as_root rm -rf "$bench"' EXIT
# Text of random digits: it compresses to about three quarters, as programs do at best.
python3 - "$bench/large" <<'PYTHON'
import base64, os, sys
for layer in range(4):
    os.makedirs(f"{sys.argv[1]}/{layer}")
    for number in range(50):
        with open(f"{sys.argv[1]}/{layer}/{number}", "wb") as file:
            file.write(base64.b64encode(os.urandom(750_000)))
PYTHON
printf 'FROM scratch\nCOPY 0 /0\nCOPY 1 /1\nCOPY 2 /2\nCOPY 3 /3\nUSER 65532:65532\n' >"$bench/large/Containerfile"
chmod -R a+rX "$bench/large"
plain=(--insecure-registry "$registry_at")
for round in 0 1 2 3; do
    once rbuild "$bench/rbuild" --root "$bench/mine/push-$round" -q -t large "$bench/large"
done
measure rbuild.push-fresh -n 2 -m "$bench/rbuild" --root "$bench/mine/push-{n}" push "${plain[@]}" large "$registry_at/mine-{n}:1"
measure rbuild.push-again -n 5 -m "$bench/rbuild" --root "$bench/mine/push-0" push "${plain[@]}" large "$registry_at/mine-0:1"
measure rbuild.pull -n 2 -m "$bench/rbuild" --root "$bench/mine/pull-{n}" pull "${plain[@]}" "$registry_at/mine-0:1"
once peer podman build -q -t large "$bench/large"
measure peer.push-fresh -n 1 podman push -q --tls-verify=false large "$registry_at/theirs:1"
measure peer.push-again -n 3 podman push -q --tls-verify=false large "$registry_at/theirs:1"
# Layers that podman knows already are not pulled.
once peer podman rmi -af
measure peer.pull -n 1 podman pull -q --tls-verify=false "$registry_at/mine-0:1"
kill "$registry_pid"
trap 'as_root rm -rf "$bench"' EXIT
