#!/usr/bin/env python3
"""Makes an OCI image layout directory with one layer from a tar archive on standard input.

Deterministic: the same archive and SOURCE_DATE_EPOCH give the same bytes. The directory appears whole or not at all.
"""

import argparse
import datetime
import gzip
import hashlib
import json
import os
import shutil
import sys
import tempfile

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class HashingWriter:
    """Passes bytes on to a file and hashes them."""

    def __init__(self, file):
        self.file, self.hash, self.size = file, hashlib.sha256(), 0

    def write(self, data):
        self.hash.update(data)
        self.size += len(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()

    @property
    def digest(self):
        return "sha256:" + self.hash.hexdigest()


def write_layer(source, blobs, compress):
    """Returns the layer's descriptor and its diff id."""
    path = os.path.join(blobs, "layer")
    with open(path, "wb") as file:
        blob = HashingWriter(file)
        # No name and no time in the gzip header, so that equal layers are equal blobs.
        packed = gzip.GzipFile("", "wb", 6, blob, mtime=0) if compress else blob
        tar = HashingWriter(packed)
        shutil.copyfileobj(source, tar, 1 << 20)
        if compress:
            packed.close()
    if tar.size == 0:
        sys.exit("tar2oci: no archive on standard input")
    os.rename(path, os.path.join(blobs, blob.digest.removeprefix("sha256:")))
    media_type = LAYER + "+gzip" if compress else LAYER
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}, tar.digest


def write_json(value, media_type, blobs):
    """Stores a JSON document as a blob and returns its descriptor."""
    data = json.dumps(value, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(blobs, digest), "wb") as file:
        file.write(data)
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}


def write_layout(args, out):
    blobs = os.path.join(out, "blobs", "sha256")
    os.makedirs(blobs)
    layer, diff_id = write_layer(sys.stdin.buffer, blobs, args.gzip)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    run = {"Env": args.env, "Cmd": args.cmd, "User": args.user, "WorkingDir": args.workdir}
    config = {
        "created": created,
        "architecture": args.architecture or ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {key: value for key, value in run.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": args.created_by}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": write_json(config, CONFIG, blobs),
        "layers": [layer],
    }
    entry = write_json(manifest, MANIFEST, blobs)
    entry["annotations"] = {"org.opencontainers.image.ref.name": args.tag}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    for name, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
        with open(os.path.join(out, name), "w", encoding="ascii") as file:
            json.dump(value, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", help="the layout to make; must not exist")
    parser.add_argument("--tag", default="latest", help="org.opencontainers.image.ref.name in the index")
    parser.add_argument("--architecture", metavar="ARCH", help="Go's name of it; without, this machine's")
    parser.add_argument("--gzip", action="store_true", help="compress the layer")
    parser.add_argument("--env", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--cmd", action="append", default=[], metavar="WORD")
    parser.add_argument("--user", metavar="UID[:GID]")
    parser.add_argument("--workdir", metavar="PATH")
    parser.add_argument("--created-by", default="tar2oci", help="the text of the history entry")
    args = parser.parse_args()
    if os.path.exists(args.directory):
        sys.exit(f"tar2oci: {args.directory} exists")
    parent = os.path.dirname(os.path.abspath(args.directory))
    scratch = tempfile.mkdtemp(prefix=".tar2oci-", dir=parent)
    try:
        write_layout(args, scratch)
        os.chmod(scratch, 0o755)
        os.rename(scratch, args.directory)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


if __name__ == "__main__":
    main()
