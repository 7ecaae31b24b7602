#!/usr/bin/env python3
"""Reads images with Python's tarfile, which shares no code with rbuild: the oracle of the end-to-end tests and of peers.sh.

    compare.py layers TAR...        the entries of each layer, one line per entry, after a line `== NUMBER`
    compare.py tree LAYOUT[:TAG]    the flattened files of an image in an OCI layout
    compare.py images A[:TAG] B[:TAG]
                                    what differs between two images: files and configuration; exit code 1 when something does

A line is: kind mode uid:gid path, then ` = content` (short text as it is, else size and SHA-256), ` -> target` of a link,
` => target` of a hard link, ` MAJOR:MINOR` of a device, and ` {attribute: value}`. Paths have no leading or trailing slash.
"""

import hashlib
import json
import os
import sys
import tarfile

KINDS = {
    tarfile.REGTYPE: "f",
    tarfile.AREGTYPE: "f",
    tarfile.DIRTYPE: "d",
    tarfile.SYMTYPE: "l",
    tarfile.LNKTYPE: "h",
    tarfile.FIFOTYPE: "p",
    tarfile.CHRTYPE: "c",
    tarfile.BLKTYPE: "b",
    tarfile.GNUTYPE_SPARSE: "f",
}
XATTR = "SCHILY.xattr."


def content_of(data):
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and len(text) <= 80:
        return json.dumps(text)
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def clean(name):
    return name.removeprefix("./").strip("/") or "."


class Entry:
    """One entry, with its content read."""

    def __init__(self, archive, member):
        self.path = clean(member.name)
        self.kind = KINDS.get(member.type, "?")
        self.mode = member.mode & 0o7777
        self.uid, self.gid = member.uid, member.gid
        self.mtime = member.mtime
        self.target = member.linkname
        self.device = (member.devmajor, member.devminor)
        self.content = ""
        if self.kind == "f":
            self.content = content_of(archive.extractfile(member).read())
        # What tarfile decodes as text went in as bytes.
        self.xattrs = {
            key.removeprefix(XATTR): value.encode("utf-8", "surrogateescape").hex()
            for key, value in member.pax_headers.items()
            if key.startswith(XATTR)
        }

    def line(self):
        mode = "0777" if self.kind == "l" else f"{self.mode:04o}"
        text = f"{self.kind} {mode} {self.uid}:{self.gid} {self.path}"
        if self.kind == "f":
            text += f" = {self.content}"
        elif self.kind == "l":
            text += f" -> {self.target}"
        elif self.kind == "h":
            text += f" => {clean(self.target)}"
        elif self.kind in "cb":
            text += f" {self.device[0]}:{self.device[1]}"
        if self.xattrs:
            text += " " + json.dumps(self.xattrs, sort_keys=True)
        return text


def entries(path):
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            yield Entry(archive, member)


def flatten(layers):
    """The files that a container sees, by path."""
    tree = {}

    def drop(path, itself):
        for known in [p for p in tree if p.startswith(path + "/") or (itself and p == path)]:
            del tree[known]

    for layer in layers:
        fresh = {}
        for entry in entries(layer):
            directory, name = os.path.split(entry.path)
            if name == ".wh..wh..opq":
                drop(directory, itself=False)
            elif name.startswith(".wh."):
                drop(os.path.join(directory, name.removeprefix(".wh.")), itself=True)
            else:
                fresh[entry.path] = entry
        for path, entry in fresh.items():
            if entry.kind != "d":
                drop(path, itself=False)
            tree[path] = entry
    # A hard link is its file, and says with which names it is shared.
    for entry in tree.values():
        if entry.kind == "h":
            original = tree.get(clean(entry.target))
            if original:
                entry.kind, entry.content, entry.xattrs = original.kind, original.content, original.xattrs
                entry.mode, entry.uid, entry.gid = original.mode, original.uid, original.gid
    return tree


def blob(layout, digest):
    return os.path.join(layout, "blobs", *digest.split(":", 1))


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def image(name):
    """The configuration and the layer files of an image in an OCI layout."""
    layout, _, tag = name.partition(":")
    found = read_json(os.path.join(layout, "index.json"))["manifests"]
    if tag:
        found = [m for m in found if m.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag]
    manifest = read_json(blob(layout, found[0]["digest"]))
    while "manifests" in manifest:
        manifest = read_json(blob(layout, manifest["manifests"][0]["digest"]))
    config = read_json(blob(layout, manifest["config"]["digest"]))
    return config, [blob(layout, layer["digest"]) for layer in manifest["layers"]]


def comparable(config):
    """What of a configuration has one right value: the times and the wording of the history have none."""
    fields = dict(config.get("config", {}))
    # buildah signs what it makes.
    labels = (fields.get("Labels") or {}).items()
    fields["Labels"] = {key: value for key, value in labels if key != "io.buildah.version"}
    # null, empty and absent mean the same.
    fields = {key: value for key, value in fields.items() if value not in (None, "", [], {}, False)}
    layers = sum(not entry.get("empty_layer") for entry in config.get("history", []))
    fields["(history matches layers)"] = layers == len(config["rootfs"]["diff_ids"])
    fields["(platform)"] = config["os"], config["architecture"]
    return fields


def show_differences(left, right):
    """Prints one line per difference, `-` for the left image and `+` for the right one."""
    same = True
    (left_config, left_layers), (right_config, right_layers) = image(left), image(right)
    one, other = flatten(left_layers), flatten(right_layers)
    for path in sorted(one.keys() | other.keys()):
        lines = [tree[path].line() if path in tree else None for tree in (one, other)]
        if lines[0] != lines[1]:
            same = False
            for sign, line in zip("-+", lines):
                if line:
                    print(sign, line)
    one, other = comparable(left_config), comparable(right_config)
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            same = False
            print("- config", key, json.dumps(one.get(key), sort_keys=True))
            print("+ config", key, json.dumps(other.get(key), sort_keys=True))
    return same


def main(arguments):
    match arguments:
        case ["layers", *tars]:
            for number, path in enumerate(tars):
                print(f"== {number}")
                for entry in entries(path):
                    print(entry.line())
        case ["tree", name]:
            for _, entry in sorted(flatten(image(name)[1]).items()):
                print(entry.line())
        case ["images", left, right]:
            sys.exit(0 if show_differences(left, right) else 1)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    # A name in an archive may be any bytes.
    sys.stdout.reconfigure(errors="surrogateescape")
    main(sys.argv[1:])
