"""deploy/: what Kubernetes would take, strictly by its schemas and without a cluster; that the parts fit together and fit
the program; the container file and the compose file."""
import copy
import platform
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml
from manifests import (CHART, KUBERNETES, OVERLAYS, TOOLS, container, decided, job_spec, kustomized, of_kind, pod_template,
                       templated, the_only, workloads)

from program import BINARY, SOURCE, clean_environment

# podFailurePolicy is for everybody since 1.31; the newest that the validator knows.
VERSIONS = ("1.31", "1.37")
NOT_OF_THE_CLUSTER = "host=/nonexistent"
MIGRATION = {"id": "m1", "collection": "docs", "documents": {"table": "docs", "id": "id", "content": "body"},
             "source": None, "target": {"model": "h", "dimensions": 8, "provider": {"kind": "hashing"}}}
MODES = {"worker": {}, "job": {}, "parallel-job": {}, "cronjob": {},
         "none": {"serve": {"enabled": True, "allowControl": True}}}

needs_tools = pytest.mark.skipif(platform.machine() != "x86_64" or not (TOOLS / "helm").exists(),
                                 reason="helm and kubectl are not there (scripts/fetch-deploy-tools, x86-64 only)")
needs_hadolint = pytest.mark.skipif(not (TOOLS / "hadolint").exists(),
                                    reason="hadolint is not there (scripts/fetch-deploy-tools, x86-64 only)")


def chart(mode, **values):
    return templated(values={"mode": mode, "migration": MIGRATION, **MODES[mode], **values})


@pytest.fixture(scope="module")
def rendered():
    """Everything that is rendered with the settings as they are: {name: objects}."""
    found = {f"kustomize {overlay}": kustomized(overlay) for overlay in OVERLAYS}
    found |= {f"helm {mode}": chart(mode) for mode in MODES}
    found["helm all of it"] = templated(values={
        "mode": "worker", "migration": MIGRATION, "serve": {"enabled": True}, "models": {"existingClaim": "models"},
        "image": {"digest": "sha256:" + "0" * 64}, "imagePullSecrets": [{"name": "registry"}], "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}], "podAnnotations": {"a": "b"}, "podLabels": {"c": "d"},
        "extraArgs": ["--batch-size", "50"], "shutdownGraceSeconds": 50,
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}})
    return found


def every_workload(rendered):
    return [(name, workload) for name, objects in rendered.items() for workload in workloads(objects)]


# --- by the schemas ---

def check(thing):
    """Raises where the object has an unknown key, a wrong type, a value out of range, or is of no known kind."""
    for version in VERSIONS:
        kubernetes_validate.validate(thing, version, strict=True)


@needs_tools
def test_everything_is_strictly_valid(rendered):
    count = 0
    for name, objects in rendered.items():
        assert len(objects) >= 4, name
        for thing in objects:
            check(thing)
            count += 1
    check(yaml.safe_load((KUBERNETES / "secret.example.yaml").read_text()))
    print(f"{count} objects by {' and '.join(VERSIONS)}")


@needs_tools
@pytest.mark.parametrize("spoil", [
    lambda job: job["spec"].update(backofLimit=3),
    lambda job: job["spec"]["template"]["spec"]["containers"][0].update(imagePullPolicies="Always"),
    lambda job: job["spec"].update(backoffLimit="many"),
    lambda job: job["spec"].pop("template"),
    lambda job: job.update(kind="Jobs"),
    lambda job: job.update(apiVersion="batch/v1beta7"),
    lambda job: job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"].pop("operator"),
])
def test_what_is_wrong_is_found(spoil):
    """The check above is worth nothing unless it refuses."""
    job = copy.deepcopy(the_only(kustomized("job"), "Job"))
    check(job)
    spoil(job)
    with pytest.raises((kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)):
        check(job)


@needs_tools
def test_the_chart_is_clean_and_refuses_unknown_and_missing_values():
    lint = subprocess.run([TOOLS / "helm", "lint", "--strict", CHART, "--set", "migration.id=x"], capture_output=True, text=True)
    assert lint.returncode == 0 and "WARNING" not in lint.stdout and "ERROR" not in lint.stdout, lint.stdout + lint.stderr
    for words, said in ((["--set", "migration.id=x", "--set", "replicas=3"], "replicas"),
                        (["--set", "migration.id=x", "--set", "mode=daemon"], "mode"),
                        (["--set", "migration.id=x", "--set", "worker.replicas=two"], "replicas"),
                        (["--set", "migration.id=x", "--set", "mode=cronjob,cronjob.activeDeadlineSeconds=560"], "activeDeadlineSeconds"),
                        ([], "migrationFile")):
        done = subprocess.run([TOOLS / "helm", "template", "x", CHART, *words], capture_output=True, text=True)
        assert done.returncode != 0 and said in done.stderr, (words, done.stderr)


# --- that the parts fit together ---

