"""A chat as a bare script of transformers and peft does it; `chat_start.py` runs it for comparison.

    python benchmarks/_bare_chat.py BASE ADAPTER DTYPE MESSAGE MAX_TOKENS

Loads a base model and an adapter from two folders, and prints a greedy answer to one message. Knows nothing
of ftsdk.
"""

import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

base, adapter, dtype, message, max_tokens = sys.argv[1:]
logging.disable_progress_bar()
tokenizer = AutoTokenizer.from_pretrained(base)
network = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
model = PeftModel.from_pretrained(network, adapter, autocast_adapter_dtype=False).eval()
prompt = tokenizer.apply_chat_template(
    [{"role": "user", "content": message}],
    add_generation_prompt=True,
    return_tensors="pt",
    return_dict=True,
)
with torch.inference_mode():
    output = model.generate(**prompt, max_new_tokens=int(max_tokens), do_sample=False)
print(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
