"""A network or a stack made ready for the passes: its layers, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from zcbench.errors import Undefined, first_line
from zcbench.evidence.copies import deep_copied
from zcbench.evidence.layout import Layout, Probe
from zcbench.evidence.records import FreshNetwork
from zcbench.types import Batch, Loss

if TYPE_CHECKING:
    from zcbench.networks.stacked import StackedNetwork


@dataclass(frozen=True)
class Subject:
    """A network that the passes own, with its minibatch.

    Passes leave the weights as they are; only BatchNorm's running statistics move.

    Attributes:
        network: in train mode, no in-place activations, gradients for weights only.
        batch: on the network's device.
        layers: every convolution and linear layer, in order of definition; a weight
            that several share counts once.
        n_params: trainable parameters, counted before anything was frozen.
        seed: for passes that draw their own random numbers.
        plain: whether the network promises to be one that module hooks see whole.
        remarks: record type → what a reader of its scores should know.
    """

    network: nn.Module
    batch: Batch
    layers: tuple[nn.Module, ...]
    n_params: int
    seed: int
    plain: bool = False
    remarks: dict[type, str] = field(default_factory=dict)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Weight tensor of each layer.

        Raises:
            Undefined: there is none.
        """
        if not self.layers:
            raise Undefined("the network has no convolution or linear modules")
        return tuple(layer.weight for layer in self.layers)  # type: ignore[misc]

    @property
    def batchnorms(self) -> tuple[_BatchNorm, ...]:
        """Every BatchNorm layer."""
        return tuple(m for m in self.network.modules() if isinstance(m, _BatchNorm))

    @cached_property
    def _probed(self) -> Probe | Exception:
        device = self.batch.x.device
        if device.type == "mps":  # has no float64
            device = torch.device("cpu")
        try:
            return Probe(self.network, tuple(self.batch.x.shape[1:]), device)
        except Exception as error:  # whatever a network raises; once is enough
            return error

    @property
    def probe(self) -> Probe:
        """What the network is, whatever its weights; raises what the network raises."""
        if isinstance(self._probed, Exception):
            raise self._probed
        return self._probed

    def locate_images(self) -> None:
        """Make `layout` ready, which runs the network."""
        _ = self._probed

    def layout(self, event: int, kind: str) -> Layout:
        """Where the images are in a layer's output or an activation's input.

        Args:
            event: number of the call in a forward.
            kind: ``"layer"``, ``"relu"`` or the name of another activation.

        Raises:
            Undefined: it could not be found out.
        """
        if isinstance(self._probed, Exception):
            why = f"{type(self._probed).__name__}: {first_line(self._probed)}"
            raise Undefined(f"a forward of three images fails: {why}")
        return self._probed.layout(event, kind)

    def check_relus(self) -> None:
        """Raise `Undefined` if a ReLU works where no watch sees it, as in a script."""
        if isinstance(self._probed, Probe) and self._probed.hidden_relus:
            raise Undefined("a ReLU is used in a way that is not seen")

    @contextmanager
    def without_weight_gradients(self) -> Iterator[None]:
        """Forwards whose backward goes to the input alone."""
        wanted = [layer.weight for layer in self.layers if layer.weight.requires_grad]
        for weight in wanted:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in wanted:
                weight.requires_grad_(True)


@dataclass(frozen=True)
class StackedSubject:
    """Many networks at once, with the minibatch that all of them see.

    Attributes:
        network: the stack.
        batch: of the stack's type and on its device.
        seed: for passes that draw random numbers.
    """

    network: StackedNetwork
    batch: Batch
    seed: int
    plain: ClassVar[bool] = True


def make_subject(network: nn.Module, batch: Batch, seed: int) -> Subject:
    """Make a network ready. The network is the caller's to give away: it is changed.

    Images and weights take the memory format of their device (`memory_format`).
    Networks that promise nothing stay contiguous, since their forward may rely on it.

    Raises:
        Undefined: it is, or holds, a script, which nothing can be seen of.
    """
    network = unwrapped(network)
    if any(isinstance(m, torch.jit.ScriptModule) for m in network.modules()):
        raise Undefined("TorchScript cannot be seen: score the module it was made of")
    n_params = sum(p.numel() for p in network.parameters() if p.requires_grad)
    network.train()
    plain = promises_plain(network)
    if not plain:
        _settle_weights(network)
        _settle_batchnorms(network)
        network.register_forward_pre_hook(_own_images, prepend=True)
    layers = layers_of(network)
    network.requires_grad_(False)
    for layer in layers:
        layer.weight.requires_grad_(True)
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            # An in-place ReLU would overwrite the layer output that Fisher reads.
            module.inplace = False  # type: ignore[assignment]
    if plain and batch.x.dim() == 4:
        form = memory_format(batch.x)
        network.to(memory_format=form)  # type: ignore[call-overload]
        batch = replace(batch, x=batch.x.contiguous(memory_format=form))
    return Subject(network, batch, layers, n_params, seed, plain)


def _own_images(_: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
    """Images that a forward may write into: others are to see them as they were."""
    return tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs)


def fresh_network(subject: Subject) -> FreshNetwork:
    """A copy of the network for proxies that want it whole."""
    network = deep_copied(subject.network)
    for parameter in network.parameters():
        if parameter.is_floating_point() or parameter.is_complex():
            parameter.requires_grad_(True)
    batch = subject.batch
    return FreshNetwork(network, batch, LOSSES[batch.loss], subject.seed)


