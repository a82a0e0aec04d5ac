"""The Kubernetes files as Python objects: of Kustomize as kubectl renders them, of the chart as helm does."""
import json
import os
import pathlib
import subprocess

import yaml

from program import SOURCE

KUBERNETES = SOURCE / "deploy" / "kubernetes"
CHART = SOURCE / "deploy" / "helm" / "reembed"
OVERLAYS = sorted(folder.name for folder in (KUBERNETES / "overlays").iterdir())
TOOLS = pathlib.Path(os.environ.get("REEMBED_CACHE") or SOURCE / ".cache") / "deploy-tools"


def render(tool, *words):
    """What helm or kubectl prints. Neither may look for a cluster or a configuration of the person who runs the tests."""
    done = subprocess.run([TOOLS / tool, *words], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"})
    assert done.returncode == 0, f"{tool} {' '.join(map(str, words))}: {done.stderr}"
    return done.stdout


def kustomized(overlay):
    return [each for each in yaml.safe_load_all(render("kubectl", "kustomize", KUBERNETES / "overlays" / overlay)) if each]


def templated(*words, values=None):
    """The chart as release `reembed`; values as a dictionary."""
    more = ["--set-json", ",".join(f"{name}={json.dumps(value)}" for name, value in values.items())] if values else []
    return [each for each in yaml.safe_load_all(render("helm", "template", "reembed", CHART, *more, *words)) if each]


def of_kind(objects, kind):
    return [each for each in objects if each["kind"] == kind]


def the_only(objects, kind):
    [found] = of_kind(objects, kind)
    return found


def job_spec(thing):
    """Of a Job, or of the Jobs that a CronJob makes."""
    return thing["spec"]["jobTemplate"]["spec"] if thing["kind"] == "CronJob" else thing["spec"]


def workloads(objects):
    return [each for each in objects if each["kind"] in ("Deployment", "Job", "CronJob")]


def pod_template(workload):
    return job_spec(workload)["template"]


def container(workload):
    [only] = pod_template(workload)["spec"]["containers"]
    return only


def decided(policy, code, disrupted=False):
    """What a podFailurePolicy makes of a pod that ended with this code: the first rule that fits. -9 is 128 + 9."""
    code = 128 - code if code < 0 else code
    for rule in policy["rules"]:
        if disrupted and any(each["type"] == "DisruptionTarget" for each in rule.get("onPodConditions", [])):
            return rule["action"]
        codes = rule.get("onExitCodes")
        if codes and (code in codes["values"]) == (codes["operator"] == "In") and code != 0:
            return rule["action"]
    return "Succeeded" if code == 0 else "Count"


def source_cronjob():
    """deploy/kubernetes/components/cronjob, as it stands in the tree: no renderer is needed."""
    return yaml.safe_load((KUBERNETES / "components" / "cronjob" / "cronjob.yaml").read_text())
