"""More architectures of ``transformers``, first tried when the rules were written.

Their configurations are filled in by the names of the settings: whatever a configuration calls
``hidden_size`` is 32, and so on; only what does not fit is said here.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

__all__ = ["UNSEEN", "filled_in"]

WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size")
COUNTS_OF_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers",
                    "decoder_layers")  # fmt: skip
COUNTS_OF_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads",
                   "encoder_attention_heads", "decoder_attention_heads")  # fmt: skip
COUNTS_OF_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")

SETTINGS: dict[str, Any] = {
    **dict.fromkeys(WIDTHS, 32),
    **dict.fromkeys(COUNTS_OF_LAYERS, 2),
    **dict.fromkeys(COUNTS_OF_HEADS, 4),
    **dict.fromkeys(COUNTS_OF_EXPERTS, 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("intermediate_size", "d_ff", "ffn_dim", "encoder_ffn_dim", "hidden_dim"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 40),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "classifier_proj_size"), 16),
    **dict.fromkeys(("n_group", "mamba_n_groups", "n_groups", "linear_num_key_heads"), 2),
    **dict.fromkeys(("mamba_n_heads", "mamba_d_head", "mamba_num_heads", "mamba_head_dim"), 8),
    **dict.fromkeys(("mamba_d_state", "mamba_chunk_size", "state_size", "chunk_size"), 4),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "head_dim", "d_kv"), 8),
    **dict.fromkeys(("qk_nope_head_dim", "v_head_dim", "patch_size", "ssm_state_size"), 8),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "topk_group"), 1),
    **dict.fromkeys(("sliding_window", "attention_window", "local_attention", "rotary_dim"), 4),
    "vocab_size": 96,
    "num_key_value_heads": 2,
    "decoder_ffn_dim": 40,
    "num_labels": 3,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "decoder_start_token_id": 2,
    "image_size": 32,
    "qk_rope_head_dim": 4,
    "first_k_dense_replace": 1,
    "linear_num_value_heads": 4,
    "original_max_position_embeddings": 40,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (5, 3, 2),
    "conv_stride": (4, 2, 2),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "num_feat_extract_layers": 3,
    "mask_time_length": 2,
}


def filled_in(config: type) -> dict[str, Any]:
    """The settings above that a configuration has, under its own names for them."""
    is_data = dataclasses.is_dataclass(config)
    fields = dataclasses.fields(config) if is_data else ()
    names = {f.name for f in fields} or set(inspect.signature(config.__init__).parameters)
    other: dict[str, str] = getattr(config, "attribute_map", None) or {}
    found: dict[str, Any] = {}
    for name, value in SETTINGS.items():
        if name in names:
            found[name] = value
        elif other.get(name) in names:
            found.setdefault(other[name], value)
    if "conv_dim" not in names:  # then these are no lists of layers
        found = {k: v for k, v in found.items() if k not in ("conv_kernel", "conv_stride")}
    return found


_VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
           "intermediate_size": 48, "patch_size": 8, "projection_dim": 16}  # fmt: skip
_GEMMA = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
          "max_position_embeddings": 40, "query_pre_attn_scalar": 8, "sliding_window": 4,
          "layer_types": ["sliding_attention", "full_attention"], "pad_token_id": 1,
          "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip

# Kind of its inputs, class, what its configuration needs beside the settings above.
UNSEEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "apertus": ("tokens", "ApertusForCausalLM", {}),
    "arcee": ("tokens", "ArceeForCausalLM", {}),
    "bamba": ("tokens", "BambaForCausalLM", {}),
    "bitnet": ("tokens", "BitNetForCausalLM", {}),
    "cohere2": ("tokens", "Cohere2ForCausalLM", {}),
    "dbrx": ("tokens", "DbrxForCausalLM", {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2,
                       "hidden_size": 32},
        "max_seq_len": 40}),
    "deepseek_v2": ("tokens", "DeepseekV2ForCausalLM", {"num_key_value_heads": 4, "head_dim": 4}),
    "diffllama": ("tokens", "DiffLlamaForCausalLM", {}),
    "doge": ("tokens", "DogeForCausalLM", {}),
    "ernie4_5_moe": ("tokens", "Ernie4_5_MoeForCausalLM", {}),
    "falcon_h1": ("tokens", "FalconH1ForCausalLM", {"mamba_d_ssm": 64, "mamba_expand": 2}),
    "flex_olmo": ("tokens", "FlexOlmoForCausalLM", {}),
    "gpt_neox_japanese": ("tokens", "GPTNeoXJapaneseForCausalLM", {}),
    "granite_moe_hybrid": ("tokens", "GraniteMoeHybridForCausalLM", {}),
    "hunyuan_moe": ("tokens", "HunYuanMoEV1ForCausalLM", {}),
    "lfm2_moe": ("tokens", "Lfm2MoeForCausalLM", {
        "layer_types": ["conv", "full_attention"], "num_dense_layers": 1}),
    "llama4": ("tokens", "Llama4ForCausalLM", {}),
    "longcat_flash": ("tokens", "LongcatFlashForCausalLM", {
        "num_key_value_heads": 4, "qk_head_dim": 12, "head_dim": 4, "zero_expert_num": 2,
        "ffn_hidden_size": 48, "expert_ffn_hidden_size": 16}),
    "minimax": ("tokens", "MiniMaxForCausalLM", {}),
    "modernbert_decoder": ("tokens", "ModernBertDecoderForCausalLM", {}),
    "nanochat": ("tokens", "NanoChatForCausalLM", {}),
    "nemotron_h": ("tokens", "NemotronHForCausalLM", {}),
    "olmo_hybrid": ("tokens", "OlmoHybridForCausalLM", {}),
    "qwen3_next": ("tokens", "Qwen3NextForCausalLM", {}),
    "kimi_linear": ("tokens", "KimiLinearForCausalLM", {}),
    "lilt": ("masked", "LiltForSequenceClassification", {
        "channel_shrink_ratio": 4, "hidden_size": 48, "max_2d_position_embeddings": 64}),
    "luke": ("masked", "LukeForSequenceClassification", {
        "entity_vocab_size": 8, "entity_emb_size": 16}),
    "markuplm": ("masked", "MarkupLMForSequenceClassification", {}),
    "mra": ("masked", "MraForSequenceClassification", {}),
    "nomic_bert": ("masked", "NomicBertForSequenceClassification", {}),
    "tapas": ("masked", "TapasForSequenceClassification", {}),
    "roberta_prelayernorm": ("masked", "RobertaPreLayerNormForSequenceClassification", {}),
    "xlm_roberta_xl": ("masked", "XLMRobertaXLForSequenceClassification", {}),
    "t5gemma": ("translation", "T5GemmaForConditionalGeneration", {
        "encoder": _GEMMA, "decoder": {**_GEMMA, "cross_attention_hidden_size": 32}}),
    "nllb_moe": ("translation", "NllbMoeForConditionalGeneration", {
        "encoder_sparse_step": 2, "decoder_sparse_step": 2}),
    "pegasus_x": ("translation", "PegasusXForConditionalGeneration", {
        "num_global_tokens": 4, "block_size": 4}),
    "fsmt": ("translation", "FSMTForConditionalGeneration", {
        "langs": ["a", "b"], "src_vocab_size": 96, "tgt_vocab_size": 96}),
    "bigbird_pegasus": ("translation", "BigBirdPegasusForConditionalGeneration", {
        "attention_type": "original_full"}),
    "sew_d": ("wave", "SEWDForSequenceClassification", {
        "squeeze_factor": 2, "position_buckets": 16, "max_position_embeddings": 64}),
    "unispeech_sat": ("wave", "UniSpeechSatForSequenceClassification", {}),
    "wav2vec2_bert": ("frames", "Wav2Vec2BertForSequenceClassification", {
        "feature_projection_input_dim": 16}),
    "imagegpt": ("tokens", "ImageGPTForImageClassification", {"n_positions": 64}),
    "metaclip_2": ("image", "MetaClip2ForImageClassification", {"vision_config": _VISION}),
}  # fmt: skip