def _squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of outputs [N, K] from y [N, K], or [N] where K is 1."""
    return F.mse_loss(outputs, y.to(outputs.dtype).reshape(outputs.shape))


def _no_loss(*_: Tensor) -> Tensor:
    """Without the rest of the network."""
    raise Undefined("a part of a network has no loss")


LOSSES: Mapping[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "mse": _squared_error,
    "none": _no_loss,
}
"""Name → function of outputs [N, n_classes] and y, see `Batch`."""


def stacked_losses(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of each image in each network, [N, P].

    Args:
        logits: [N, P, n_classes].
        batch: gives the labels.
    """
    n, n_networks, _ = logits.shape
    labels = batch.y.repeat_interleave(n_networks)
    losses = F.cross_entropy(logits.flatten(0, 1), labels, reduction="none")
    return losses.reshape(n, n_networks)


def summing_dtype(device: torch.device) -> torch.dtype:
    """float64 for sums over much, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def check_labels(outputs: Tensor, batch: Batch) -> None:
    """Make sure that a loss of these outputs says something.

    Raises:
        Undefined: the labels do not fit the logits, there is one logit, whose
            cross-entropy is 0 whatever it is, or no loss.
    """
    n_outputs = outputs.shape[1]
    if batch.loss == "mse":
        wanted = 1 if batch.y.dim() == 1 else batch.y.shape[1]
        if n_outputs != wanted:
            word = "output" if wanted == 1 else "outputs"
            raise Undefined(
                f"a regression has {wanted} {word}, the network {n_outputs}"
            )
        return
    if batch.loss == "none":
        _no_loss()
    if n_outputs < 2:
        raise Undefined("the cross-entropy of one logit is 0 whatever the network")
    low, high = int(batch.y.min()), int(batch.y.max())
    if low < 0 or high >= n_outputs:
        wrong = low if low < 0 else high
        raise Undefined(f"label {wrong} does not fit the network's {n_outputs} logits")


def memory_format(tensor: Tensor) -> torch.memory_format:
    """Channels-last for maps and kernels on a CPU, which convolutions run fastest on.

    It changes the order of summation, so scores carry the usual last-digit differences
    from a contiguous network. On CUDA it must not be used: there the backward of
    average pooling that leaves the padding out is wrong in it, through cuDNN.
    """
    on_cpu = tensor.device.type == "cpu" and tensor.dim() == 4
    return torch.channels_last if on_cpu else torch.contiguous_format


def promises_plain(network: nn.Module) -> bool:
    """Whether a network says that module hooks see all of it.

    It does so by a true attribute ``plain_layers`` (or ``linear_outside_layers``): its
    layers and ReLUs are used by calling their modules, BatchNorm is PyTorch's own, the
    images are the first axis and channels where PyTorch's modules have them. A ReLU
    with a ``multiplicity`` is made for module hooks, too. Two layers with one weight
    break it, as hooks are on one of them.
    """
    names = ("linear_outside_layers", "plain_layers")
    promised = any(getattr(network, name, False) for name in names) or any(
        isinstance(module, nn.ReLU) and hasattr(module, "multiplicity")
        for module in network.modules()
    )
    return promised and len(layers_of(network)) == len(_weighted(network))


def layers_of(network: nn.Module) -> tuple[nn.Module, ...]:
    """Convolution and linear modules, one for each weight."""
    layers: dict[int, nn.Module] = {}
    for module in _weighted(network):
        layers.setdefault(id(module.weight), module)
    return tuple(layers.values())


def _weighted(network: nn.Module) -> list[nn.Module]:
    return [
        module
        for module in network.modules()
        if isinstance(module, (_ConvNd, nn.Linear))
        and isinstance(module.weight, nn.Parameter)
        and not isinstance(module, nn.modules.lazy.LazyModuleMixin)
    ]


_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module")
"""Attributes of what torch.compile and checkpointing wrap around a module."""


def unwrapped(module: nn.Module) -> nn.Module:
    """The network without torch.compile, data parallelism and checkpoint wrappers."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, parallel):
            module = module.module
            continue
        if isinstance(module, torch.jit.ScriptModule):
            return module
        inner = [module._modules.get(name) for name in _WRAPPERS]
        inner = [m for m in inner if isinstance(m, nn.Module)]
        if not inner:
            break
        module = inner[0]  # type: ignore[assignment]
    module._compiled_call_impl = None
    for name, child in list(module._modules.items()):
        if child is not None:
            module._modules[name] = unwrapped(child)
    return module


def _settle_weights(network: nn.Module) -> None:
    """Weights that are made from others (spectral norm, pruning) become their own."""
    for module in network.modules():
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                hook(module, None)  # the power iteration of a forward in train mode
                remove_spectral_norm(module, hook.name)
            elif isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]


def _settle_batchnorms(network: nn.Module) -> None:
    """Running statistics with momentum .1 everywhere, for zen; train mode has none."""
    for module in network.modules():
        if not isinstance(module, _BatchNorm):
            continue
        module.momentum = 0.1
        if module.running_var is None:
            like = next(network.parameters())
            module.track_running_stats = True
            module.running_mean = like.new_zeros(module.num_features)
            module.running_var = like.new_ones(module.num_features)
            module.num_batches_tracked = torch.zeros_like(like, dtype=torch.int64).sum()
