"""The battery's cases. A case is a function of a Context; each module of this folder registers its own.

    @case("name", pr=1, night=20, release=40)
    def name(context): ...

The three numbers say how many trials of it a level holds; `longest`, how many seconds one may take. Trial number i of a case always has the same choices for the
same seed, whatever else is run beside it.
"""
import dataclasses
import importlib
import pathlib
import random


@dataclasses.dataclass
class Case:
    name: str
    run: object
    trials: dict                        # of each level
    longest: float                      # seconds


CASES = {}


def case(name, pr, night, release=None, longest=240):
    def register(function):
        CASES[name] = Case(name, function, {"pr": pr, "night": night, "release": night * 2 if release is None else release}, longest)
        return function
    return register


class Skipped(Exception):
    """This machine can't: says why."""


class Context:
    """What a trial is made of. `number` counts the trials of one case from 0."""

    def __init__(self, server_url, version, case_name, number, seed):
        self.server_url, self.version = server_url, version
        self.number = number
        # not hash(): it differs from process to process
        self.seed = random.Random(f"{seed}/{case_name}/{number}").randrange(2 ** 31)
        self.name = f"battery_{case_name}_{number}_{self.seed}"
        self.trials = []
        self._closing = []

    def trial(self, server_url=None, **how):
        from trial import Trial
        trial = Trial(server_url or self.server_url, f"{self.name}_{len(self.trials)}", self.seed, **how)
        self.trials.append(trial)
        self._closing.append(trial)
        return trial

    def open(self, thing):
        self._closing.append(thing)
        return thing

    def close(self):
        for thing in reversed(self._closing):
            thing.close()


def load():
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        if path.stem != "__init__":
            importlib.import_module(f"cases.{path.stem}")
    return CASES
