"""How a supernet is trained and its paths are judged. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the scores of a one-shot column depend on, beside seed and images.

    Attributes:
        steps: forward and backward passes, one path and one batch each.
        batch_size: images in a batch.
        rate: of learning at the start; it falls to 0 along a cosine.
        sampling: one of `zcbench.oneshot.paths.SAMPLINGS`.
        share: of the architectures that `top` keeps.
        guide: the proxy by which `top` and `weighted` choose; empty for the others.
        guide_digest: of the guide's scores.
        channels: of the first stage.
        depth: cells in a stage.
        image_size: height and width that images are reduced to.
        augment: whether training images are shifted and mirrored.
        validation: share of the images that paths are judged by.
        recalibrate: training images from which a path has its statistics of BatchNorm.
    """

    steps: int
    batch_size: int
    rate: float
    sampling: str
    share: float
    guide: str
    guide_digest: str
    channels: int
    depth: int
    image_size: int
    augment: bool
    validation: float
    recalibrate: int
