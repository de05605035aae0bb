"""The same student and head behind LitServe's OpenAI specification, with its defaults and one worker.

`python served_litserve.py HEAD_FOLDER PORT`
"""

import sys

import litserve

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.static import StaticEmbedder


class Embedding(litserve.LitAPI):
    def setup(self, device):
        self.aligned = AlignedEmbedder.load(self.folder, StaticEmbedder())

    def predict(self, texts):
        return self.aligned.encode([texts] if isinstance(texts, str) else texts)


if __name__ == "__main__":
    api = Embedding(spec=litserve.OpenAIEmbeddingSpec())
    api.folder = sys.argv[1]
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), num_api_servers=1, log_level="warning", generate_client_file=False
    )
