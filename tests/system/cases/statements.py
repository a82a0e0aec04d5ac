"""The server refuses a statement, by each class of SQLSTATE at any statement."""
from cases import case

# What may pass is tried again by the process itself; the others end it, and none is ever a document's fault.
PASSING = ("08006", "40001", "40P01", "55P03", "57014", "57P01", "53300", "25006")
FINAL = ("53200", "XX000", "22P02", "23505", "42501", "42P01", "0A000", "53100", "F0000", "P0001")


def refuse(context, code, codes):
    trial = context.trial(documents=120)
    trial.configure(target={"index": {"method": "hnsw", "m": 4, "ef_construction": 16}},
                    **({"source": {"provider": {"kind": "hashing"}}} if trial.random.random() < 0.3 else {}))
    trial.sample()
    trial.write(pace=0.005)
    first = trial.random.choice((trial.random.randint(1, 30), trial.random.randint(1, 150)))
    every = f"/{trial.random.randint(100, 200)}" if code in PASSING and trial.random.random() < 0.5 else ""
    process = trial.start(fault=f"db.statement=error:{code}@{first}{every}")
    trial.ended(process, codes)
    reached = "fail point db.statement" in process.err
    trial.counts["sqlstates" if reached else "not_reached"] += 1
    if trial.lab.state() == "paused":
        assert code == "53100", f"paused by {code}: {process}"
    trial.finish()


@case("sqlstate-passing", pr=len(PASSING), night=len(PASSING) * 10)
def sqlstate_passing(context):
    code = PASSING[context.number % len(PASSING)]
    # 4: at the very start, before the connection had ever worked
    refuse(context, code, (0, 4))


@case("sqlstate-final", pr=len(FINAL), night=len(FINAL) * 10)
def sqlstate_final(context):
    code = FINAL[context.number % len(FINAL)]
    refuse(context, code, (0, 1, 2, 3, 4, 8))
