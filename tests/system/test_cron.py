"""What Kubernetes does to the pods of a CronJob, done to processes: passes that overlap, pods that are killed, deadlines
with a grace. The words, the grace and what an exit code means are those of deploy/kubernetes; only times are shorter."""
import collections
import signal

import pytest
from lab import merged
from manifests import container, decided, job_spec, pod_template, source_cronjob
from program import eventually, scaled

BATCH, THREADS = 10, 2
IN_FLIGHT = BATCH * THREADS
# A lease of a process that was killed runs out so soon.
SETTINGS = {"backfill": {"batch_size": BATCH, "max_concurrent": THREADS},
            "database": {"lease_secs": 1, "statement_timeout_secs": 2}}


class CronJob:
    """Starts what the CronJob of deploy/kubernetes would start, and judges what came of it as its Jobs would."""

    def __init__(self, lab, file):
        self.lab, self.file = lab, file
        self.manifest = source_cronjob()
        self.codes = collections.Counter()

    def words(self, max_runtime):
        words = list(container(self.manifest)["args"])
        words[words.index("/etc/reembed/migration.json")] = str(self.file)
        words[words.index("--max-runtime") + 1] = str(max_runtime)
        return words

    def start(self, max_runtime=1, *more, **how):
        return self.lab.start(*self.words(max_runtime), *more, **how)

    def judge(self, process, seconds=60):
        """Succeeded, Ignore (another pod, uncounted), Count (another pod, counted) or FailJob."""
        code = process.wait(seconds)
        self.codes[code] += 1
        return decided(job_spec(self.manifest)["podFailurePolicy"], code)

    def passes_until_completed(self, max_runtime=1, at_once=1, most=60):
        for _ in range(most):
            if self.lab.state() == "completed":
                return
            together = [self.start(max_runtime) for _ in range(at_once)]
            assert [self.judge(process) for process in together] == ["Succeeded"] * at_once, [str(each) for each in together]
        raise AssertionError(f"not completed after {most} passes: {self.lab.progress()}")

    def deadline(self, process, grace):
        """What ends a pod: SIGTERM, and SIGKILL when the grace is over. True if it had to be killed."""
        process.send(signal.SIGTERM)
        try:
            process.popen.wait(grace)
            return False
        except Exception:
            process.kill()
            return True


@pytest.fixture
def setting(lab):
    """Documents, an embeddings server that takes its time, and the CronJob."""
    def make(documents, **server):
        journal = lab.documents(scaled(documents))
        provider = lab.provider(**server)
        return journal, provider, CronJob(lab, lab.file(**merged(lab.http(provider), SETTINGS)))
    return make


def paid_twice(provider):
    """How many texts were paid more than once, but for the one that each start sends as a trial."""
    times = collections.Counter(provider.paid())
    trial = max(times, key=times.get)
    return sum(number - 1 for text, number in times.items() if text != trial)


def test_passes_that_overlap_share_the_work_and_pay_for_nothing_twice(lab, setting):
    """concurrencyPolicy Allow, or a pass of another cluster that nobody knew of: Forbid is thrift, not safety."""
    journal, provider, cron = setting(900, latency_ms=60)
    first = [cron.start(2) for _ in range(3)]
    eventually(lambda: (lab.progress("workers") or 0) >= 3, 20, "three passes at work at the same time")
    assert [cron.judge(process) for process in first] == ["Succeeded"] * 3
    cron.passes_until_completed(2, at_once=2)
    lab.check_completed(journal)
    lab.check_nothing_claimed()
    assert paid_twice(provider) == 0
    assert set(cron.codes) == {0}
    # there is nothing left to do: a pass sees it and ends
    assert cron.judge(cron.start()) == "Succeeded"
    # and what has changed since is applied by the next one
    lab.database.execute("UPDATE docs SET body = 'written between two passes' WHERE id = 1")
    assert cron.judge(cron.start(30)) == "Succeeded"
    lab.check_target(journal.bodies() | {"1": "written between two passes"})


def test_killed_pods_are_tried_again_and_lose_nothing(lab, setting):
    journal, provider, cron = setting(800, latency_ms=40)
    kills = 5
    for _ in range(kills):
        process = cron.start(60)
        seen = lab.processed()
        least = seen + lab.random.randrange(1, 6 * BATCH)
        eventually(lambda: not process.running or lab.processed() >= least, 30, f"{least} documents, after {seen}")
        assert process.running, process
        process.kill()
        assert cron.judge(process) == "Count", "the Job starts another pod"
        assert lab.processed() >= seen, "what was stored stays stored"
    assert lab.state() == "in_progress"
    lab.check_counts()
    cron.passes_until_completed(60)
    lab.check_completed(journal)
    lab.check_nothing_claimed()
    twice = paid_twice(provider)
    print(f"{kills} kills, {twice} texts paid twice")
    assert twice <= kills * IN_FLIGHT
    assert cron.codes[-9] == kills and cron.codes[0] >= 1


