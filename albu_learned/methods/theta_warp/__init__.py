"""Warps whose transformations are learned from the data."""

from albu_learned.methods.theta_warp.align import AlignReport as AlignReport
from albu_learned.methods.theta_warp.align import align as align
from albu_learned.methods.theta_warp.method import ThetaWarp as ThetaWarp

__all__ = ["AlignReport", "ThetaWarp", "align"]
