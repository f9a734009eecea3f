"""How long the command line and the package take to start. Run: python benchmarks/start.py [--runs 11]

Prints a table of medians, with the ratio to starting Python alone, because the machine's own speed drifts.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

SANMARU = str(Path(sys.executable).with_name("sanmaru"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import sanmaru": [sys.executable, "-c", "import sanmaru"],
    "sanmaru --help": [SANMARU, "--help"],
    "sanmaru --version": [SANMARU, "--version"],
    "sanmaru train --help": [SANMARU, "train", "--help"],
    "sanmaru schema": [SANMARU, "schema"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=11)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, command in COMMANDS.items():  # in turn, so that a slow moment hits all
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["python -c pass"][1:])
    print("| command | median s | largest s | × python |\n| --- | ---: | ---: | ---: |")
    for name, values in seconds.items():
        median = statistics.median(values[1:])
        print(f"| `{name}` | {median:.3f} | {max(values[1:]):.3f} | {median / base:.1f} |")


if __name__ == "__main__":
    main()
