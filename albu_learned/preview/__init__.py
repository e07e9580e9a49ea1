"""Pictures of what a method does. Needs matplotlib, from the extra `cli`."""

from albu_learned.preview.figures import draw_image as draw_image
from albu_learned.preview.figures import literal as literal
from albu_learned.preview.figures import new_figure as new_figure
from albu_learned.preview.figures import save as save
from albu_learned.preview.generated import COMPARED as COMPARED
from albu_learned.preview.generated import draw_generated as draw_generated
from albu_learned.preview.generated import generated_samples as generated_samples
from albu_learned.preview.generated import some_classes as some_classes
from albu_learned.preview.mixed import Shares as Shares
from albu_learned.preview.mixed import draw_bars as draw_bars
from albu_learned.preview.mixed import draw_mixed as draw_mixed
from albu_learned.preview.mixed import mixed_samples as mixed_samples
from albu_learned.preview.mixed import shares_of as shares_of
from albu_learned.preview.samples import samples as samples
from albu_learned.preview.warped import draw_warped as draw_warped
from albu_learned.preview.warped import warped_samples as warped_samples

__all__ = ["COMPARED", "Shares", "draw_bars", "draw_generated", "draw_image", "draw_mixed"]
__all__ += ["draw_warped", "generated_samples", "literal", "mixed_samples", "new_figure", "samples"]
__all__ += ["save", "shares_of", "some_classes", "warped_samples"]
