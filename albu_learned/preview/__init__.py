"""Pictures of what a method does. Needs matplotlib, from the extra `cli`."""

from albu_learned.preview.figures import draw_image as draw_image
from albu_learned.preview.figures import literal as literal
from albu_learned.preview.figures import new_figure as new_figure
from albu_learned.preview.figures import save as save
from albu_learned.preview.mixed import Shares as Shares
from albu_learned.preview.mixed import draw_bars as draw_bars
from albu_learned.preview.mixed import draw_mixed as draw_mixed
from albu_learned.preview.mixed import mixed_samples as mixed_samples
from albu_learned.preview.mixed import shares_of as shares_of
from albu_learned.preview.samples import samples as samples
from albu_learned.preview.warped import draw_warped as draw_warped
from albu_learned.preview.warped import warped_samples as warped_samples

__all__ = ["Shares", "draw_bars", "draw_image", "draw_mixed", "draw_warped", "literal"]
__all__ += ["mixed_samples", "new_figure", "samples", "save", "shares_of", "warped_samples"]