@needs_tools
def test_selectors_find_the_pods_and_nothing_else(rendered):
    def labels(workload):
        return pod_template(workload)["metadata"]["labels"]

    for name, objects in rendered.items():
        of = {each["metadata"]["name"]: labels(each) for each in workloads(objects)}
        selecting = [(each, each["spec"]["selector"]["matchLabels"]) for each in of_kind(objects, "Deployment")]
        selecting += [(each, each["spec"]["selector"]["matchLabels"]) for each in of_kind(objects, "PodDisruptionBudget")]
        selecting += [(each, each["spec"]["selector"]) for each in of_kind(objects, "Service")]
        for each, selector in selecting:
            found = [pod for pod, has in of.items() if selector.items() <= has.items()]
            assert found == [each["metadata"]["name"]], (name, each["kind"], selector)
        [policy] = of_kind(objects, "NetworkPolicy")
        selector = policy["spec"]["podSelector"]["matchLabels"]
        assert selector and all(selector.items() <= has.items() for has in of.values()), name
        for workload in workloads(objects):
            spread = pod_template(workload)["spec"].get("topologySpreadConstraints", [])
            assert all(each["labelSelector"]["matchLabels"].items() <= labels(workload).items() for each in spread), name


@needs_tools
def test_what_is_referred_to_is_there(rendered):
    """All but the Secret, which is made apart, and a claim that somebody named."""
    for name, objects in rendered.items():
        there = {(each["kind"], each["metadata"]["name"]) for each in objects}
        for workload in workloads(objects):
            spec = pod_template(workload)["spec"]
            assert ("ServiceAccount", spec["serviceAccountName"]) in there, name
            for source in container(workload)["envFrom"]:
                if "configMapRef" in source:
                    assert ("ConfigMap", source["configMapRef"]["name"]) in there, name
                else:
                    assert source["secretRef"]["name"] == "reembed", name
            volumes = {each["name"]: each for each in spec.get("volumes", [])}
            mounts = container(workload).get("volumeMounts", [])
            assert {each["name"] for each in mounts} == set(volumes) and all(each["readOnly"] for each in mounts), name
            for volume in volumes.values():
                if "configMap" in volume:
                    assert ("ConfigMap", volume["configMap"]["name"]) in there, name
                elif "helm" not in name:
                    assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, name
            ports = {port["name"] for port in container(workload).get("ports", [])}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container(workload):
                    assert container(workload)[probe]["httpGet"]["port"] in ports, name
        secrets = [each for each in objects if each["kind"] == "Secret"]
        assert not secrets, f"{name}: secrets are made apart"


@needs_tools
def test_kustomize_and_the_chart_run_the_same_pods(rendered):
    def bare(workload):
        """Without what only a name or a package manager's mark tells apart."""
        spec = copy.deepcopy(pod_template(workload)["spec"])
        spec["containers"][0].pop("imagePullPolicy", None)
        for each in spec.get("topologySpreadConstraints", []):
            each["labelSelector"]["matchLabels"].pop("app.kubernetes.io/instance", None)
        text = yaml.safe_dump(spec, sort_keys=True)
        return re.sub(r"(reembed-(?:migration|environment))-[a-z0-9]{10}", r"\1", text)

    for mode in ("worker", "job", "parallel-job", "cronjob"):
        ours = [each for each in workloads(rendered[f"kustomize {mode}"]) if "serve" not in each["metadata"]["name"]]
        theirs = [each for each in workloads(rendered[f"helm {mode}"])]
        assert len(ours) == len(theirs) == 1
        assert bare(ours[0]) == bare(theirs[0]), mode
        if ours[0]["kind"] != "Deployment":
            ours, theirs = job_spec(ours[0]), job_spec(theirs[0])
            assert {k: v for k, v in ours.items() if k != "template"} == {k: v for k, v in theirs.items() if k != "template"}
    pages = [the_only([each for each in rendered[name] if "serve" in each["metadata"]["name"]], "Deployment")
             for name in ("kustomize worker", "helm none")]
    assert container(pages[1])["args"] == [*container(pages[0])["args"], "--allow-control"]


# --- what a pod may do and how it ends ---

