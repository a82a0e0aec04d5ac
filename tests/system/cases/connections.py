"""What happens to connections: backends are terminated, networks break, servers are restarted, a standby takes over."""
import signal
import time

from axe import Axe
from cases import case
from cases.kills import end
from database import Cluster
from program import eventually
from proxy import FAULTS, Proxy
from standby import Pair

SOURCE_HASHING = {"source": {"provider": {"kind": "hashing"}}}


def fleet_of(trial, count, url=None):
    return [trial.start("--follow", url=url) for _ in range(count)]


def again(trial, fleet, url=None):
    """Replaces those that ended by exit 4, cut before they had ever been connected: only then they may give up."""
    for number, process in enumerate(fleet):
        if not process.running:
            assert process.wait() == 4 and "working" not in process.err, process
            fleet[number] = trial.start("--follow", url=url)


@case("terminations", pr=1, night=6)
def terminations(context):
    trial = context.trial(documents=1200, lease=0.5, **(SOURCE_HASHING if context.number % 2 else {}))
    trial.serve(latency_ms=25)
    trial.sample()
    fleet = fleet_of(trial, 2)
    eventually(lambda: all("working" in process.err for process in fleet), 30, "the processes to work")
    trial.write(pace=0.05)
    like = "%WITH fence%" if context.number % 3 == 2 else "%"
    axe = Axe(trial.url, trial.random, pace=0.04, like=like)
    axe.start()
    deadline = time.monotonic() + 60
    while axe.cut < 60 and time.monotonic() < deadline and (trial.state() != "completed" or axe.cut < 40):
        again(trial, fleet)
        time.sleep(0.05)
    axe.stop()
    trial.counts["terminations"] += axe.cut
    again(trial, fleet)
    end(trial, fleet)


@case("networks", pr=2, night=12)
def networks(context):
    """One process behind a network that breaks, one beside it."""
    trial = context.trial(documents=800, lease=0.5, database={"statement_timeout_secs": 1})
    trial.serve(latency_ms=25)
    socket_path = trial.database.sql.info.host + "/.s.PGSQL.5432"
    proxy = context.open(Proxy(socket_path, context.seed, patience=1.0))
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{trial.database.name}"
    trial.sample(idle=None)
    fleet = [trial.start("--follow", url=url), trial.start("--follow", url=url if context.number % 2 else None)]
    eventually(lambda: "working" in fleet[0].err, 30, "the first process to work")
    trial.write(pace=0.05)
    done, deadline = 0, time.monotonic() + 60
    while done < 20 and time.monotonic() < deadline:
        kind = trial.random.choice(FAULTS)
        if proxy.fault(kind, delay=trial.random.uniform(0.05, 0.6)):
            done += 1
            trial.counts["proxy_faults"] += 1
            trial.counts[f"proxy_{kind}"] += 1
        time.sleep(trial.random.uniform(0.02, 0.4))
        again(trial, fleet, url)
    proxy.mend()
    again(trial, fleet, url)
    trial.wait_completed()
    trial.application.stop()
    for process in fleet:
        trial.terminate(process, within=None)
    trial.finish()


@case("restarts", pr=1, night=10)
def restarts(context):
    cluster = context.open(Cluster(context.version))
    cluster.make_fast()
    trial = context.trial(server_url=cluster.url, documents=700, lease=0.5, **(SOURCE_HASHING if context.number % 2 else {}))
    trial.serve(latency_ms=30)
    trial.sample(outages=True)
    fleet = fleet_of(trial, 2)
    eventually(lambda: all("working" in process.err for process in fleet), 30, "the processes to work")
    trial.write(pace=0.05, outages=True)
    for _ in range(6):
        time.sleep(trial.random.uniform(0.1, 0.8))
        cluster.restart(trial.random.choice(("fast", "immediate", "immediate")))
        trial.counts["restarts"] += 1
        again(trial, fleet)
    trial.database.reconnect()
    eventually(lambda: all(process.running for process in fleet), 5)
    trial.wait_completed()
    trial.application.stop()
    for process in fleet:               # a thread of it may still wait to connect again
        trial.terminate(process, within=None)
    trial.finish()


@case("failovers", pr=1, night=7)
def failovers(context):
    """The primary dies and the standby takes over, which may have missed the last transactions: claims, vectors, even
    documents that were read."""
    pair = context.open(Pair(context.version))
    trial = context.trial(server_url=pair.url(), documents=700, lease=0.5, **(SOURCE_HASHING if context.number % 2 else {}))
    trial.url = pair.url(trial.database.name)
    trial.serve(latency_ms=40)
    trial.sample(outages=True, url=trial.url)
    fleet = fleet_of(trial, 2)
    eventually(lambda: all("working" in process.err for process in fleet), 30, "the processes to work")
    trial.write(pace=0.05, outages=True, url=trial.url)
    lossy = False
    for number in range(3):
        if number:
            pair.renew()
        time.sleep(trial.random.uniform(0.1, 0.6))
        lose = trial.random.uniform(0.1, 0.6) if number % 2 == 0 else 0
        lossy = lossy or bool(lose)
        pair.fail_over(lose)
        trial.sampler.routes.clear()    # the flip itself may be among what was lost
        trial.counts["failovers"] += 1
        trial.counts["lossy_failovers"] += bool(lose)
        again(trial, fleet)
    trial.database.reconnect()
    trial.wait_completed()
    trial.application.stop()
    for process in fleet:
        trial.terminate(process, within=None)
    trial.finish()


