"""Small transformers of public architectures: random weights, no download, a second to build.

Each entry names a class of the ``transformers`` package, the settings of its configuration and an
example call. `build` gives ``(model, example)`` in evaluation mode, with every scale, bias and
statistic away from its neutral start, so that a cut in the wrong place shows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from tests.elastic.convolutional import CONVOLUTIONAL
from tests.elastic.unseen import UNSEEN, filled_in

__all__ = ["ALL_NAMES", "ARCHITECTURES", "REPRESENTATIVE", "Architecture", "build", "kind_of"]

Inputs = Callable[[torch.Generator], dict[str, Tensor]]

WORDS, LENGTH = 96, 8
"""Size of every vocabulary, and number of tokens in an example."""


@dataclass(frozen=True)
class Architecture:
    """A class of transformers, the settings of its configuration, and what it is called with.

    ``is_filled_in``: the settings are only what `unseen.filled_in` does not say. ``output``: the
    one field of what the model returns that is asked for; what is returned keeps its size, so a
    model that also returns its hidden states has no width of its own left.
    """

    kind: str
    model: str
    config: str
    inputs: Inputs
    settings: dict[str, Any] = field(default_factory=dict)
    is_filled_in: bool = False
    output: str = ""


ARCHITECTURES: dict[str, Architecture] = {}


def add(
    kind: str, name: str, model: str, inputs: Inputs, config: str = "", **settings: Any
) -> None:
    stem = model.rpartition("For")[0] or model.removesuffix("LMHeadModel").removesuffix("Model")
    ARCHITECTURES[name] = Architecture(kind, model, config or f"{stem}Config", inputs, settings)


def build(name: str) -> tuple[nn.Module, Any]:
    """The model and an example of one architecture, drawn from a seed of its own."""
    if name in CONVOLUTIONAL:
        return CONVOLUTIONAL[name]()
    import transformers

    found = ARCHITECTURES[name]
    draws = torch.Generator().manual_seed(sum(map(ord, name)))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(sum(map(ord, name)))
        model_class = getattr(transformers, found.model)
        config_class = getattr(transformers, found.config, model_class.config_class)
        settings = filled_in(config_class) if found.is_filled_in else {}
        config = config_class(**settings | found.settings)
        config.use_cache = False
        model: nn.Module = model_class(config).eval()
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=draws) * 0.1)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    example = found.inputs(draws)
    if "use_cache" in inspect.signature(model.forward).parameters:
        example["use_cache"] = False  # type: ignore[assignment]
    output = found.output or ("logits" if "decoder_input_ids" in example else "")
    return (Only(model, output).eval() if output else model), example


class Only(nn.Module):
    """One field of what a model returns; it also returns what its encoder made."""

    def __init__(self, model: nn.Module, output: str) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, **inputs: Tensor) -> Tensor:
        found: Tensor = getattr(self.model(**inputs), self.output)
        return found


# -- inputs -----------------------------------------------------------------------------------
def tokens(draws: torch.Generator) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(5, WORDS, (2, LENGTH), generator=draws)}


def masked(draws: torch.Generator) -> dict[str, Tensor]:
    mask = torch.ones(2, LENGTH, dtype=torch.long)
    mask[1, LENGTH - 2 :] = 0
    return tokens(draws) | {"attention_mask": mask}


def translation(draws: torch.Generator) -> dict[str, Tensor]:
    target = torch.randint(5, WORDS, (2, LENGTH - 2), generator=draws)
    return masked(draws) | {
        "decoder_input_ids": target,
        "decoder_attention_mask": torch.ones_like(target),
    }


def image(size: int = 32, channels: int = 3) -> Inputs:
    return lambda draws: {"pixel_values": torch.randn(2, channels, size, size, generator=draws)}


def wave(length: int = 400) -> Inputs:
    return lambda draws: {"input_values": torch.randn(2, length, generator=draws)}


def frames(length: int, bins: int, name: str = "input_features") -> Inputs:
    return lambda draws: {name: torch.randn(2, length, bins, generator=draws)}


def speech(length: int, bins: int, *, is_channel_first: bool) -> Inputs:
    shape = (2, bins, length) if is_channel_first else (2, length, bins)
    return lambda draws: {
        "input_features": torch.randn(shape, generator=draws),
        "decoder_input_ids": torch.randint(5, WORDS, (2, 6), generator=draws),
    }


def image_and_text(size: int = 32) -> Inputs:
    return lambda draws: image(size)(draws) | masked(draws)


# -- text encoders ----------------------------------------------------------------------------
ENCODER: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "num_labels": 3,
    "pad_token_id": 1,
}


def encoder(name: str, model: str, inputs: Inputs = masked, **settings: Any) -> None:
    add("text", name, f"{model}ForSequenceClassification", inputs, **ENCODER | settings)


encoder("bert", "Bert")
encoder("roberta", "Roberta")
encoder("electra", "Electra", embedding_size=24)
encoder("albert", "Albert", embedding_size=24)
encoder("camembert", "Camembert")
encoder("xlm_roberta", "XLMRoberta")
encoder("deberta", "Deberta", relative_attention=True, pos_att_type=["c2p", "p2c"])
encoder("deberta_v2", "DebertaV2", relative_attention=True, pos_att_type=["c2p", "p2c"])
encoder("mpnet", "MPNet")
encoder("longformer", "Longformer", attention_window=4)
encoder("convbert", "ConvBert", embedding_size=32, head_ratio=2, num_groups=1)
encoder("squeezebert", "SqueezeBert", embedding_size=32)
encoder("mobilebert", "MobileBert", embedding_size=16, intra_bottleneck_size=16)
encoder("nystromformer", "Nystromformer", num_landmarks=8, segment_means_seq_len=8)
encoder("rembert", "RemBert", input_embedding_size=24, output_embedding_size=24)
encoder("roformer", "RoFormer", embedding_size=32)
encoder("layoutlm", "LayoutLM", max_2d_position_embeddings=16)
encoder("fnet", "FNet", tokens)
encoder("megatron_bert", "MegatronBert")
encoder("ibert", "IBert")
encoder("esm", "Esm", position_embedding_type="rotary")
encoder("big_bird", "BigBird", attention_type="original_full")
encoder("modernbert", "ModernBert", global_attn_every_n_layers=2, local_attention=4)
encoder("roc_bert", "RoCBert", tokens, pronunciation_vocab_size=WORDS, shape_vocab_size=WORDS)
encoder("yoso", "Yoso", use_expectation=True)
encoder("ernie", "Ernie")
encoder("data2vec_text", "Data2VecText")
encoder("xmod", "Xmod", languages=["en_XX"], default_language="en_XX")
encoder("canine", "Canine", downsampling_rate=2, local_transformer_stride=4,
        num_hash_buckets=32)  # fmt: skip
encoder("reformer", "Reformer", axial_pos_embds=False, attn_layers=["local", "local"],
        attention_head_size=8, feed_forward_size=48, local_attn_chunk_length=4,
        is_decoder=False)  # fmt: skip
add("text", "distilbert", "DistilBertForSequenceClassification", masked, vocab_size=WORDS, dim=32,
    n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=40)  # fmt: skip
add("text", "funnel", "FunnelForSequenceClassification", masked, vocab_size=WORDS, d_model=32,
    n_head=4, d_head=8, d_inner=48, block_sizes=[1, 1], num_decoder_layers=1)  # fmt: skip
add("text", "xlnet", "XLNetForSequenceClassification", masked, vocab_size=WORDS, d_model=32,
    n_layer=2, n_head=4, d_inner=48, use_mems_eval=False)  # fmt: skip
add("text", "xlm", "XLMForSequenceClassification", masked, vocab_size=WORDS, emb_dim=32,
    n_layers=2, n_heads=4, max_position_embeddings=40)  # fmt: skip
add("text", "flaubert", "FlaubertForSequenceClassification", masked, vocab_size=WORDS, emb_dim=32,
    n_layers=2, n_heads=4, max_position_embeddings=40)  # fmt: skip
add("text", "bert_masked_lm", "BertForMaskedLM", masked, **ENCODER)
add("text", "perceiver", "PerceiverForSequenceClassification", masked, vocab_size=WORDS, d_model=24,
    d_latents=32, num_latents=4, num_blocks=1, num_self_attends_per_block=2,
    num_self_attention_heads=4, num_cross_attention_heads=4, max_position_embeddings=LENGTH,
    qk_channels=None)  # fmt: skip

# -- decoders ---------------------------------------------------------------------------------
DECODER: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}


def decoder(name: str, model: str, inputs: Inputs = tokens, **settings: Any) -> None:
    add("text", name, f"{model}ForCausalLM", inputs, **DECODER | settings)


def without(names: str) -> dict[str, Any]:
    return {k: v for k, v in DECODER.items() if k not in names.split()}


decoder("llama", "Llama")
decoder("llama_masked", "Llama", masked)
decoder("llama_eager", "Llama", attn_implementation="eager")
decoder("mistral", "Mistral", sliding_window=4)
decoder("qwen2", "Qwen2")
decoder("qwen3", "Qwen3")
decoder("gemma", "Gemma")
decoder("gemma2", "Gemma2", query_pre_attn_scalar=8, sliding_window=4)
add("text", "gemma3", "Gemma3ForCausalLM", tokens, "Gemma3TextConfig",
    **DECODER | {"query_pre_attn_scalar": 8, "sliding_window": 4})  # fmt: skip
decoder("phi", "Phi", partial_rotary_factor=0.5)
decoder("phi3", "Phi3", original_max_position_embeddings=40)
decoder("stablelm", "StableLm", partial_rotary_factor=0.5)
decoder("olmo", "Olmo")
decoder("olmo2", "Olmo2")
decoder("cohere", "Cohere")
decoder("granite", "Granite")
decoder("starcoder2", "Starcoder2")
decoder("persimmon", "Persimmon", partial_rotary_factor=0.5)
decoder("helium", "Helium")
decoder("glm", "Glm", partial_rotary_factor=0.5)
decoder("nemotron", "Nemotron", partial_rotary_factor=0.5)
decoder("smollm3", "SmolLM3")
decoder("exaone4", "Exaone4", sliding_window=4)
decoder("gpt_neox", "GPTNeoX", rotary_pct=0.5)
decoder("biogpt", "BioGpt")
decoder("lfm2", "Lfm2", layer_types=["conv", "full_attention"], block_multiple_of=8)
decoder("recurrent_gemma", "RecurrentGemma", lru_width=32, attention_window_size=8,
        block_types=["recurrent", "attention"])  # fmt: skip
for _name, _model in (("mixtral", "Mixtral"), ("qwen2_moe", "Qwen2Moe"), ("qwen3_moe", "Qwen3Moe"),
                      ("olmoe", "Olmoe"), ("phimoe", "Phimoe"), ("granite_moe", "GraniteMoe"),
                      ("gpt_oss", "GptOss"), ("jetmoe", "JetMoe")):  # fmt: skip
    add("experts", _name, f"{_model}ForCausalLM", tokens, **DECODER | EXPERTS)
ARCHITECTURES["qwen2_moe"].settings["shared_expert_intermediate_size"] = 16
ARCHITECTURES["jetmoe"].settings.update(kv_channels=8)
add("experts", "switch_transformers", "SwitchTransformersForConditionalGeneration", translation,
    vocab_size=WORDS, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, num_experts=4,
    num_sparse_encoder_layers=1, num_sparse_decoder_layers=1)  # fmt: skip
add("text", "gpt2", "GPT2LMHeadModel", masked, vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4,
    n_positions=40)  # fmt: skip
add("text", "gpt_bigcode", "GPTBigCodeForCausalLM", tokens, vocab_size=WORDS, n_embd=32, n_layer=2,
    n_head=4, n_positions=40)  # fmt: skip
add("text", "gptj", "GPTJForCausalLM", tokens, vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4,
    n_positions=40, rotary_dim=4)  # fmt: skip
add("text", "codegen", "CodeGenForCausalLM", tokens, vocab_size=WORDS, n_embd=32, n_layer=2,
    n_head=4, n_positions=40, rotary_dim=4)  # fmt: skip
add("text", "gpt_neo", "GPTNeoForCausalLM", tokens, vocab_size=WORDS, hidden_size=32, num_layers=2,
    num_heads=4, attention_types=[[["global", "local"], 1]], window_size=4,
    max_position_embeddings=40)  # fmt: skip
add("text", "opt", "OPTForCausalLM", masked, vocab_size=WORDS, hidden_size=32, ffn_dim=48,
    num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=40,
    word_embed_proj_dim=24)  # fmt: skip
add("text", "bloom", "BloomForCausalLM", tokens, vocab_size=WORDS, hidden_size=32, n_layer=2,
    n_head=4)  # fmt: skip
add("text", "falcon", "FalconForCausalLM", tokens, **without("head_dim num_key_value_heads"))
add("text", "falcon_new", "FalconForCausalLM", tokens, new_decoder_architecture=True,
    num_kv_heads=2, **without("head_dim num_key_value_heads"))  # fmt: skip
add("text", "mpt", "MptForCausalLM", tokens, vocab_size=WORDS, d_model=32, n_heads=4, n_layers=2,
    max_seq_len=40)  # fmt: skip
add("text", "ctrl", "CTRLLMHeadModel", tokens, vocab_size=WORDS, n_embd=32, dff=48, n_layer=2,
    n_head=4, n_positions=40)  # fmt: skip
add("text", "openai_gpt", "OpenAIGPTLMHeadModel", tokens, vocab_size=WORDS, n_embd=32, n_layer=2,
    n_head=4, n_positions=40)  # fmt: skip
add("text", "xglm", "XGLMForCausalLM", tokens, vocab_size=WORDS, d_model=32, ffn_dim=48,
    num_layers=2, attention_heads=4, max_position_embeddings=40)  # fmt: skip
add("experts", "deepseek_v3", "DeepseekV3ForCausalLM", tokens, **without("head_dim") | EXPERTS | {
    "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 2, "topk_group": 1,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "first_k_dense_replace": 1, "n_shared_experts": 1})  # fmt: skip

# -- state space ------------------------------------------------------------------------------
STATE: dict[str, Any] = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2}
add("state", "mamba", "MambaForCausalLM", tokens, state_size=4, **STATE)
add("state", "mamba2", "Mamba2ForCausalLM", tokens, state_size=8, num_heads=8, head_dim=8,
    n_groups=2, chunk_size=4, **STATE)  # fmt: skip
add("state", "falcon_mamba", "FalconMambaForCausalLM", tokens, state_size=4, **STATE)
add("state", "rwkv", "RwkvForCausalLM", tokens, context_length=40, attention_hidden_size=32,
    **STATE)  # fmt: skip
add("state", "jamba", "JambaForCausalLM", tokens, **DECODER | {
    "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
    "mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False})  # fmt: skip
add("state", "xlstm", "xLSTMForCausalLM", tokens, "xLSTMConfig", vocab_size=WORDS, hidden_size=32,
    num_blocks=2, num_heads=4, chunk_size=4, chunkwise_kernel="chunkwise--native_autograd",
    sequence_kernel="native_sequence__native", step_kernel="native")  # fmt: skip

# -- encoder and decoder ----------------------------------------------------------------------
T5: dict[str, Any] = {"vocab_size": WORDS, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2,
                      "num_heads": 4, "decoder_start_token_id": 0}  # fmt: skip
BART: dict[str, Any] = {
    "vocab_size": WORDS,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "decoder_start_token_id": 2,
}
for _name, _model in (("t5", "T5"), ("mt5", "MT5"), ("umt5", "UMT5"), ("longt5", "LongT5")):
    add("pair", _name, f"{_model}ForConditionalGeneration", translation, **T5)
add("pair", "t5_gated", "T5ForConditionalGeneration", translation, **T5,
    feed_forward_proj="gated-gelu", tie_word_embeddings=False)  # fmt: skip
for _name, _model in (("bart", "Bart"), ("mbart", "MBart"), ("pegasus", "Pegasus"),
                      ("blenderbot", "Blenderbot"), ("m2m_100", "M2M100"), ("mvp", "Mvp"),
                      ("plbart", "PLBart")):  # fmt: skip
    add("pair", _name, f"{_model}ForConditionalGeneration", translation, **BART)
add("pair", "marian", "MarianMTModel", translation, "MarianConfig", **BART)
add("pair", "led", "LEDForConditionalGeneration", translation, **BART,
    attention_window=4, max_encoder_position_embeddings=40,
    max_decoder_position_embeddings=40)  # fmt: skip
add("pair", "prophetnet", "ProphetNetForConditionalGeneration", translation, vocab_size=WORDS,
    hidden_size=32, num_encoder_layers=2, num_decoder_layers=2, num_encoder_attention_heads=4,
    num_decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, ngram=2, num_buckets=8,
    relative_max_distance=16, max_position_embeddings=40)  # fmt: skip

# -- audio ------------------------------------------------------------------------------------
WAVE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (5, 3, 2),
    "conv_stride": (4, 2, 2),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "num_feat_extract_layers": 3,
    "vocab_size": WORDS,
    "classifier_proj_size": 16,
    "mask_time_length": 2,
}
for _name, _model in (("wav2vec2", "Wav2Vec2"), ("hubert", "Hubert"), ("wavlm", "WavLM"),
                      ("unispeech", "UniSpeech"), ("wav2vec2_conformer", "Wav2Vec2Conformer"),
                      ("data2vec_audio", "Data2VecAudio")):  # fmt: skip
    add("audio", _name, f"{_model}ForSequenceClassification", wave(), **WAVE)
add("audio", "sew", "SEWForSequenceClassification", wave(), squeeze_factor=2, **WAVE)
add("audio", "whisper", "WhisperForConditionalGeneration",
    speech(16, 8, is_channel_first=True), num_mel_bins=8, max_source_positions=8,
    max_target_positions=16, bos_token_id=2, eos_token_id=3, suppress_tokens=None,
    begin_suppress_tokens=None,
    **{k: v for k, v in BART.items() if k != "max_position_embeddings"})  # fmt: skip
add("audio", "speech_to_text", "Speech2TextForConditionalGeneration",
    speech(32, 8, is_channel_first=False), input_feat_per_channel=8, conv_channels=16,
    max_source_positions=40, max_target_positions=16,
    **{k: v for k, v in BART.items() if k != "max_position_embeddings"})  # fmt: skip
add("audio", "ast", "ASTForAudioClassification", frames(16, 16, "input_values"),
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, patch_size=8,
    num_mel_bins=16, max_length=16, frequency_stride=8, time_stride=8)  # fmt: skip

# -- vision -----------------------------------------------------------------------------------
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 3,
}


def vision(name: str, model: str, size: int = 32, **settings: Any) -> None:
    add("vision", name, f"{model}ForImageClassification", image(size), **settings)


for _name, _model in (("vit", "ViT"), ("deit", "DeiT"), ("beit", "Beit"), ("dinov2", "Dinov2"),
                      ("dinov2_registers", "Dinov2WithRegisters"), ("vit_msn", "ViTMSN"),
                      ("data2vec_vision", "Data2VecVision"), ("ijepa", "IJepa")):  # fmt: skip
    vision(_name, _model, **VISION)
ARCHITECTURES["beit"].settings["use_relative_position_bias"] = True
ARCHITECTURES["data2vec_vision"].settings["use_shared_relative_position_bias"] = True
vision("siglip", "Siglip", vision_config={**VISION}, num_labels=3)
vision("clip_classifier", "CLIP", vision_config={**VISION, "projection_dim": 16}, num_labels=3)
_SWIN: dict[str, Any] = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2],
                         "num_heads": [2, 4], "window_size": 4, "num_labels": 3}  # fmt: skip
vision("swin", "Swin", **_SWIN)
vision("swinv2", "Swinv2", **_SWIN)
vision("donut_swin", "DonutSwin", **_SWIN)
vision("convnext", "ConvNext", hidden_sizes=[8, 16, 16, 24], depths=[1, 2, 1, 1], image_size=32)
vision("convnextv2", "ConvNextV2", hidden_sizes=[8, 16, 16, 24], depths=[1, 2, 1, 1])
_STAGES: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [16, 16, 24, 32],
                           "depths": [1, 2, 1, 1]}  # fmt: skip
vision("resnet", "ResNet", **_STAGES, layer_type="basic")
vision("resnet_bottleneck", "ResNet", **_STAGES)
vision("regnet", "RegNet", **_STAGES, groups_width=8)
vision("bit", "Bit", embedding_size=32, hidden_sizes=[32, 32, 64, 64], depths=[1, 1, 1, 1],
       num_groups=4)  # fmt: skip
vision("mobilenet_v1", "MobileNetV1", depth_multiplier=0.25)
vision("mobilenet_v2", "MobileNetV2", depth_multiplier=0.25)
vision("mobilevit", "MobileViT", 64, hidden_sizes=[16, 24, 32], num_attention_heads=2,
       neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32], image_size=64)  # fmt: skip
vision("mobilevitv2", "MobileViTV2", 64, width_multiplier=0.25, image_size=64,
       n_attn_blocks=[1, 1, 1], base_attn_unit_dims=[64, 96, 128])  # fmt: skip
vision("efficientnet", "EfficientNet", width_coefficient=0.25, depth_coefficient=0.3,
       hidden_dim=320, image_size=32)  # fmt: skip
vision("poolformer", "PoolFormer", hidden_sizes=[8, 16, 16, 24], depths=[1, 1, 1, 1])
vision(
    "cvt",
    "Cvt",
    embed_dim=[16, 16, 32],
    num_heads=[1, 2, 4],
    depth=[1, 2, 3],
    cls_token=[False, False, True],
)
vision("segformer", "Segformer", hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1],
       num_attention_heads=[1, 2, 2, 4])  # fmt: skip
vision("levit", "Levit", 64, image_size=64, hidden_sizes=[32, 48, 64], depths=[1, 1, 1],
       num_attention_heads=[2, 3, 4], key_dim=[8, 8, 8])  # fmt: skip
vision("pvt", "Pvt", 64, image_size=64, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1],
       num_attention_heads=[1, 2, 2, 4])  # fmt: skip
vision("pvt_v2", "PvtV2", 64, image_size=64, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1],
       num_attention_heads=[1, 2, 2, 4])  # fmt: skip
vision("focalnet", "FocalNet", image_size=32, embed_dim=16, depths=[1, 2], hidden_sizes=[16, 32],
       focal_levels=[2, 2], focal_windows=[3, 3])  # fmt: skip
vision("hiera", "Hiera", image_size=[32, 32], embed_dim=16, depths=[1, 1], num_heads=[1, 2],
       initial_num_heads=1, query_stride=[2, 2], num_query_pool=1,
       masked_unit_size=[4, 4])  # fmt: skip
vision("swiftformer", "SwiftFormer", image_size=32, depths=[1, 1, 1, 1],
       embed_dims=[8, 16, 16, 24])  # fmt: skip
vision("textnet", "TextNet", stem_out_channels=8, hidden_sizes=[8, 16, 16, 24, 32],
       conv_layer_kernel_sizes=[[[3, 3]], [[3, 3], [1, 3]], [[3, 3], [3, 1]], [[3, 3]]],
       conv_layer_strides=[[2], [2, 1], [2, 1], [2]])  # fmt: skip
vision("hgnet_v2", "HGNetV2", embedding_size=8, stem_channels=[3, 8, 16],
       stage_in_channels=[16, 16, 24, 32], stage_mid_channels=[8, 8, 16, 16],
       stage_out_channels=[16, 24, 32, 48], hidden_sizes=[16, 24, 32, 48],
       stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[2, 2, 2, 2])  # fmt: skip
add("vision", "segformer_segmentation", "SegformerForSemanticSegmentation", image(),
    hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 2, 4],
    decoder_hidden_size=16)  # fmt: skip
add("vision", "vit_mae", "ViTMAEForPreTraining", image(), decoder_hidden_size=24,
    decoder_num_hidden_layers=1, decoder_num_attention_heads=4, decoder_intermediate_size=32,
    **VISION)  # fmt: skip
add("vision", "dpt", "DPTForDepthEstimation", image(), neck_hidden_sizes=[8, 8, 16, 16],
    fusion_hidden_size=16, backbone_out_indices=[0, 1, 2, 3], reassemble_factors=[4, 2, 1, 0.5],
    is_hybrid=False, **VISION | {"num_hidden_layers": 4})  # fmt: skip
add("vision", "yolos", "YolosForObjectDetection", image(), num_detection_tokens=4,
    **VISION | {"image_size": [32, 32]})  # fmt: skip
add("vision", "swin2sr", "Swin2SRForImageSuperResolution", image(16), image_size=16, patch_size=1,
    embed_dim=16, depths=[2], num_heads=[2], window_size=4, upscale=2)  # fmt: skip
add("vision", "video_mae", "VideoMAEForVideoClassification",
    lambda draws: {"pixel_values": torch.randn(2, 4, 3, 32, 32, generator=draws)},
    num_frames=4, tubelet_size=2, **VISION)  # fmt: skip
add("vision", "timesformer", "TimesformerForVideoClassification",
    lambda draws: {"pixel_values": torch.randn(2, 2, 3, 32, 32, generator=draws)},
    num_frames=2, **VISION)  # fmt: skip

# -- images and text --------------------------------------------------------------------------
_TEXT = {k: v for k, v in ENCODER.items() if k not in ("num_labels", "pad_token_id")}
_TEXT |= {"eos_token_id": 3, "projection_dim": 16}
add("both", "clip", "CLIPModel", image_and_text(), text_config=_TEXT, projection_dim=16,
    vision_config={**VISION, "projection_dim": 16})  # fmt: skip
add("both", "siglip_pair", "SiglipModel", image_and_text(),
    text_config={**_TEXT, "projection_size": 32, "max_position_embeddings": LENGTH},
    vision_config={**VISION})  # fmt: skip
add("both", "blip_text", "BlipModel", image_and_text(), projection_dim=16,
    text_config={**_TEXT, "encoder_hidden_size": 32, "bos_token_id": 2, "sep_token_id": 3},
    vision_config={**VISION})  # fmt: skip
add("both", "align_text", "AlignTextModel", masked, "AlignTextConfig", **ENCODER)
add("both", "chinese_clip", "ChineseCLIPModel", image_and_text(), text_config=_TEXT,
    projection_dim=16, vision_config={**VISION, "projection_dim": 16})  # fmt: skip
for _name in ("clip", "siglip_pair", "blip_text", "chinese_clip"):
    ARCHITECTURES[_name] = replace(ARCHITECTURES[_name], output="logits_per_image")
ARCHITECTURES["yolos"] = replace(ARCHITECTURES["yolos"], output="logits")
add("time", "patchtst", "PatchTSTForClassification",
    lambda draws: {"past_values": torch.randn(2, 32, 3, generator=draws)}, num_input_channels=3,
    context_length=32, patch_length=8, patch_stride=8, d_model=16, num_attention_heads=4,
    ffn_dim=32, num_hidden_layers=2, num_targets=3, use_cls_token=True)  # fmt: skip
add("time", "patchtsmixer", "PatchTSMixerForTimeSeriesClassification",
    lambda draws: {"past_values": torch.randn(2, 32, 3, generator=draws)}, "PatchTSMixerConfig",
    num_input_channels=3, context_length=32, patch_length=8, patch_stride=8, d_model=8,
    num_layers=2, num_targets=3)  # fmt: skip

_INPUTS: dict[str, Inputs] = {
    "tokens": tokens,
    "masked": masked,
    "translation": translation,
    "wave": wave(),
    "frames": frames(20, 16),
    "image": image(),
}
_KINDS = {"translation": "pair", "wave": "audio", "frames": "audio", "image": "vision"}
for _name, (_given, _model, _settings) in UNSEEN.items():
    ARCHITECTURES[_name] = Architecture(
        _KINDS.get(_given, "text"), _model, "", _INPUTS[_given], _settings, is_filled_in=True
    )

ALL_NAMES = (*CONVOLUTIONAL, *ARCHITECTURES)
"""Of every architecture: the project's own convolutional ones and those of transformers."""


def kind_of(name: str) -> str:
    """What an architecture works on."""
    return "convolution" if name in CONVOLUTIONAL else ARCHITECTURES[name].kind


REPRESENTATIVE = (
    "bert", "gpt2", "llama", "mixtral", "t5", "mamba", "vit", "swin", "convnext", "wav2vec2",
)  # fmt: skip
"""Ten of as many kinds, for quick tests."""