def test_at_the_deadline_what_was_paid_is_stored_within_the_grace(lab, setting):
    journal, provider, cron = setting(2000, latency_ms=300)
    spec = pod_template(cron.manifest)["spec"]
    process = cron.start(600)
    eventually(lambda: provider.counters()["in_flight"] == THREADS and lab.processed() > 0, 30, "requests under way")
    assert cron.deadline(process, spec["terminationGracePeriodSeconds"]) is False, "it ends by itself"
    assert cron.judge(process) == "Succeeded", "--ok-if-more: work is left and that is no failure"
    assert provider.counters()["texts"] - 1 == len(lab.target_vectors()) < len(journal.documents)
    lab.check_nothing_claimed()
    # the pod of a Job, which has no --ok-if-more, is replaced and not counted
    words = [word for word in cron.words(600) if word not in ("--ok-if-more", "--once")]
    process = lab.start(*words)
    seen = lab.processed()
    eventually(lambda: lab.processed() > seen, 30, "work")
    assert cron.deadline(process, spec["terminationGracePeriodSeconds"]) is False
    assert process.code == 3 and cron.judge(process) == "Ignore"
    provider.set(latency_ms=0)
    cron.passes_until_completed(60)
    lab.check_completed(journal)
    assert paid_twice(provider) == 0


def test_a_pass_that_hangs_at_the_provider_ends_by_itself_before_it_is_killed(lab, setting):
    journal, provider, cron = setting(300, latency_ms=10)
    process = cron.start(600, "--shutdown-grace-secs", "1")
    eventually(lambda: lab.processed() > 0, 30, "the first documents")
    provider.set(fault={"kind": "hang"})
    eventually(lambda: provider.counters()["in_flight"] == THREADS, 30, "requests that are never answered")
    assert cron.deadline(process, 16) is False, "as long after the grace as in deploy/kubernetes"
    assert cron.judge(process) == "Succeeded"
    lab.check_nothing_claimed()
    provider.set(faults=[])
    cron.passes_until_completed(60)
    lab.check_completed(journal)


def test_a_frozen_pod_is_killed_after_the_grace_and_holds_up_nobody(lab, setting):
    journal, provider, cron = setting(300, latency_ms=20)
    process = cron.start(600)
    eventually(lambda: lab.processed() > 0, 30, "the first documents")
    process.send(signal.SIGSTOP)
    # the next passes are due, and the frozen one is still there: what it holds is free when its lease has run out
    cron.passes_until_completed(60)
    assert cron.deadline(process, 0.2) is True, "a stopped process hears no SIGTERM"
    assert cron.judge(process) == "Count"
    lab.check_completed(journal)
    lab.check_nothing_claimed()
    assert paid_twice(provider) <= IN_FLIGHT


def test_what_a_person_must_mend_fails_the_job_and_what_passes_is_tried_again(lab, setting):
    journal, provider, cron = setting(400, latency_ms=20)
    assert cron.judge(cron.start(url="host=/nonexistent")) == "Count" and cron.codes == {4: 1}
    assert cron.judge(cron.start(0.3)) == "Succeeded"
    lab.call("pause", "m1", "--reason", "a busy hour")
    process = cron.start()
    assert cron.judge(process) == "FailJob" and process.code == 8 and "a busy hour" in process.err
    lab.call("resume", "m1")
    provider.set(key="another")
    process = cron.start(60)
    assert cron.judge(process) == "FailJob" and process.code == 5
    provider.set(key="")
    cron.passes_until_completed(60)
    lab.check_completed(journal)
    lab.call("rollback", "m1")
    process = cron.start()
    assert cron.judge(process) == "FailJob" and process.code == 6
    cron.file.write_text(cron.file.read_text().replace('"batch_size"', '"bach_size"'))
    process = cron.start()
    assert cron.judge(process) == "FailJob" and process.code == 2 and "batch_size" in process.err


def test_the_pods_of_an_indexed_job_end_together_also_the_one_that_was_replaced(lab, setting):
    journal, provider, cron = setting(900, latency_ms=40)
    words = ["run", str(cron.file)]
    pods = [lab.start(*words) for _ in range(4)]
    eventually(lambda: (lab.progress("workers") or 0) >= 4, 20, "four pods at work")
    pods[2].kill()
    assert cron.judge(pods[2]) == "Count"
    pods[2] = lab.start(*words)
    assert [cron.judge(pod) for pod in pods] == ["Succeeded"] * 4, [str(each) for each in pods]
    lab.check_completed(journal)
    lab.check_nothing_claimed()
    assert paid_twice(provider) <= IN_FLIGHT
