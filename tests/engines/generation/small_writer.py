"""A byte-level tokenizer and decoder-only networks that have learnt a few sentences, in seconds."""

from functools import cache

import torch

from components.engines.language.bpe import SPECIAL, Vocabulary, train_bpe

SENTENCES = [
    f"{greeting} {name}, {opening} {ending}"
    for greeting in ("Dear", "Hello")
    for name in ("Anna", "André", "Bob")
    for opening in ("thank you for the message.", "thanks for the mail.", "I hope this finds you well.")
    for ending in ("Best regards\nKim", "See you on Monday\nLee")
]


@cache
def tokenizer():
    return train_bpe(iter(SENTENCES), Vocabulary(vocab_size=330), SPECIAL, single="<s> $A", spaced=False, strip=False)


def encode(text):
    return [tokenizer().bos_token_id, *tokenizer()(text, add_special_tokens=False)["input_ids"]]


def network(family):
    """GPT-2, XGLM or Llama, two layers of 32."""
    import transformers

    known = {"vocab_size": len(tokenizer()), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if family == "gpt2":
        size = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**known, **size))
    if family == "xglm":
        size = {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64, "max_position_embeddings": 64}
        return transformers.XGLMForCausalLM(transformers.XGLMConfig(**known, **size))
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**known, **size, max_position_embeddings=64))


@cache
def taught(family, steps=40):
    torch.manual_seed(0)
    made = network(family).eval()  # no dropout
    rows = [[*encode(f" {text}"), 2] for text in SENTENCES]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    labels = ids.masked_fill(ids == 0, -100)
    optimizer = torch.optim.AdamW(made.parameters(), lr=5e-3)
    for _ in range(steps):
        made(input_ids=ids, labels=labels, attention_mask=(ids > 0).long()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return made
