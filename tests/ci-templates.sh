#!/usr/bin/env bash
# Checks what `rbuild init ci` writes against the schemas of GitHub Actions, GitLab and Kubernetes, which come with packages of PyPI (so it
# needs the network). Tekton's has no package: the container settings of its Task are checked as a pod's.
#
#   tests/ci-templates.sh   RBUILD_BIN names an rbuild that is there already
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/lib/host.sh
source "$repo/tests/lib/host.sh"
cd "$repo"

rbuild=${RBUILD_BIN:-}
if [ -z "$rbuild" ]; then
    cargo build --locked --bin rbuild
    rbuild=${CARGO_TARGET_DIR:-$repo/target}/$(host_triple)/debug/rbuild
fi
work=$(mktemp -d /var/tmp/rbuild-ci.XXXXXX)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check check-jsonschema kubernetes-validate
for system in github gitlab kubernetes tekton; do
    "$rbuild" init ci "$system" "$work/files" --image registry.example/team/app:1 >/dev/null
done
cd "$work/files"
check() { "$work/venv/bin/check-jsonschema" "$@"; }
check --builtin-schema vendor.github-workflows .github/workflows/image.yaml
check --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci .gitlab-ci.yml
"$work/venv/bin/python" - <<'PYTHON'
import kubernetes_validate, yaml
version = kubernetes_validate.latest_version()
job = yaml.safe_load(open("rbuild-job.yaml"))
kubernetes_validate.validate(job, version, strict=True)
print(f"ok -- the Job, by the schema of Kubernetes {version}")
task = yaml.safe_load(open("rbuild-task.yaml"))["spec"]
steps = []
for step in task["steps"]:
    own = {**task["stepTemplate"], **step}
    own["resources"] = own.pop("computeResources", {})
    steps.append(own)
pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "task"}, "spec": {"containers": steps, "volumes": task["volumes"]}}
kubernetes_validate.validate(pod, version, strict=True)
print("ok -- the containers of the Task, by the same")
PYTHON
