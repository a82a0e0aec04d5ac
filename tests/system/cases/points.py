"""Every fail point of the program (base/fail_point.h) with every action: the process dies there, fails there, is held up
there for three leases, is told to stop there, or stands still there while others go on.
"""
import re
import signal
import time

from cases import case
from program import SOURCE

# Where a single trial does not come by, or not without more.
TRUNCATES = {"drainer.truncating"}
SOMETIMES = {"drainer.raised", "writer.settling", "drainer.renewed", "schema.locked", "schema.applied", "schema.committed"}
MANY = {"db.statement": 120, "db.sent": 120, "db.answered": 120, "main.beating": 8, "main.beaten": 8, "main.renewed": 6,
        "reader.read": 4, "reader.handed": 12, "reader.claimed": 4, "reader.cut": 4, "worker.asking": 15, "worker.answered": 15,
        "writer.sending": 6, "writer.sent": 6, "writer.answered": 6, "drainer.listed": 8, "drainer.read": 8, "drainer.embedded": 8,
        "drainer.written": 8, "schema.locked": 7, "schema.applied": 7, "schema.committed": 7, "finisher.claimed": 3}


def names():
    """All that the sources name."""
    found = set()
    for folder in ("coordinator", "db", "worker"):
        for path in sorted((SOURCE / folder).glob("*.c")):
            found |= set(re.findall(r'(?:fail_point|db_fault)\((?:db, )?"([a-z_.]+)"', path.read_text()))
    return sorted(found)


POINTS = names()


def prepare(context, point, beside=False, **how):
    """Documents, an application and a sampler; at least one change is there whose content is the old one (drainer.raised)."""
    trial = context.trial(documents=120, **how)
    trial.configure(target={"index": {"method": "hnsw", "m": 4, "ef_construction": 16}},
                    **({"source": {"provider": {"kind": "hashing"}}} if trial.random.random() < 0.3 else {}))
    if point in TRUNCATES | {"drainer.raised", "writer.settling"} or (beside and not point.startswith(("schema", "prepare"))):
        trial.lab.run(trial.file, "--until", 0.3, code=3)
    return trial


def provoke(trial, point):
    """What brings a process to the rarer points."""
    if point in TRUNCATES:
        trial.database.execute("TRUNCATE docs")
        trial.journal.documents.clear()
        trial.journal.fill(trial.database, 60, first=9000)
    if point == "drainer.raised":
        keys = sorted(trial.journal.documents)[:40]
        hands = trial.lab_application()
        hands._remember(hands.do_back(trial.database.sql, keys))


def rule(trial, point, action, rounds):
    """The first trials of a point meet it the first time, the others a random time."""
    most = MANY.get(point, 1)
    count = 1 if rounds == 0 or most == 1 else trial.random.randint(1, most)
    return f"{point}={action}@{count}" if not (point == "writer.settling") else f"db.half_fenced=error@1/4,{point}={action}@1"


def reached(process, point):
    return f"fail point {point}:" in process.err


def hit(context, point, action, rounds, trial=None):
    """A process with the rule, another one beside it or not, until the first has ended. Returns (trial, process)."""
    beside = context.number % 2 == 1
    trial = prepare(context, point, beside)
    trial.sample(idle=None if action.startswith("delay") else 0.5)
    provoke(trial, point)
    trial.write(pace=0.005)
    process = trial.start(fault=rule(trial, point, action, rounds))
    other = trial.start() if beside else None
    return trial, process, other


def count(trial, process, point, kind):
    trial.counts["fail_points" if reached(process, point) else "not_reached"] += 1
    if reached(process, point):
        trial.counts[f"point {point} {kind}"] += 1


def everywhere(context, number, attempt):
    """Trial `number` of an action: all points, then all again at another time. A time that never came is no trial: then
    once more at the first. attempt(context, point, rounds) tells whether it was reached."""
    point, rounds = POINTS[number % len(POINTS)], number // len(POINTS)
    if not attempt(context, point, rounds) and rounds > 0:
        attempt(context, point, 0)


