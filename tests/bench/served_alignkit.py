"""The server to measure, as `python -m alignkit.serve` runs it: `python served_alignkit.py HEAD_FOLDER PORT`."""

import sys

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.static import StaticEmbedder
from alignkit.serving.answers import Answerer
from alignkit.serving.server import run, use_one_thread
from alignkit.serving.service import Service

if __name__ == "__main__":
    use_one_thread()
    run(Service(Answerer(AlignedEmbedder.load(sys.argv[1], StaticEmbedder()))), port=int(sys.argv[2]))