@needs_tools
def test_pods_are_not_root_write_nothing_and_have_what_they_need(rendered):
    for name, workload in every_workload(rendered):
        spec, only = pod_template(workload)["spec"], container(workload)
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] >= 10000, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert only["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                           "capabilities": {"drop": ["ALL"]}}, name
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        assert set(only["resources"]["requests"]) == {"cpu", "memory"} and "memory" in only["resources"]["limits"], name
        grace = int(re.search(r"--shutdown-grace-secs (\d+)", " ".join(only["args"]) + " --shutdown-grace-secs 25")[1])
        assert spec["terminationGracePeriodSeconds"] > grace + 5, name
        assert ("livenessProbe" in only) == ("--listen" in only["args"]), name


@needs_tools
def test_the_exit_codes_are_judged_as_the_manual_says(rendered):
    meant = {0: "Succeeded", 1: "Count", 2: "FailJob", 3: "Ignore", 4: "Count", 5: "FailJob", 6: "FailJob", 7: "FailJob",
             8: "FailJob", 9: "FailJob", -9: "Count", -15: "Count"}
    jobs = 0
    for name, workload in every_workload(rendered):
        if workload["kind"] == "Deployment":
            continue
        jobs += 1
        spec = job_spec(workload)
        assert spec["template"]["spec"]["restartPolicy"] == "Never", name
        assert {code: decided(spec["podFailurePolicy"], code) for code in meant} == meant, name
        assert decided(spec["podFailurePolicy"], 3, disrupted=True) == decided(spec["podFailurePolicy"], 1, disrupted=True) == "Ignore"
        if workload["kind"] == "CronJob":
            args = container(workload)["args"]
            assert {"--once", "--ok-if-more"} < set(args) and workload["spec"]["concurrencyPolicy"] == "Forbid"
            assert spec["activeDeadlineSeconds"] > int(args[args.index("--max-runtime") + 1]) + 25
    assert jobs >= 6
    unit = (SOURCE / "deploy/package/reembed@.service").read_text()
    forbidden = {int(code) for code in re.search(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)[1].split()}
    assert forbidden == {code for code, action in meant.items() if action == "FailJob"}, "systemd goes on in the same cases"


@needs_tools
def test_the_program_takes_these_words_and_files(rendered, tmp_path):
    """Exit 4 is a database that is not there: everything before that was accepted."""
    seen = set()
    for name, objects in rendered.items():
        for workload in workloads(objects):
            words = container(workload)["args"]
            migration = [each["data"]["migration.json"] for each in of_kind(objects, "ConfigMap") if "migration.json" in each["data"]]
            environment = {key: value for each in of_kind(objects, "ConfigMap") for key, value in each["data"].items()
                           if key.startswith("REEMBED_")}
            if migration:
                (tmp_path / "migration.json").write_text(migration[0])
            words = [str(tmp_path / "migration.json") if word == "/etc/reembed/migration.json" else word for word in words]
            words = [word.replace("0.0.0.0:9843", "127.0.0.1:0") for word in words]
            if (tuple(words), *migration) in seen:
                continue
            seen.add((tuple(words), *migration))
            done = subprocess.run([BINARY, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                  env=clean_environment(REEMBED_DATABASE_URL=NOT_OF_THE_CLUSTER, OPENAI_API_KEY="unused",
                                                        REEMBED_SERVE_TOKEN="0123456789abcdef", **environment))
            assert done.returncode == 4, (name, words, done.stderr)
    assert len(seen) >= 6


# --- containers ---

@needs_hadolint
def test_the_container_file_is_clean_by_hadolint(tmp_path):
    def hadolint(file):
        return subprocess.run([TOOLS / "hadolint", "--config", SOURCE / "deploy/docker/hadolint.yaml", file],
                              capture_output=True, text=True)

    done = hadolint(SOURCE / "deploy/docker/Dockerfile")
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp\n")
    assert hadolint(tmp_path / "Dockerfile").returncode == 1


def test_the_container_is_not_root_and_copies_what_the_context_has():
    text = re.sub(r"^#.*\n", "", (SOURCE / "deploy/docker/Dockerfile").read_text(), flags=re.MULTILINE)
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert stages[-1].strip() == "program", "what is built when nobody names a target"
    [program] = [stage for stage in stages if stage.splitlines()[0].endswith("AS program")]
    users = re.findall(r"^USER (.*)$", program, re.MULTILINE)
    assert users == ["10001:10001"] and "--uid 10001" in program
    ignored = (SOURCE / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for copied in re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE):
        assert copied == "." or f"!{copied.split('/')[0]}" in ignored, copied
    for folder in re.search(r"foreach\(folder IN ITEMS ([^)]*)\)", (SOURCE / "CMakeLists.txt").read_text())[1].split():
        if (SOURCE / folder).exists():
            assert f"!{folder.split('/')[0]}" in ignored or folder.startswith("deploy"), f"{folder} is not in the context"


def test_the_compose_file_is_valid_and_its_commands_are():
    path = SOURCE / "docker-compose.yml"
    services = yaml.safe_load(path.read_text())["services"]
    assert services["worker"]["stop_grace_period"] == "40s"
    words = services["worker"]["command"]
    assert (SOURCE / words[1]).is_file() and (SOURCE / services["loader"]["entrypoint"][1]).is_file()
    known = subprocess.run([BINARY, "run", "--help"], capture_output=True, text=True).stdout
    assert all(word in known for word in words if word.startswith("--"))
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed (scripts/install-deps installs it)")
    done = subprocess.run(["docker-compose", "-f", path, "config", "-q"], capture_output=True, text=True, cwd=SOURCE)
    assert done.returncode == 0, done.stderr
