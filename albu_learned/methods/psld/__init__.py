"""Data augmentation as an inverse problem: posterior sampling with latent diffusion models.

Where this departs from what was first meant, and why:

- The default sampler follows FlowDPS in what it costs, one pass through the network and a few
  through the decoder a step, but draws instead of averaging, and makes all noise anew: on Gaussians
  whose posterior is known, steps that keep the noise the network saw do not come nearer to it,
  however many there are.
- Steps down the misfit are conjugate gradients with a line search instead of steps of a set length.
- A reader of text encoders is used once; what is saved holds the encoded text instead.
"""

from albu_learned.methods.psld.diffusion import LatentDiffusion as LatentDiffusion
from albu_learned.methods.psld.method import PSLDInpaint as PSLDInpaint
from albu_learned.methods.psld.pool import PSLDPool as PSLDPool
