"""Mixes in Kornia: images in any container, labels and all the rest in ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from kornia.augmentation import MixAugmentationBaseV2
from kornia.augmentation.container.ops import ClassSequentialOps
from kornia.constants import DataKey
from torch import Tensor

from albu_learned import checks
from albu_learned.kinds import Mix
from albu_learned.kornia import parts
from albu_learned.kornia.learned import CONTAINER, Learned, Params, as_labels, check_count
from albu_learned.method import Method
from albu_learned.methods import zeta_mixup


class MixTransform(Learned, MixAugmentationBaseV2):
    """Any mix as an operation of Kornia.

    Args:
        method: the mix, or the folder of its artifact.
        p: probability for each batch. Labels become soft either way.
        keepdim: return (C, H, W) for (C, H, W).
    """

    method: Mix

    def __init__(
        self, method: Method | str | Path, *, p: float = 1.0, keepdim: bool = False
    ) -> None:
        super().__init__(p=1.0, p_batch=checks.between("p", p, "[0, 1]"), keepdim=keepdim)
        self._hold(method, Mix, None)

    def _shares_noise(self) -> bool:
        return False  # one partner for all rows would be no mix

    def mix_labels(self, labels: Any, params: Params | None = None) -> Tensor:
        """(B, K) soft labels of the images mixed last, or of those mixed with the given params.

        For Kornia's own containers, which cannot carry them.
        """
        params = self._params if params is None else params
        if not params:
            raise RuntimeError(
                "`params` must be the params of a mix: none has happened yet. Mix images first."
            )
        labels = as_labels(labels)
        check_count(params, labels=len(labels))
        rows = self.rows(params)
        if len(labels) == 0 or (rows is not None and len(rows) == 0):
            return self.method.soften(labels)
        plan = self.plan_for(params, labels.device)
        return self.method.mix_labels(labels, plan)

    def transform_input(self, input: Tensor, params: Params, flags: Any) -> Tensor:
        # Kornia's own branches on the gate, a tensor, which torch.compile cannot follow.
        mixed = self.apply_transform(self.transform_tensor(input), params, flags)
        return self.transform_output_tensor(mixed, input.shape)

    def apply_transform(self, input: Tensor, params: Params, flags: Any) -> Tensor:
        _refuse_repeated(params)
        changed = self.change(params, parts.images(input)).images
        assert changed is not None
        return changed

    def _validate_data_key(self, key: DataKey) -> None:
        if key != DataKey.INPUT:
            raise NotImplementedError(
                f"A mix in Kornia's own containers takes images only, got {key.name.lower()!r}. "
                + _WHAT_TO_DO
            )


def _refuse_repeated(params: Params) -> None:
    if torch.compiler.is_compiling():  # it cannot follow a number that is kept in a tensor
        return
    if len(params["batch_prob"]) != int(params["forward_input_shape"][0]):
        raise RuntimeError(
            "A mix must see the images it was drawn for, but VideoSequential repeats the draw of "
            "one frame for all. Set same_on_frame=False, or mix outside of it."
        )


class ZetaMixup(MixTransform):
    """zeta-mixup; see `albu_learned.ZetaMixup` for its arguments.

    Example:
        >>> import torch
        >>> mix = ZetaMixup(num_classes=3)
        >>> images = mix(torch.rand(4, 3, 8, 8))
        >>> mix.mix_labels(torch.tensor([0, 1, 2, 0])).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        gamma: float = 2.8,
        top_k: int | None = None,
        num_classes: int | None = None,
        smoothing: float = 0.0,
        min_weight: float = 0.2,
        *,
        p: float = 1.0,
        keepdim: bool = False,
    ) -> None:
        method = zeta_mixup.ZetaMixup(gamma, top_k, num_classes, smoothing, min_weight)
        super().__init__(method, p=p, keepdim=keepdim)


_WHAT_TO_DO = (
    f"Use {CONTAINER}, which mixes labels, boxes, keypoints and float masks too; or leave the key "
    "out and finish the labels with mix_labels(labels)."
)


def _explain_class_key() -> None:
    """Makes Kornia's refusal of class labels say what to do.

    Its containers raise by the type of the operation, before the operation is asked, so there is no
    other place for a message that helps. Only operations of ours are concerned.
    """
    stock = ClassSequentialOps.transform.__func__

    def transform(
        cls: Any, input: Any, module: Any, param: Any, extra_args: dict[str, Any] | None = None
    ) -> Any:
        if any(isinstance(child, MixTransform) for child in module.modules()):
            raise NotImplementedError("Kornia's own containers cannot mix labels. " + _WHAT_TO_DO)
        return stock(cls, input, module, param, extra_args)

    ClassSequentialOps.transform = classmethod(transform)


_explain_class_key()
