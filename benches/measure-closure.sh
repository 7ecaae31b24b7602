# shellcheck shell=bash
# What a program with 200 libraries needs, and what all programs of a root with 3,000 ELF files need. Sourced by run.sh.
# The floor is the loader itself, which maps the same libraries to list them.
# shellcheck disable=SC2154 # bench is run.sh's

root=$bench/closure-root
mkdir -p "$root/lib64" "$root/opt/lib" "$root/bin"
loader=$(realpath /lib64/ld-linux-x86-64.so.2)
install -m 0755 "$loader" "$root/lib64/ld-linux-x86-64.so.2"
printf 'void _start(void) {}\n' >"$bench/closure.c"
libraries=()
for n in {1..200}; do
    gcc -shared -fPIC -nostdlib -Wl,-soname,"libbench$n.so.1" -o "$root/opt/lib/libbench$n.so.1" "$bench/closure.c"
    libraries+=("$root/opt/lib/libbench$n.so.1")
done
link() { gcc -nostdlib -Wl,--no-as-needed "-Wl,-rpath,\$ORIGIN/../opt/lib" -o "$root/bin/$1" "$bench/closure.c" "${@:2}"; }
link large "${libraries[@]}"
link small "${libraries[@]:0:10}"
for n in {1..2797}; do cp "$root/bin/small" "$root/bin/small-$n"; done
(cd "$root" && find bin opt -type f -printf '/%p\n') >"$bench/closure-programs"

measure floor.closure -n 50 -w 3 "$loader" --list "$root/bin/large"
measure rbuild.closure -n 50 -w 3 -m "$bench/rbuild" closure /bin/large --root "$root"
# shellcheck disable=SC2046 # names without spaces
measure rbuild.closure-root -n 5 -w 1 -m "$bench/rbuild" closure --root "$root" $(cat "$bench/closure-programs")

# What the check of the entry point, which is the default, costs a build: with what it noted before, and without.
check=$bench/check
mkdir -p "$check/bin" "$check/opt"
cp -r "$root/lib64" "$check/"
cp -r "$root/opt/lib" "$check/opt/"
cp "$root/bin/large" "$check/bin/"
printf 'FROM scratch\nCOPY . /\nUSER 65532:65532\nENTRYPOINT ["/bin/large"]\n' >"$check/Containerfile"
build=("$bench/rbuild" --root "$bench/mine/check" -q -t check "$check")
once rbuild "${build[@]}"
measure rbuild.check-off -n 20 -w 2 "${build[@]}" --closure off
measure rbuild.check-noted -n 20 -w 2 "${build[@]}"
measure rbuild.check-first -n 20 -w 2 sh -c "rm -rf $bench/mine/check/cache/starts; exec ${build[*]}"
