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
