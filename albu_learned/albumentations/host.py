"""The only file that knows how the two hosts differ: albumentations 2.0.8 and AlbumentationsX.

AlbumentationsX 2.4 removed the sampling hooks of 2.0.8 and refuses a class that defines them, so
which hook a class gets is decided here, once, by what the installed host has (never by its version
text). In between were releases with a third form; those are refused.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

try:
    import albumentations as A
    from albumentations.core.transforms_interface import BaseTransformInitSchema
    from albumentations.core.type_definitions import ALL_TARGETS
except ModuleNotFoundError as error:
    if error.name != "albumentations":
        raise
    raise ImportError(
        "albu_learned.albumentations needs Albumentations, which is not installed. "
        'Install it with: pip install "albu_learned[albumentations]"'
    ) from error

__all__ = ["FIRES", "A", "BaseTransformInitSchema", "Dual", "ImageOnly", "Single"]

# Rides with the data of one call, so that no state of a call is kept on a transform: hosts share
# transforms between threads.
FIRES = "_albu_learned_fires"


def form(host: Any) -> str:
    """Which sampling hook a host has: "current" (AlbumentationsX >= 2.4.13) or "classic"."""
    if hasattr(host, "SampledParams"):
        return "current"
    base = host.BasicTransform
    if hasattr(base, "get_params_dependent_on_data") and not hasattr(base, "sample_parameters"):
        return "classic"
    _refuse(host)


def _refuse(host: Any) -> NoReturn:
    raise ImportError(
        "albu_learned.albumentations needs albumentations 2.0.8 or albumentationsx >= 2.4.13, "
        f"got {getattr(host, '__version__', 'an unknown version')}, which samples in another way. "
        'Install one with: pip install "albu_learned[albumentations]"'
    )


CURRENT = form(A) == "current"


class _Sampling:
    """Hands the host's sampling hook on to `sample(data, rng)`."""

    def sample(self, data: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        raise NotImplementedError

    if CURRENT:

        def sample_parameters(
            self, params: dict[str, Any], data: dict[str, Any], targets: Any, sampling: Any
        ) -> Any:
            return A.SampledParams(params=self.sample(data, sampling.random_generator))

    else:

        def get_params_dependent_on_data(
            self, params: dict[str, Any], data: dict[str, Any]
        ) -> dict[str, Any]:
            return self.sample(data, self.random_generator)  # type: ignore[attr-defined]


class Dual(_Sampling, A.DualTransform):
    """A transform of the image and of everything that lies on it."""

    _targets = ALL_TARGETS
    _supported_bbox_types = frozenset({"hbb", "obb"})  # AlbumentationsX asks; 2.0.8 has no obb


class ImageOnly(_Sampling, A.ImageOnlyTransform):
    """A transform of pixels alone."""


class Single(_Sampling, A.ImageOnlyTransform):
    """A transform that takes a call's data whole, and is asked even where p does not fire.

    The host's p would skip the transform, but a mix must make labels soft on every call. So p is
    decided here, told to `sample` under the key FIRES, and the host is made to apply always. A
    subclass gives `sample` and `change`.
    """

    p: float

    def change(self, data: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def _fires(self, force_apply: bool, py_random: Any) -> bool:
        return force_apply or self.p >= 1 or py_random.random() < self.p

    if CURRENT:

        def apply_in_invocation(
            self, invocation: Any, /, *args: Any, force_apply: bool, **data: Any
        ) -> Any:
            data[FIRES] = self._fires(force_apply, invocation.py_random)
            result = super().apply_in_invocation(invocation, *args, force_apply=True, **data)
            return {key: value for key, value in result.items() if key != FIRES}

        def apply_with_params(self, sampled_params: Any, *args: Any, **data: Any) -> dict[str, Any]:
            return self.change(data, dict(sampled_params.params))

    else:

        def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> Any:
            data[FIRES] = self._fires(force_apply, self.py_random)
            result = super().__call__(*args, force_apply=True, **data)
            return {key: value for key, value in result.items() if key != FIRES}

        def should_apply(self, force_apply: bool = False) -> bool:
            return True

        def apply_with_params(self, sampled_params: Any, *args: Any, **data: Any) -> dict[str, Any]:
            return self.change(data, sampled_params)
