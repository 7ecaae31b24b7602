# shellcheck shell=bash
# Four independent stages that sleep two seconds each, and one that needs them all. Sourced by run.sh.
# shellcheck disable=SC2154 # bench and base are run.sh's

stages=$bench/parallel
mkdir "$stages"
{
    for stage in a b c d; do printf 'FROM base AS %s\nRUN sleep 2 && echo %s >/made\n' $stage $stage; done
    echo "FROM scratch"
    for stage in a b c d; do echo "COPY --from=$stage /made /$stage"; done
    echo "USER 65532:65532"
} >"$stages/Containerfile"
sed 's,^FROM base,FROM localhost/busybox,' "$stages/Containerfile" >"$stages/Containerfile.peer"

measure floor.parallel -n 1 sleep 2
measure rbuild.parallel -n 3 -m "$bench/rbuild" --root "$bench/mine/parallel" -f "$stages/Containerfile" -q -t parallel \
    --build-context "base=oci-layout:$base" --no-cache --network none "$stages"
load_peer "$base" busybox
measure peer.parallel -n 2 buildah build --layers --jobs 4 -q --no-cache --network none -t parallel \
    -f "$stages/Containerfile.peer" "$stages"
