"""Training on several devices: this process leads on the first one, and starts a process for each of the others.

The leader does everything that a fit on one device does. A follower is told once what to train, then runs epoch after
epoch as long as the leader wants, adding its gradients to the others'. So curves, checkpoints, the choice of the best
epoch and the moving average are the leader's alone.
"""

from __future__ import annotations

import contextlib
import copy
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import distributed, nn

from sanmaru.errors import UserError
from sanmaru.training.config import TrainConfig
from sanmaru.training.crew import Alone, Crew
from sanmaru.training.epoch import Batches, EpochRunner
from sanmaru.training.optimizers import ParameterGroup, make_optimizer
from sanmaru.training.precision import pick_precision
from sanmaru.training.step import Learner

READY = b"ready\n"
PATIENCE = timedelta(hours=2)
"""How long a device waits for the others, such as for the leader's evaluation."""


class Lent(Protocol):
    """Batches on their way to another process."""

    def open(self, device: torch.device) -> Batches:
        """Make the same batches on a device of this process."""
        ...


@runtime_checkable
class Lendable(Protocol):
    """Batches that another process can have too."""

    def lend(self) -> Lent:
        """Return what makes the same batches in another process; it can be pickled."""
        ...


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a follower is told."""

    network: nn.Module
    """On the CPU."""
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    loss: nn.Module
    train: Lent
    groups: tuple[ParameterGroup, ...] | None
    config: TrainConfig
    seed: int
    epoch: int
    """The first to run."""
    batch_size: int
    threads: int


@dataclass(frozen=True)
class Place:
    """Where one process of a crew stands."""

    rank: int
    size: int
    device: torch.device
    meeting: str
    """Path of a file that does not exist yet, through which the processes find each other."""

    def join(self) -> Crew:
        """Meet the others."""
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self.device)
        distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            init_method=Path(self.meeting).as_uri(),
            rank=self.rank,
            world_size=self.size,
            timeout=PATIENCE,
            device_id=self.device if self.device.index is not None and on_gpu else None,
        )
        return Crew(self.rank, self.size, self.device)


def pick_devices(config: TrainConfig, offered: str = "cpu") -> tuple[torch.device, ...]:
    """Return the devices of a fit, the leader's first.

    Args:
        config: Its `devices` and `device`; anything but `auto` wins over `offered`.
        offered: `FitContext.device`; `auto` takes GPUs where there are some.

    Raises:
        UserError: when there are fewer GPUs than asked for.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    asked = config.devices
    if asked is None:
        name = config.device if config.device != "auto" else offered
        if name == "auto":
            name = "cuda" if there else "cpu"
        return (torch.device(name),)
    if isinstance(asked, int):
        on_gpu = there > 0 and not offered.startswith("cpu")
        names = [f"cuda:{number}" if on_gpu else "cpu" for number in range(asked)]
    else:
        names = list(asked)
    devices = tuple(torch.device(name) for name in names)
    missing = [str(device) for device in devices if device.type == "cuda" and (device.index or 0) >= there]
    if missing:
        raise UserError(
            f"train.devices asks for {', '.join(missing)}, and this machine has {there or 'no'} "
            f"GPU{'' if there == 1 else 's'}. Ask for fewer, or for [cpu, cpu]."
        )
    return devices


@contextlib.contextmanager
def crew_of(devices: Sequence[torch.device], orders: Callable[[], Orders]) -> Iterator[Alone]:
    """Start a follower for every device but the first, and end them with the block.

    Args:
        devices: The leader's first.
        orders: Makes what followers are told; not called for a single device.

    Raises:
        RuntimeError: when a follower ends before it should, with the last line of what it said.
    """
    if len(devices) == 1:
        yield Alone()
        return
    told = pickle.dumps(orders())
    with tempfile.TemporaryDirectory(prefix="sanmaru-") as folder, contextlib.ExitStack() as stack:
        meeting = str(Path(folder) / "meeting")
        logs = [Path(folder) / f"{rank}.log" for rank in range(1, len(devices))]
        processes: list[subprocess.Popen[bytes]] = []
        stack.callback(_end, processes)
        for rank, log in enumerate(logs, start=1):
            place = Place(rank, len(devices), devices[rank], meeting)
            processes.append(_start(place, told, stack.enter_context(log.open("wb"))))
        try:
            for process in processes:
                _wait_until_ready(process)
            crew = Place(0, len(devices), devices[0], meeting).join()
            stack.callback(distributed.destroy_process_group)
            yield crew
        except RuntimeError as error:
            for process, log, device in zip(processes, logs, devices[1:], strict=True):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                if process.poll():
                    said = log.read_text(errors="replace").strip().splitlines()
                    last = said[-1] if said else f"exit status {process.returncode}"
                    raise RuntimeError(f"training on {device} failed: {last}") from error
            raise


def lent(train: Batches) -> Lent:
    """Return batches on their way to another process.

    Raises:
        UserError: when they cannot go there.
    """
    if not isinstance(train, Lendable):
        raise UserError("this model trains on one device at a time. Remove train.devices.")
    return train.lend()


def at_rest(network: nn.Module) -> nn.Module:
    """Return a copy of a network or loss on the CPU, that can be pickled."""
    return copy.deepcopy(network).to("cpu")


def follow(place: Place, orders: Orders) -> None:
    """Train as one of a crew until the leader ends it: the whole life of a follower."""
    torch.set_num_threads(orders.threads)
    crew = place.join()
    config = orders.config
    network = orders.network.to(place.device)
    optimizer = make_optimizer(network, config, orders.groups)
    optimizer.load_state_dict(orders.optimizer)
    precision = pick_precision(config.precision, place.device)
    loss = orders.loss.to(place.device)
    learner = Learner(network, optimizer, loss, precision=precision, clip=config.clip, reduce=crew.reduce)
    if orders.scaler:
        learner.scaler.load_state_dict(orders.scaler)
    train = orders.train.open(place.device)
    runner = EpochRunner(learner, train, config, orders.seed, crew=crew, batch_size=orders.batch_size)
    epoch = orders.epoch
    while crew.go_on(False):
        runner.run(epoch)
        epoch += 1
    distributed.destroy_process_group()


def _start(place: Place, told: bytes, log: Any) -> subprocess.Popen[bytes]:
    # Not `multiprocessing`: its workers may not have children, and it imports the caller's script once more.
    code = "from sanmaru.training.parallel import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps(place))
        process.stdin.write(told)
        process.stdin.close()
    return process


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    # One that died on the way would be waited for where the processes meet.
    assert process.stdout is not None
    with process.stdout as said:
        if said.readline() != READY:
            raise RuntimeError("a process ended before training began")


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        if process.poll() is None:
            process.kill()
            process.wait()


def main() -> None:
    """Run a follower; who it is and what it does stands on its standard input."""
    place, orders = pickle.load(sys.stdin.buffer), pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    sys.stdout = sys.stderr  # the leader reads no further
    follow(place, orders)
