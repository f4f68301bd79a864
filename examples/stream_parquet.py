"""Learn from a Parquet file whose table is larger than the memory allowed: ``partial_fit``, a part at a time.

The file is written in row groups, as such files come, and read in row groups. Once the file is written, the process
allows itself 120 MB more than it has, where the system can be told so (``RLIMIT_DATA``). The table takes almost twice
that in memory, and as a data frame more.
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
ALLOWED = 120 * MB
N_GROUPS, GROUP_ROWS, N_NUMBERS = 100, 10_000, 25
SHOPS = np.array(["Accra", "Bergen", "Cusco", "Delhi"])


def make_part(seed: int) -> pd.DataFrame:
    """Rows of a table with holes, and whether a parcel comes late; a tenth of that is chance."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(GROUP_ROWS, N_NUMBERS))
    shop = rng.integers(0, len(SHOPS), GROUP_ROWS)
    late = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] - 0.5 * (shop == 2) > 0
    late ^= rng.random(GROUP_ROWS) < 0.1
    numbers[rng.random(numbers.shape) < 0.01] = np.nan
    part = pd.DataFrame(numbers, columns=[f"x{j}" for j in range(N_NUMBERS)])
    return part.assign(shop=pd.Categorical(SHOPS[shop], categories=SHOPS), late=np.where(late, "yes", "no"))


def write(path: Path) -> int:
    """Write the file part by part, and give the bytes that the table has in memory."""
    in_memory = 0
    schema = pa.Schema.from_pandas(make_part(0))
    with pq.ParquetWriter(path, schema, use_dictionary=["shop", "late"]) as writer:
        for seed in range(N_GROUPS):
            table = pa.Table.from_pandas(make_part(seed), schema=schema)
            in_memory += table.nbytes
            writer.write_table(table)
    return in_memory


def parts_of(path: Path) -> Iterator[pd.DataFrame]:
    """The file's row groups, one after the other."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, use_threads=False).to_pandas()


def limit_memory() -> str:
    """Allow the process ``ALLOWED`` bytes more than it has, where the system can be told so."""
    data = Path("/proc/self/status")
    if resource is None or not data.exists():
        return "this system sets no limit"
    (line,) = [line for line in data.read_text().splitlines() if line.startswith("VmData")]
    used = int(line.split()[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + ALLOWED, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return f"at most {ALLOWED / MB:.0f} MB from here on"


def peak_memory() -> float:
    """Most bytes that the process has had."""
    if resource is None:
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def split(part: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Columns and target."""
    return part.drop(columns="late"), part["late"]


def try_to_read(path: Path) -> str:
    """What happens to who reads it whole."""
    try:
        n_rows = len(pq.read_table(path, use_threads=False).to_pandas())
    except (MemoryError, pa.ArrowMemoryError) as error:
        return f"{type(error).__name__}"
    return f"{n_rows:,} rows, read"


def main() -> None:
    """Write the file, learn from it, and print what it took."""
    began = time.perf_counter()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())  # the other pools keep memory in reserve, beside the limit
    classifier = RegularizedMLPClassifier(
        (64, 64), n_members=2, batch_size=1000, learning_rate_init=0.003, ema_decay=0.99, random_state=0
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parcels.parquet"
        in_memory = write(path)
        # one part read and one fit: every library and thread has started before the limit is set
        RegularizedMLPClassifier((64, 64), max_iter=1).fit(*split(next(parts_of(path))[:1000]))
        print(f"Memory: {limit_memory()}")
        before = peak_memory()
        size = path.stat().st_size
        print(f"The file: {N_GROUPS * GROUP_ROWS:,} rows, {size / MB:.0f} MB, as a table {in_memory / MB:.0f} MB")
        for part in parts_of(path):
            classifier.partial_fit(*split(part), classes=["no", "yes"])
        peak = peak_memory()
        print(f"Peak memory: {peak / MB:.0f} MB, {(peak - before) / MB:.0f} MB more than before")
        X_test, y_test = split(make_part(N_GROUPS))
        baseline, accuracy = y_test.value_counts(normalize=True).max(), classifier.score(X_test, y_test)
        print(f"Accuracy on rows not in the file: {accuracy:.3f}; always the commonest class: {baseline:.3f}")
        print(f"The whole table at once: {try_to_read(path)}")
    print(f"{classifier.n_iter_} calls of partial_fit. Done in {time.perf_counter() - began:.0f} seconds.")


if __name__ == "__main__":
    main()
