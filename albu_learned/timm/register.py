"""For `--device-modules albu_learned.timm.register` of timm's train.py, see `patch`."""

from albu_learned.timm.patch import install

install()
