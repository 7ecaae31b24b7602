# shellcheck shell=bash
# Twenty trivial RUN steps: uncached without a network, uncached with pasta, and fully cached. Sourced by run.sh.
# The floor is util-linux doing for each step what no builder can do without: namespaces with newuidmap, and an overlay.
# shellcheck disable=SC2154 # bench, base and peers are run.sh's

steps=$bench/steps
mkdir "$steps" "$bench/floor-tree"
{
    echo "FROM base"
    for n in {1..20}; do echo "RUN echo $n >/step-$n"; done
    echo "USER 65532:65532"
} >"$steps/Containerfile"
sed 's,^FROM base,FROM localhost/busybox,' "$steps/Containerfile" >"$steps/Containerfile.peer"
layer=$(python3 -c "import json,sys; b=sys.argv[1]+'/blobs/'; o=lambda d: json.load(open(b+d.replace(':','/')))
print(b+o(json.load(open(sys.argv[1]+'/index.json'))['manifests'][0]['digest'])['layers'][0]['digest'].replace(':','/'))" "$base")
tar -xf "$layer" -C "$bench/floor-tree"

cat >"$steps/floor.sh" <<'FLOOR'
set -e
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    dir=$1/$n
    mkdir -p "$dir/upper" "$dir/work" "$dir/root"
    unshare --user --map-root-user --map-auto --mount --pid --fork --ipc --uts --net sh -c "
        mount -t overlay -o userxattr,volatile,lowerdir=$2,upperdir=$dir/upper,workdir=$dir/work step $dir/root
        exec /usr/sbin/chroot $dir/root /bin/sh -c 'echo $n >/step-$n'"
done
FLOOR

build=("$bench/rbuild" --root "$bench/mine/steps" -f "$steps/Containerfile" --build-context "base=oci-layout:$base" -q)
measure floor.steps-none -n 5 -w 1 sh "$steps/floor.sh" "$bench/floor/steps-{n}" "$bench/floor-tree"
measure rbuild.steps-none -n 10 -w 1 -m "${build[@]}" --no-cache --network none -t steps "$steps"
measure rbuild.steps-pasta -n 10 -w 1 -m "${build[@]}" --no-cache --network pasta -t steps "$steps"
once rbuild "${build[@]}" --network none -t steps "$steps"
measure rbuild.steps-cached -n 20 -w 2 -m "${build[@]}" --network none -t steps "$steps"

load_peer "$base" busybox
build=(buildah build --layers -q -f "$steps/Containerfile.peer" -t steps)
measure peer.steps-none -n 3 "${build[@]}" --no-cache --network none "$steps"
measure peer.steps-pasta -n 2 "${build[@]}" --no-cache --network pasta "$steps"
once peer "${build[@]}" --network none "$steps"
measure peer.steps-cached -n 5 -w 1 "${build[@]}" --network none "$steps"
