"""Pictures of what a method does. Needs matplotlib, from the extra `cli`."""

from albu_learned.preview.calibration import Bins as Bins
from albu_learned.preview.calibration import calibration_error as calibration_error
from albu_learned.preview.calibration import calibration_plot as calibration_plot
from albu_learned.preview.calibration import draw_calibration as draw_calibration
from albu_learned.preview.calibration import finish_calibration as finish_calibration
from albu_learned.preview.figures import COLOURS as COLOURS
from albu_learned.preview.figures import INK as INK
from albu_learned.preview.figures import MARKERS as MARKERS
from albu_learned.preview.figures import Look as Look
from albu_learned.preview.figures import draw_image as draw_image
from albu_learned.preview.figures import literal as literal
from albu_learned.preview.figures import new_figure as new_figure
from albu_learned.preview.figures import save as save
from albu_learned.preview.figures import tidy as tidy
from albu_learned.preview.generated import COMPARED as COMPARED
from albu_learned.preview.generated import draw_generated as draw_generated
from albu_learned.preview.generated import generated_samples as generated_samples
from albu_learned.preview.generated import some_classes as some_classes
from albu_learned.preview.mixed import Shares as Shares
from albu_learned.preview.mixed import draw_bars as draw_bars
from albu_learned.preview.mixed import draw_mixed as draw_mixed
from albu_learned.preview.mixed import mixed_samples as mixed_samples
from albu_learned.preview.mixed import shares_of as shares_of
from albu_learned.preview.posterior import posterior_plot as posterior_plot
from albu_learned.preview.posterior import posterior_samples as posterior_samples
from albu_learned.preview.samples import samples as samples
from albu_learned.preview.warped import draw_warped as draw_warped
from albu_learned.preview.warped import warped_samples as warped_samples

__all__ = ["COLOURS", "COMPARED", "INK", "MARKERS", "Bins", "Look", "Shares", "calibration_error"]
__all__ += [
    "calibration_plot",
    "draw_bars",
    "draw_calibration",
    "draw_generated",
    "draw_image",
    "draw_mixed",
]
__all__ += ["draw_warped", "finish_calibration", "generated_samples", "literal", "mixed_samples"]
__all__ += ["new_figure", "posterior_plot", "posterior_samples", "samples", "save", "shares_of"]
__all__ += ["some_classes", "tidy", "warped_samples"]
