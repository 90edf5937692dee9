"""chat_assistant: from texts, instructions and preferences to an assistant that is aligned and safe, with sessions.

Task: answer what is asked, rightly and politely; refuse what is harmful, with the rule it breaks and what could be asked instead.
Papers: Ouyang et al. 2022 (InstructGPT, arXiv:2203.02155); Schulman et al. 2017 (PPO, arXiv:1707.06347), 2016 (GAE, 1506.02438);
Rafailov et al. 2023 (DPO, arXiv:2305.18290); Touvron et al. 2023 (margin loss: Llama 2, arXiv:2307.09288);
Inan et al. 2023 (Llama Guard, arXiv:2312.06674); Su et al. 2021 (RoPE, arXiv:2104.09864).
Data: texts, conversations and preferences in the usual layouts (engines/language/layouts.py), or the sample world of `world/`.
Metrics: perplexity, reward accuracy by margin, gold reward and win rate over SFT, KL, entropy, safety F1 and over-refusal.
Stages: ingest -> clean -> validate -> tokenizer -> pretrain -> sft -> train_reward -> ppo, dpo; train_safety -> evaluate ->
register.
"""
