"""Writes variants until it is killed: python -m tests.synth.killed DATA OUT."""

import sys

from albu_learned.synth import write_variants
from tests.synth import sets

if __name__ == "__main__":
    write_variants(*sys.argv[1:2], sets.method(), sys.argv[2], 3, threads=1, progress=False)