def every_third(context, offset):
    """The first trials, which are few at the level of CI, take every third point."""
    order = sorted(range(len(POINTS)), key=lambda number: (number - offset) % 3)
    return order[context.number] if context.number < len(order) else context.number


@case("point-kill", pr=len(POINTS), night=5 * len(POINTS))
def point_kill(context):
    everywhere(context, context.number, kill_at)


def kill_at(context, point, rounds):
    trial, process, other = hit(context, point, "kill", rounds)
    code = trial.ended(process, (-9, 0))
    count(trial, process, point, "kill")
    if code == -9:
        trial.died(process, "kills_at_points")
    if other is not None:
        trial.ended(other, (0,))
    trial.finish()
    return reached(process, point)


@case("point-error", pr=len(POINTS), night=5 * len(POINTS))
def point_error(context):
    everywhere(context, context.number, fail_at)


def fail_at(context, point, rounds):
    trial, process, other = hit(context, point, "error:retry" if rounds % 3 == 2 else "error", rounds)
    # 4: the connection was cut before it had ever worked
    trial.ended(process, (0, 1, 3, 4))
    count(trial, process, point, "error")
    if other is not None:
        trial.ended(other, (0, 4))
    trial.finish()
    return reached(process, point)


@case("point-delay", pr=len(POINTS) // 3, night=5 * len(POINTS))
def point_delay(context):
    everywhere(context, every_third(context, 0), delay_at)


def delay_at(context, point, rounds):
    trial, process, other = hit(context, point, "delay:900", rounds)
    trial.ended(process, (0,))
    count(trial, process, point, "delay")
    if other is not None:
        trial.ended(other, (0,))
    trial.finish()
    return reached(process, point)


@case("point-term", pr=len(POINTS) // 3, night=2 * len(POINTS))
def point_term(context):
    everywhere(context, every_third(context, 1), term_at)


def term_at(context, point, rounds):
    trial, process, other = hit(context, point, "term", rounds)
    trial.ended(process, (0, 3))
    count(trial, process, point, "term")
    if other is not None:
        trial.ended(other, (0,))
    elif trial.lab.state() is not None:
        trial.lab.check_nothing_claimed()
    trial.finish()
    return reached(process, point)


@case("zombies", pr=len(POINTS), night=5 * len(POINTS))
def zombies(context):
    """A process stands still at the point for longer than its lease. Documents change, others take its work over and may
    even bring it to its end, and then it wakes up."""
    everywhere(context, context.number, stop_at)


def stop_at(context, point, rounds):
    trial = prepare(context, point)
    trial.sample(idle=None)
    provoke(trial, point)
    if context.number % 3 == 2:
        trial.write(pace=0.01)
    process = trial.start(fault=rule(trial, point, "stop", rounds))
    stopped = trial.stopped(process)
    count(trial, process, point, "stop")
    if stopped:
        how = trial.random.choice(("change", "take over", "take over", "to the end"))
        if trial.application is None:
            trial.change()
        if how != "change":
            take_over(trial, process, how)
            if trial.application is None and trial.random.random() < 0.5:
                trial.change()
        process.send(signal.SIGCONT)
        trial.counts["zombies"] += 1
    trial.ended(process, (0, 1, 3, 4))
    trial.finish()
    return stopped


def take_over(trial, process, how):
    """`to the end` may not be reached while the sleeper holds the schema's or the documents' lock."""
    if how == "take over":
        other = trial.start("--max-runtime", 1.5)
        trial.ended(other, (0, 3, 4, 1))
    else:
        other = trial.start()
        deadline = time.monotonic() + 12
        while other.running and time.monotonic() < deadline:
            time.sleep(0.02)
        if other.running:
            trial.counts["held_up"] += 1

