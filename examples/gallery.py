"""Makes the picture at the top of the README: originals above what the method makes of them.

pip install "albu_learned[cli]"
python examples/gallery.py --out examples
"""

import argparse
from pathlib import Path

from albu_learned.demo import draw_gallery


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write")
    print(f"Wrote {draw_gallery(parser.parse_args().out / 'gallery.png')}")


if __name__ == "__main__":
    main()
