"""Models with the words of a few texts for a vocabulary: a real one's is read and written in most of a second."""

from alignkit.embedders.base import embed_all


def words_of(texts):
    return sorted({word for text in texts for word in text.split()})


def small_table(texts, folder):
    """A table of token vectors, which are WordLlama's of these words."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    from alignkit.embedders.static import StaticEmbedder
    from alignkit.embedders.table import TableEmbedder

    words = words_of(texts)
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    vectors = embed_all(StaticEmbedder(normalize=False), words)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=vectors)]).save(str(folder))
    return TableEmbedder(folder)


def small_transformer(texts, folder):
    """A transformer with weights drawn at random, as wide as the demo pack's teacher."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder

    parts = folder / "parts"
    parts.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words_of(texts)]
    (parts / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(vocab_file=str(parts / "vocab.txt")).save_pretrained(parts)
    sizes = {"hidden_size": 384, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(parts)
    SentenceTransformer(modules=[Transformer(str(parts)), Pooling(384)], device="cpu").save(str(folder / "whole"))
    return SentenceTransformerEmbedder(str(folder / "whole"), normalize=True)
