"""Run many cases in several processes, and report the failures, grouped by kind and origin."""

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

EXAMPLES_PER_PROCESS = 500


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="number of cases")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first case")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument("--only", help="name of the only strategy to draw from")
    parser.add_argument("--case", dest="example", help="run a single case, as printed by a failure")
    parser.add_argument("--worker", nargs=3, metavar=("STRATEGY", "CASES", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.example:
        run_one(options.example)
        return 0
    if options.worker:
        name, n_examples, seed = options.worker
        work(name, int(n_examples), int(seed))
        return 0
    return run_all(options.cases, options.seed, options.jobs, options.only)


def evaluate(text: str) -> Any:
    """Return the case that a text describes."""
    from tests.fuzz import examples, laws

    return eval(text, {"nan": float("nan"), "inf": float("inf"), **vars(examples), **vars(laws)})


def run_one(text: str) -> None:
    """Run the case that a text describes."""
    from tests.fuzz.strategies import run_example

    run_example(evaluate(text))
    print("The case satisfies all laws.")


def work(name: str, n_examples: int, seed: int) -> None:
    """Run cases in this process, and write one line of JSON for each."""
    from hypothesis.errors import UnsatisfiedAssumption

    from tests.fuzz import strategies
    from tests.fuzz.checks import SECONDS, Failure, origin_of, trace

    out = os.fdopen(os.dup(1), "w", buffering=1)

    def run(example: Any) -> None:
        print(json.dumps({"begins": repr(example)}), file=out)
        faulthandler.dump_traceback_later(3 * SECONDS, exit=True)  # for hangs that no exception can end
        start, found = time.perf_counter(), {}
        try:
            strategies.run_example(example)
        except UnsatisfiedAssumption:
            found["skipped"] = True
            raise
        except Failure as failure:
            found |= {"kind": failure.kind, "origin": failure.origin, "detail": failure.detail}
        except Exception as error:
            failure = Failure(f"Fuzzer: {type(error).__name__}", origin_of(error), trace(error))
            found |= {"kind": failure.kind, "origin": failure.origin, "detail": failure.detail}
        finally:
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps(found | {"seconds": time.perf_counter() - start}), file=out)

    strategies.run_examples(name, n_examples, seed, run)


def chunks(n_examples: int, seed: int, only: str | None) -> list[tuple[str, int, int]]:
    """Return strategy, number of cases and seed of each process."""
    from tests.fuzz.strategies import STRATEGIES

    shares = {only: 100} if only else {name: share for name, (_, share) in STRATEGIES.items()}
    found = []
    for name, share in shares.items():
        left = round(n_examples * share / sum(shares.values()))
        while left > 0:
            found.append((name, min(left, EXAMPLES_PER_PROCESS), seed + len(found)))
            left -= EXAMPLES_PER_PROCESS
    return found


def run_process(chunk: tuple[str, int, int]) -> list[dict[str, Any]]:
    """Run a chunk in a process, and return its records. A crash is the record of the case that began last."""
    command = [sys.executable, "-m", "tests.fuzz", "--worker", *map(str, chunk)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    records, begun = [], None
    for line in map(json.loads, filter(lambda line: line.startswith("{"), done.stdout.splitlines())):
        if "begins" in line:
            begun = line["begins"]
        else:
            records.append(line | {"case": begun})
            begun = None
    if done.returncode or begun:
        records.append(
            {"kind": "Crash", "origin": f"exit code {done.returncode}", "detail": done.stderr[-3000:], "case": begun}
        )
    return records


def run_all(n_examples: int, seed: int, jobs: int, only: str | None) -> int:
    """Run all cases, print progress and failures, and return the exit status."""
    start, records, pending = time.perf_counter(), [], chunks(n_examples, seed, only)
    with ThreadPoolExecutor(jobs) as pool:
        for number, found in enumerate(pool.map(run_process, pending), start=1):
            records += found
            n_failures = sum("kind" in record for record in records)
            took = time.perf_counter() - start
            print(f"{number} of {len(pending)} processes, {n_failures} failures, {took:.0f} s", flush=True)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        if "kind" in record:
            groups.setdefault((record["kind"], record["origin"]), []).append(record)
    for (kind, origin), failures in sorted(groups.items(), key=lambda group: -len(group[1])):
        shortest = min(failures, key=lambda record: len(record["case"] or ""))
        print(f"\n{len(failures)} x {kind} at {origin}\n{shortest['detail']}")
        print(f"Reproduce: python -m tests.fuzz --case {json.dumps(shortest['case'])}")
    skipped = sum("skipped" in record for record in records)
    seconds = sorted(record["seconds"] for record in records if "seconds" in record)
    print(
        f"\n{len(records) - skipped:,} cases ({skipped:,} more could not be built), "
        f"{sum(map(len, groups.values()))} failures in {len(groups)} groups, {time.perf_counter() - start:.0f} s; "
        f"median {1000 * seconds[len(seconds) // 2]:.0f} ms, longest {seconds[-1]:.1f} s"
    )
    return int(bool(groups))


if __name__ == "__main__":
    sys.exit(main())
