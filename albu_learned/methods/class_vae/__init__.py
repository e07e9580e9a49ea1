"""Class-wise variational autoencoders: new images of a class.

Where this departs from what was first meant, and why:

- Networks were meant to be trained for 500 steps on all images. Small dense ones are, and images
  that are held out to ask whether samples help are learned from in the end. What they explain of
  held-out images is best far sooner (with ten images a class after 50 to 100 steps, with fifty
  after 250), but samples of networks that were stopped there are smooth, and made classifiers
  worse. Convolutional networks, whose samples after 500 steps are no better, are still stopped.
- Decoders begin with the mean of their class: else codes that a short training never met come out
  grey, with noise.
- Their divergence has its full weight from the first step on. Where it rises slowly, a training
  that is stopped early has codes that lie outside of the prior, from which samples are drawn.
- The paper's sampler, z ~ U(-1.5, 1.5), is left out: it was matched to codes whose deviation its
  code took for their variance.
"""

from albu_learned.methods.class_vae.method import ClassVAE as ClassVAE

__all__ = ["ClassVAE"]