LOST_READS = ("drainer.embedded", "writer.sending", "drainer.read", "drainer.listed", "drainer.written")


@case("lost-reads", pr=2, night=10)
def lost_reads(context):
    """A text is read that the next primary never had, and whoever read it stands still until that one has taken over."""
    pair = context.open(Pair(context.version))
    point = LOST_READS[context.number % len(LOST_READS)]
    # nobody else is there, and a lease that has run out still is a fence
    trial = context.trial(server_url=pair.url(), documents=100, lease=6 if point == "writer.sending" else 30)
    trial.url = pair.url(trial.database.name)
    if point == "writer.sending":
        follower = trial.start("--follow", fault=f"reader.claimed=stop@1,{point}=stop@1")
        assert trial.stopped(follower), follower
        pair.cut()                      # the next primary knows the lease, and no word of what is read under it
        trial.change()
        follower.send(signal.SIGCONT)
        eventually(lambda: f"fail point {point}" in follower.err, 30, "the chunk to be read and embedded")
    else:
        trial.settle()
        follower = trial.start("--follow", fault=f"{point}=stop@1")
        eventually(lambda: trial.database.value("SELECT count(*) FROM reembed.drain WHERE owner IS NOT NULL"), 30, "the drainer")
        pair.cut()
        trial.change()
    assert trial.stopped(follower), follower
    pair.fail_over()
    trial.counts["failovers"] += 1
    trial.counts["lossy_failovers"] += 1
    trial.database.reconnect()
    trial.journal.documents = {key: (body, title) for key, body, title in trial.database.rows("SELECT id, body, title FROM docs")}
    trial.sample(outages=True, url=trial.url)
    follower.send(signal.SIGCONT)
    eventually(lambda: "connected to the database again" in follower.err and trial.sampler.looks > 50, 30, "the follower to go on")
    trial.terminate(follower, within=None)
    trial.finish()


@case("lost-ends", pr=2, night=8)
def lost_ends(context):
    """Nothing is left to do for a process, and then the primary dies and with it all that was done. It comes back to it:
    one that was about to complete the migration, one that had completed it, one that found it completed and never had
    anything to do."""
    pair = context.open(Pair(context.version))
    trial = context.trial(server_url=pair.url(), documents=200, lease=0.5)
    trial.url = pair.url(trial.database.name)
    trial.lab.run(trial.configure(), "--until", 0.2, code=3)
    pair.cut()
    if context.number % 2:
        fleet = [trial.start("--follow")]
        eventually(lambda: "completed; changes are followed" in fleet[0].err, 30, "the first process to complete it")
        fleet += fleet_of(trial, 1)
        eventually(lambda: "working" in fleet[1].err, 30, "the second process to follow")
    else:
        fleet = [trial.start("--follow", fault="finisher.completing=stop@1")]
        assert trial.stopped(fleet[0]), fleet[0]
    pair.fail_over()
    trial.counts["failovers"] += 1
    trial.counts["lossy_failovers"] += 1
    trial.database.reconnect()
    trial.sample(outages=True, url=trial.url)
    trial.write(pace=0.05, outages=True, url=trial.url)
    fleet[0].send(signal.SIGCONT)
    # whoever is first may have done all of it again before the other looks
    eventually(lambda: any("beginning anew" in process.err for process in fleet), 30, "a process to begin anew")
    trial.wait_completed()
    trial.application.stop()
    for process in fleet:
        trial.terminate(process, within=None)
    trial.finish()


@case("half-sent", pr=2, night=16)
def half_sent(context):
    """A process stands still when the server has its statement, and the locks that go with it, but not the end of the
    transaction. It must not hold the others up for longer than its lease and the statement timeout."""
    trial = context.trial(documents=120, lease=0.3, database={"statement_timeout_secs": 1})
    trial.sample(idle=None)
    trial.lab.run(trial.file or trial.configure(), "--until", 0.1, code=3)
    sleeper = trial.start(fault=f"db.half_fenced=stop@{trial.random.randint(1, 4)}" if context.number % 2 == 0
                          else f"db.half=stop@{trial.random.randint(8, 60)}")
    if trial.stopped(sleeper):
        trial.counts["half_sent"] += 1
        trial.counts["zombies"] += 1
    began = time.monotonic()
    other = trial.start()
    trial.ended(other, (0,), seconds=20)
    took = time.monotonic() - began
    assert took < 12, f"held up for {took:.1f} s"
    sleeper.send(signal.SIGCONT)
    trial.ended(sleeper, (0, 1, 3, 4))
    trial.finish()
