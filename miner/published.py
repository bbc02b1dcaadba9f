"""AI Energy Score's published text results, to set a run beside them. Pure.

GPU energy in Wh per 1,000 queries, on NVIDIA H100 80GB, batch 1. Source: the leaderboard Space
AIEnergyScore/Leaderboard on the Hugging Face hub (`data/energy/text_generation.csv` and
`reasoning.csv`, declared Apache-2.0), as of 13 February 2026, read from two public copies that
agree. The rounds differ in method (February 2025: greedy, exactly 10 tokens; December 2025:
sampled, chat template), so each is a group of its own.
"""

from dataclasses import dataclass
from typing import Literal

from protocol.models import SizeClass

TestRound = Literal["v1", "v2"]
"""v1: February 2025, whose method is the workload's; v2: December 2025, another method."""
PUBLISHED_GPU = "NVIDIA H100 80GB"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One row of the leaderboard."""

    model: str
    """Repository on the hub, by its present name."""
    task: Literal["text_generation", "reasoning"]
    effort: str
    """Reasoning effort, where there is one."""
    size_class: SizeClass
    test_round: TestRound
    wh_per_1k_queries: float
    stars: int


_Row = tuple[str, SizeClass, TestRound, float, int]
_TEXT: tuple[_Row, ...] = (
    ("berkeley-nest/Starling-LM-7B-alpha", "A", "v1", 19.011, 2),
    ("distilbert/distilgpt2", "A", "v1", 1.313, 5),
    ("Salesforce/xLAM-7b-r", "A", "v1", 19.17, 2),
    ("openai-community/gpt2", "A", "v1", 2.146, 5),
    ("openai-community/gpt2-xl", "A", "v1", 8.921, 4),
    ("openai-community/gpt2-medium", "A", "v1", 3.956, 5),
    ("openai-community/gpt2-large", "A", "v1", 6.121, 5),
    ("openai-community/openai-gpt", "A", "v1", 2.704, 5),
    ("microsoft/phi-1", "A", "v1", 6.393, 5),
    ("microsoft/phi-1_5", "A", "v1", 6.29, 5),
    ("microsoft/phi-2", "A", "v1", 9.864, 4),
    ("microsoft/phi-4", "A", "v1", 28.741, 1),
    ("CohereLabs/aya-23-8B", "A", "v1", 17.817, 2),
    ("allenai/OLMo-1.7-7B-hf", "A", "v1", 16.831, 3),
    ("allenai/OLMo-1B-hf", "A", "v1", 5.594, 5),
    ("facebook/opt-2.7b", "A", "v1", 8.06, 4),
    ("facebook/opt-125m", "A", "v1", 1.944, 5),
    ("mistralai/Mistral-7B-v0.1", "A", "v1", 19.13, 2),
    ("mistralai/Ministral-8B-Instruct-2410", "A", "v1", 20.875, 2),
    ("tiiuae/falcon-7b", "A", "v1", 15.875, 3),
    ("meta-llama/Meta-Llama-3-8B", "A", "v1", 17.333, 3),
    ("meta-llama/Llama-2-7b-hf", "A", "v1", 16.441, 3),
    ("meta-llama/Llama-3.1-8B", "A", "v1", 17.376, 3),
    ("meta-llama/Llama-2-13b-hf", "A", "v1", 26.102, 1),
    ("HuggingFaceTB/SmolLM2-1.7B-Instruct", "A", "v1", 7.708, 4),
    ("HuggingFaceTB/SmolLM-1.7B", "A", "v1", 7.645, 4),
    ("HuggingFaceTB/SmolLM-135M", "A", "v1", 7.28, 4),
    ("HuggingFaceTB/SmolLM-360M", "A", "v1", 8.095, 4),
    ("google/gemma-2b", "A", "v1", 8.68, 4),
    ("google/gemma-7b", "A", "v1", 18.9, 2),
    ("google/gemma-2-2b-it", "A", "v1", 18.639, 2),
    ("01-ai/Yi-1.5-9B", "A", "v1", 23.001, 2),
    ("mistralai/Mixtral-8x7B-v0.1", "B", "v1", 615.39, 1),
    ("Qwen/QwQ-32B-Preview", "B", "v1", 54.556, 5),
    ("01-ai/Yi-1.5-34B", "B", "v1", 56.079, 5),
    ("CohereLabs/c4ai-command-r-plus", "C", "v1", 3426.382, 1),
    ("crm-sf/TextBase-70B", "C", "v1", 1721.556, 5),
    ("meta-llama/Meta-Llama-3-70B", "C", "v1", 1719.656, 5),
    ("meta-llama/Llama-2-70b-hf", "C", "v1", 1648.505, 5),
    ("Qwen/Qwen2.5-72B-Instruct", "C", "v1", 1869.553, 5),
    ("google/gemma-3-4b-pt", "A", "v2", 34.3867, 4),
    ("google/gemma-3-270m", "A", "v2", 9.29, 5),
    ("Qwen/Qwen3-0.6B", "A", "v2", 11.83, 5),
    ("tencent/Hunyuan-1.8B-Instruct", "A", "v2", 4.2, 5),
    ("mistralai/Mistral-Nemo-Instruct-2407", "A", "v2", 23.19, 4),
    ("Qwen/Qwen2.5-Coder-14B", "A", "v2", 27.12, 4),
    ("microsoft/Phi-4-reasoning-plus", "A", "v2", 18.42, 5),
    ("google/gemma-3-1b-pt", "A", "v2", 12.33, 5),
    ("ibm-granite/granite-4.0-micro", "A", "v2", 16.63, 5),
    ("HuggingFaceTB/SmolLM3-3B", "A", "v2", 18.35, 5),
    ("ibm-granite/granite-4.0-h-tiny", "A", "v2", 81.82, 1),
    ("swiss-ai/Apertus-8B-Instruct-2509", "A", "v2", 21.74, 4),
    ("google/gemma-3-27b-pt", "B", "v2", 50.41, 2),
    ("Qwen/Qwen3-30B-A3B", "B", "v2", 37.38, 5),
    ("LGAI-EXAONE/EXAONE-4.0-32B", "B", "v2", 54.48, 1),
    ("zai-org/GLM-4.5-Air", "C", "v2", 220.55, 5),
    ("Qwen/Qwen3-235B-A22B", "C", "v2", 305.81, 4),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "C", "v2", 36.64, 5),
    ("zai-org/GLM-4.5", "C", "v2", 1225.42, 1),
    ("zai-org/GLM-4.6", "C", "v2", 1273.55, 1),
    ("swiss-ai/Apertus-70B-Instruct-2509", "C", "v2", 697.52, 3),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "C", "v2", 49.53, 5),
)
"""Repository, class, test round, Wh per 1,000 queries, published stars."""
_REASONING: tuple[tuple[str, str, SizeClass, float, int], ...] = (
    ("Qwen/Qwen3-0.6B", "", "A", 546.99, 5),
    ("tencent/Hunyuan-1.8B-Instruct", "", "A", 1478.96, 5),
    ("openai/gpt-oss-120b", "medium", "C", 6586.3, 2),
    ("openai/gpt-oss-120b", "low", "C", 5312.93, 2),
    ("openai/gpt-oss-120b", "high", "C", 8503.62, 1),
    ("microsoft/Phi-4-reasoning-plus", "", "A", 9461.61, 2),
    ("openai/gpt-oss-20b", "medium", "B", 4122.11, 5),
    ("openai/gpt-oss-20b", "low", "B", 1135.59, 5),
    ("openai/gpt-oss-20b", "high", "B", 5512.01, 4),
    ("Qwen/Qwen3-235B-A22B", "", "C", 300.53, 5),
    ("Qwen/Qwen3-30B-A3B", "", "B", 11130.06, 3),
    ("LGAI-EXAONE/EXAONE-4.0-32B", "", "B", 18992.36, 1),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "", "C", 4789.83, 3),
    ("HuggingFaceTB/SmolLM3-3B", "", "A", 12791.22, 1),
    ("google/gemma-3-4b-pt", "", "A", 11811.18, 1),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "", "C", 7626.53, 1),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", "", "C", 266.73, 5),
    ("Qwen/Qwen3-Next-80B-A3B-Thinking", "", "C", 276.67, 5),
)
"""Repository, effort, class, Wh per 1,000 queries, published stars; all of December 2025."""

PUBLISHED: tuple[PublishedRow, ...] = (
    *(
        PublishedRow(
            model=model,
            task="text_generation",
            effort="",
            size_class=size_class,
            test_round=test_round,
            wh_per_1k_queries=energy,
            stars=stars,
        )
        for model, size_class, test_round, energy, stars in _TEXT
    ),
    *(
        PublishedRow(
            model=model,
            task="reasoning",
            effort=effort,
            size_class=size_class,
            test_round="v2",
            wh_per_1k_queries=energy,
            stars=stars,
        )
        for model, effort, size_class, energy, stars in _REASONING
    ),
)
"""All rows: 62 of text generation and 18 of reasoning."""


def published_rows(model: str) -> tuple[PublishedRow, ...]:
    """What the leaderboard says of a model's text generation, by its repository; often nothing."""
    return tuple(
        row
        for row in PUBLISHED
        if row.task == "text_generation" and row.model.lower() == model.lower()
    )
