"""Texts as people write them: one way of writing them, which language, how many words, wording that includes everybody."""
