from __future__ import annotations

import subprocess
import sys


def test_lightgbm_loads_after_it() -> None:
    code = "from sanmaru.openmp import load_openmp; load_openmp(); load_openmp(); import lightgbm"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_the_copy_inside_torch_is_taken_where_the_system_has_none() -> None:
    """The system's copy is hidden by refusing the bare name; the name that torch carries must then be loaded."""
    code = """
import ctypes
real = ctypes.CDLL
def without_system_copy(name, *args, **kwargs):
    if name == "libgomp.so.1":
        raise OSError("libgomp.so.1: cannot open shared object file")
    return real(name, *args, **kwargs)
ctypes.CDLL = without_system_copy
from sanmaru.openmp import load_openmp
load_openmp()
print(any("torch/lib/libgomp.so.1" in line for line in open("/proc/self/maps")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "True"
