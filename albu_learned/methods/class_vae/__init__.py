"""Class-wise variational autoencoders: new images of a class."""

from albu_learned.methods.class_vae.method import ClassVAE as ClassVAE

__all__ = ["ClassVAE"]
