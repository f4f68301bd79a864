"""Fit a network to a Parquet file that does not fit in memory, with ``partial_fit`` and one row group at a time.

The example writes a file with many row groups and then limits the memory of the process to 120 MB more than it already
uses, on systems that support the limit (``RLIMIT_DATA``). The whole table needs almost twice as much memory.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from skreg import RegularizedMLPClassifier

try:
    import resource
except ImportError:  # Windows
    resource = None

MB = 1_000_000
MEMORY_LIMIT = 120 * MB
N_GROUPS, GROUP_ROWS, N_NUMBERS = 100, 10_000, 25
SHOPS = np.array(["Accra", "Bergen", "Cusco", "Delhi"])


def make_rows(seed: int) -> pd.DataFrame:
    """Make rows with missing values, and whether a parcel is late, which is random in a tenth of the rows."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(GROUP_ROWS, N_NUMBERS))
    shop = rng.integers(0, len(SHOPS), GROUP_ROWS)
    late = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] - 0.5 * (shop == 2) > 0
    late ^= rng.random(GROUP_ROWS) < 0.1
    numbers[rng.random(numbers.shape) < 0.01] = np.nan
    frame = pd.DataFrame(numbers, columns=[f"x{j}" for j in range(N_NUMBERS)])
    return frame.assign(shop=pd.Categorical(SHOPS[shop], categories=SHOPS), late=np.where(late, "yes", "no"))


def write_file(path: Path) -> int:
    """Write the file in row groups, and return the size of the table in memory."""
    n_bytes = 0
    schema = pa.Schema.from_pandas(make_rows(0))
    with pq.ParquetWriter(path, schema, use_dictionary=["shop", "late"]) as writer:
        for seed in range(N_GROUPS):
            table = pa.Table.from_pandas(make_rows(seed), schema=schema)
            n_bytes += table.nbytes
            writer.write_table(table)
    return n_bytes


def read_row_groups(path: Path) -> Iterator[pd.DataFrame]:
    """Yield the row groups of the file as data frames."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, use_threads=False).to_pandas()


def limit_memory() -> str:
    """Limit the memory of the process to ``MEMORY_LIMIT`` bytes more than now, if the system supports it."""
    status = Path("/proc/self/status")
    if resource is None or not status.exists():
        return "this system does not support a limit"
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmData")]
    used = int(line.split()[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY_LIMIT, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return f"at most {MEMORY_LIMIT / MB:.0f} MB from here on"


def peak_memory() -> float:
    """Return the peak memory of the process in bytes."""
    if resource is None:
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def split_target(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return the columns and the target."""
    return frame.drop(columns="late"), frame["late"]


def try_to_read(path: Path) -> str:
    """Read the whole file at once, and return the error or the number of rows."""
    try:
        n_rows = len(pq.read_table(path, use_threads=False).to_pandas())
    except (MemoryError, pa.ArrowMemoryError) as error:
        return f"{type(error).__name__}"
    return f"{n_rows:,} rows"


def main() -> None:
    """Write the file, fit a network to it, and print the memory and the accuracy."""
    started = time.perf_counter()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())  # the other pools reserve memory, which counts towards the limit
    classifier = RegularizedMLPClassifier(
        (64, 64), n_members=2, batch_size=1000, learning_rate_init=0.003, ema_decay=0.99, random_state=0
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parcels.parquet"
        n_bytes = write_file(path)
        # read once and fit once, so that all libraries and threads are loaded before the limit is set
        RegularizedMLPClassifier((64, 64), max_iter=1).fit(*split_target(next(read_row_groups(path))[:1000]))
        print(f"Memory: {limit_memory()}")
        before = peak_memory()
        size = path.stat().st_size
        print(f"The file: {N_GROUPS * GROUP_ROWS:,} rows, {size / MB:.0f} MB, as a table {n_bytes / MB:.0f} MB")
        for frame in read_row_groups(path):
            classifier.partial_fit(*split_target(frame), classes=["no", "yes"])
        peak = peak_memory()
        print(f"Peak memory: {peak / MB:.0f} MB, {(peak - before) / MB:.0f} MB more than before")
        X_test, y_test = split_target(make_rows(N_GROUPS))
        baseline, accuracy = y_test.value_counts(normalize=True).max(), classifier.score(X_test, y_test)
        print(f"Accuracy on rows not in the file: {accuracy:.3f}; always the most frequent class: {baseline:.3f}")
        print(f"The whole table at once: {try_to_read(path)}")
    print(f"{classifier.n_iter_} calls of partial_fit. Done in {time.perf_counter() - started:.0f} seconds.")


if __name__ == "__main__":
    main()
