# shellcheck shell=bash
# What a checkout cannot hold: odd modes, links between files, archives.
set -eu
ln -s a.txt tree/link
ln -s ../../../../etc/passwd tree/escape
ln -s tree to-tree
chmod 0705 tree/sub
chmod 0604 tree/secret
chmod 4755 tool
ln tool tree/zz-hard
ln tree/a.txt tree/hard
mkdir tree/empty tree/sticky
chmod 1777 tree/sticky
printf '%s' "x" >'tree/with space'
mkdir -p odd
ln -s /elsewhere odd/abs
ln -s ../../../../elsewhere odd/rel
mkdir -p pack/deep/er
echo packed >pack/deep/er/file
ln -s file pack/deep/er/link
tar -C pack --owner=1000 --group=1001 --numeric-owner --sort=name -cf plain.tar deep
gzip -kn plain.tar
mv plain.tar.gz gz-without-its-name
rm -r pack
printf text | gzip -n >no-archive.gz
: >empty
# What is copied over what: a file, a link to a directory, a directory.
mkdir -p pairs/old/dir-dir pairs/old/real pairs/new/dir-dir
for pair in file-file file-link link-file; do echo old >pairs/old/$pair; done
echo old >pairs/old/dir-dir/kept
ln -s real pairs/old/link-link
ln -sf real/target pairs/old/file-link
echo old >pairs/old/real/target
ln -s real pairs/old/dir-link
echo new >pairs/new/file-file
echo new >pairs/new/file-link
ln -s elsewhere pairs/new/link-file
ln -s elsewhere pairs/new/link-link
echo new >pairs/new/dir-dir/added
chmod 0715 pairs/new/dir-dir
# Without ./, whose owner buildah gives to the destination.
tar -C pairs/new --owner=3 --group=4 --numeric-owner --sort=name -cf over.tar dir-dir file-file file-link link-file link-link
mkdir -p ignored/gone
touch ignored/a.go ignored/b.c ignored/gone/e.go
printf '%s\n' '# comment' 'ignored/**' '!ignored/**/*.go' 'ignored/gone' >.dockerignore
