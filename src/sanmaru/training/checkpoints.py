"""Checkpoints: one per epoch, whole or not there, safetensors with a JSON header; nothing is pickled.

<folder>/checkpoint/state.safetensors     network, optimiser state, and everything else as JSON in the header
<folder>/checkpoint/best-00004.safetensors   the network of the best epoch so far, named by the state

The state is renamed into place after the best network it names, and older best networks go last: killed at any
moment, there is always one state whose best network exists.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sanmaru.files import whole


class Checkpoints:
    """The checkpoint of one fit, in its folder.

    Args:
        folder: The fold's folder.
        identity: Plain values that say what is trained on what; a checkpoint of another identity is not continued.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder / "checkpoint"
        self._state = self.folder / "state.safetensors"
        self._identity = json.loads(json.dumps(identity, default=str))

    def save(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        state: dict[str, Any],
        *,
        best: bool,
        average: nn.Module | None = None,
    ) -> None:
        """Write the checkpoint of an epoch.

        Args:
            network: After the epoch.
            optimizer: After the epoch.
            state: Plain values with `epoch` and `best_epoch`.
            best: Whether this epoch is the best so far.
            average: The moving average of the network, which is then what the best epoch keeps.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if best:
            with whole(self._best(state["epoch"])) as beside:
                save_file(_tensors(network if average is None else average), beside)
        tensors = {f"network.{name}": tensor for name, tensor in _tensors(network).items()}
        if average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in _tensors(average).items()}
        content = optimizer.state_dict()
        plain: dict[str, dict[str, Any]] = {}
        for index, slots in content["state"].items():
            for name, value in slots.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{name}"] = value.detach().cpu().contiguous()
                else:
                    plain.setdefault(str(index), {})[name] = value
        header = {"identity": self._identity, "state": state, "groups": content["param_groups"], "plain": plain}
        with whole(self._state) as beside:
            save_file(tensors, beside, metadata={"sanmaru": json.dumps(header)})
        for path in self.folder.glob("best-*.safetensors"):
            if path != self._best(state["best_epoch"]):
                path.unlink(missing_ok=True)

    def finish(self, network: nn.Module, state: dict[str, Any]) -> None:
        """Keep the final network alone: a fit that has ended needs its optimiser no more, which is twice as large."""
        header = {"identity": self._identity, "state": state}
        with whole(self._state) as beside:
            tensors = {f"network.{name}": tensor for name, tensor in _tensors(network).items()}
            save_file(tensors, beside, metadata={"sanmaru": json.dumps(header)})
        for path in self.folder.glob("best-*.safetensors"):
            path.unlink(missing_ok=True)

    def load(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None
    ) -> dict[str, Any] | None:
        """Restore network, optimiser and average; return `state` as it was saved, or None where nothing can go on.

        Of a finished fit, the network is the final one, optimiser and average are left alone.
        """
        if not self._state.is_file():
            return None
        with safe_open(self._state, framework="pt", device="cpu") as file:
            header = json.loads(file.metadata()["sanmaru"])
            if header["identity"] != self._identity:
                return None
            names = list(file.keys())
            own = {name: file.get_tensor(name) for name in names}
        network.load_state_dict({n.removeprefix("network."): t for n, t in own.items() if n.startswith("network.")})
        if average is not None and "groups" in header:
            average.load_state_dict({n.removeprefix("average."): t for n, t in own.items() if n.startswith("average.")})
        if "groups" not in header:
            return dict(header["state"])
        slots: dict[int, dict[str, Any]] = {}
        for name, tensor in own.items():
            if name.startswith("optimizer."):
                _, index, slot = name.split(".", 2)
                slots.setdefault(int(index), {})[slot] = tensor
        for index, values in header["plain"].items():
            slots.setdefault(int(index), {}).update(values)
        optimizer.load_state_dict({"state": slots, "param_groups": header["groups"]})
        _as_parameters(optimizer)
        return dict(header["state"])

    def load_best(self, network: nn.Module, best_epoch: int) -> None:
        """Give the network the weights of the best epoch."""
        with safe_open(self._best(best_epoch), framework="pt", device="cpu") as file:
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch:05d}.safetensors"


def _as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Lay out an optimiser's state in memory as its parameters are: fused steps go through both in storage order."""
    for parameter, slots in optimizer.state.items():
        for name, value in slots.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                slots[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    # Cloned where weights are shared or strided: safetensors wants each tensor contiguous and on its own.
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}
