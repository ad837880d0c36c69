"""The networks of torchvision that come with ImageNet accuracies: 78 well-known ones.

A string is the name that torchvision builds it by, such as ``resnet50``; our index is
its place in the list here, which is in torchvision's order.

Every network was trained by the first recipe of torchvision's authors, and some again
by a later one: these are two tasks. Their accuracies were measured at the network's own
size of images; here all of a task see images of one size.

Weights start as in every space here, not as torchvision starts them: see `initialised`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zcbench.spaces.base import UnlistedSpace
from zcbench.types import Task

if TYPE_CHECKING:
    from torch import nn

_NAMES = """
    alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121
    densenet161 densenet169 densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2
    efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
    efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3
    maxvit_t mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2
    mobilenet_v3_large mobilenet_v3_small regnet_x_16gf regnet_x_1_6gf regnet_x_32gf
    regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf regnet_y_16gf
    regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf
    regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d
    resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0
    shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s
    swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn
    vgg19 vgg19_bn vit_b_16 vit_b_32 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
"""


class Torchvision(UnlistedSpace):
    """Well-known networks on ImageNet; accuracies come with torchvision."""

    name = "torchvision"
    tasks = {
        name: Task(name, (3, 224, 224), 1000) for name in ("imagenet_v1", "imagenet_v2")
    }
    _specs = tuple(_NAMES.split())
    _form = "One looks like resnet50; `zcbench score torchvision:NAME` takes all."

    def _network(self, spec: str, task: Task) -> nn.Module:
        """Raises what torchvision does where a network cannot have such images."""
        from zcbench.networks.loading import build_of_zoo

        side = task.input_shape[1]
        sizes: dict[str, dict[str, Any]] = {
            "vit": {"image_size": side},
            "maxvit": {"input_size": (side, side)},
        }
        settings = sizes.get(spec.partition("_")[0], {})
        network: nn.Module = build_of_zoo(
            "torchvision", spec, task.n_classes, **settings
        )
        return network
