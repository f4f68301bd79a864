"""Run many cases in several processes, and report the failures, grouped by kind and origin."""

import argparse
import faulthandler
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
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


class Pool:
    """Runs chunks in processes, and ends them when it is closed."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()

    def run(self, chunk: tuple[str, int, int]) -> list[dict[str, Any]]:
        """Run a chunk, and return its records. A crash is the record of the case that began last."""
        command = [sys.executable, "-m", "tests.fuzz", "--worker", *map(str, chunk)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
        self._running.add(process)
        out, errors = process.communicate()
        self._running.discard(process)
        records, begun = [], None
        for line in map(json.loads, filter(lambda line: line.startswith("{"), out.splitlines())):
            if "begins" in line:
                begun = line["begins"]
            else:
                records.append(line | {"case": begun})
                begun = None
        if process.returncode or begun:
            origin = f"exit code {process.returncode}"
            records.append({"kind": "Crash", "origin": origin, "detail": errors[-3000:], "case": begun})
        return records

    def close(self) -> None:
        """End the processes that are running."""
        for process in list(self._running):
            process.kill()


def run_all(n_examples: int, seed: int, jobs: int, only: str | None) -> int:
    """Run all cases, print progress and failures, and return the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to report what was found until then
    start, records, pending, pool = time.perf_counter(), [], chunks(n_examples, seed, only), Pool()
    executor = ThreadPoolExecutor(jobs)
    try:
        for number, done in enumerate(as_completed([executor.submit(pool.run, chunk) for chunk in pending]), start=1):
            records += done.result()
            n_failures, took = sum("kind" in record for record in records), time.perf_counter() - start
            print(f"{number} of {len(pending)} processes, {n_failures} failures, {took:.0f} s", flush=True)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        pool.close()
        report(records, time.perf_counter() - start)
    return int(any("kind" in record for record in records))


def report(records: list[dict[str, Any]], took: float) -> None:
    """Print the failures, grouped by kind and origin, and a summary line."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        if "kind" in record:
            groups.setdefault((record["kind"], record["origin"]), []).append(record)
    for (kind, origin), failures in sorted(groups.items(), key=lambda group: -len(group[1])):
        shortest = min(failures, key=lambda record: len(record["case"] or ""))
        print(f"\n{len(failures)} x {kind} at {origin}\n{shortest['detail']}")
        print(f"Reproduce: python -m tests.fuzz --case {shlex.quote(shortest['case'] or '')}")
    skipped = sum("skipped" in record for record in records)
    seconds = sorted(record["seconds"] for record in records if "seconds" in record) or [0.0]
    print(
        f"\n{len(records) - skipped:,} cases ({skipped:,} more could not be built), "
        f"{sum(map(len, groups.values()))} failures in {len(groups)} groups, {took:.0f} s; "
        f"median {1000 * seconds[len(seconds) // 2]:.0f} ms, longest {seconds[-1]:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
