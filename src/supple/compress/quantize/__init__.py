"""Low bits: number formats, their ranges, and networks in them.

A `Quantizer` maps a tensor to the values of a format, with a straight-through gradient; `quantize_`
puts formats into a network. What is computed here are floats on the formats' grids: it says what
accuracy a format costs. What it saves in time is measured on exported files that compute in
integers.
"""

from supple.compress.quantize._quantizer import Granularity, Quantizer, straight_through
from supple.compress.quantize._ranges import Estimator
from supple.compress.quantize.activations import ActivationQuantizer, Observer, RangeMode
from supple.compress.quantize.binary import Binary, Ternary, signs
from supple.compress.quantize.biper import (
    BinaryConv2d,
    BinaryLinear,
    BiPer,
    approximate_sign,
    binarization_error,
    binarize_,
    pack_signs,
    set_stage_,
    unpack_signs,
)
from supple.compress.quantize.codebook import (
    CodebookLayer,
    code_scores,
    codebook_loss,
    codebooks,
    disabled_codes,
    forced_codes,
    insert_codebooks_,
    recorded_codes,
)
from supple.compress.quantize.fold import fold_batch_norm, foldable_batch_norms
from supple.compress.quantize.integer import Dyadic, integer_linear
from supple.compress.quantize.kmeans import KMeans, ProductQuantizer
from supple.compress.quantize.l_mul import (
    LMul,
    LMulLinear,
    energy,
    round_mantissa,
    simulate_fp8,
    use_arithmetic_,
)
from supple.compress.quantize.learned import LSQ, PACT
from supple.compress.quantize.mixed_precision import (
    allocate_bits,
    average_bits,
    hessian_traces,
    sensitivities,
)
from supple.compress.quantize.mst import (
    MSTConv2d,
    MSTLinear,
    MSTPlan,
    MSTRegularizer,
    hamming_matrix,
)
from supple.compress.quantize.network import (
    bake_,
    calibrate,
    quantizable_layers,
    quantize_,
    weight_quantizers,
)
from supple.compress.quantize.powers_of_two import AdditivePowersOfTwo, PowersOfTwo
from supple.compress.quantize.report import (
    LayerBits,
    QuantizationReport,
    quantization_report,
)
from supple.compress.quantize.uniform import Uniform

__all__ = [
    "LSQ",
    "PACT",
    "ActivationQuantizer",
    "AdditivePowersOfTwo",
    "BiPer",
    "Binary",
    "BinaryConv2d",
    "BinaryLinear",
    "CodebookLayer",
    "Dyadic",
    "Estimator",
    "Granularity",
    "KMeans",
    "LMul",
    "LMulLinear",
    "LayerBits",
    "MSTConv2d",
    "MSTLinear",
    "MSTPlan",
    "MSTRegularizer",
    "Observer",
    "PowersOfTwo",
    "ProductQuantizer",
    "QuantizationReport",
    "Quantizer",
    "RangeMode",
    "Ternary",
    "Uniform",
    "allocate_bits",
    "approximate_sign",
    "average_bits",
    "bake_",
    "binarization_error",
    "binarize_",
    "calibrate",
    "code_scores",
    "codebook_loss",
    "codebooks",
    "disabled_codes",
    "energy",
    "fold_batch_norm",
    "foldable_batch_norms",
    "forced_codes",
    "hamming_matrix",
    "hessian_traces",
    "insert_codebooks_",
    "integer_linear",
    "pack_signs",
    "quantizable_layers",
    "quantization_report",
    "quantize_",
    "recorded_codes",
    "round_mantissa",
    "sensitivities",
    "set_stage_",
    "signs",
    "simulate_fp8",
    "straight_through",
    "unpack_signs",
    "use_arithmetic_",
    "weight_quantizers",
]
