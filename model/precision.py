"""What a network computes in: bfloat16 where it trains, float32 where it embeds."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def precision(*, mixed: bool) -> Iterator[None]:
    """Layers built within compute in bfloat16 with float32 weights, or in float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def in_float32(model: keras.Model) -> keras.Model:
    """A copy of `model` for inference: all float32, not compiled, on one device."""
    with precision(mixed=False):
        copy = keras.models.clone_model(
            keras.Model(model.input, model.output), clone_function=_clone, recursive=True
        )
    pairs = zip(model.get_weights(), copy.weights, strict=True)
    copy.set_weights([given.reshape(variable.shape) for given, variable in pairs])
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # its moments may have come with the weights
            # A tensor would become an input of the exported ONNX graph.
            layer.mean, layer.variance = (
                keras.ops.convert_to_numpy(moment) for moment in (layer.mean, layer.variance)
            )
    return copy


def _clone(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if "dtype" in config:  # an operation without state has none
        config["dtype"] = "float32"
    if isinstance(layer, keras.layers.Conv2D) and 1 < layer.groups == layer.filters:
        # On TensorFlow a convolution in groups is an XLA call, which has no place in ONNX.
        same = ("name", "dtype", "kernel_size", "strides", "padding", "activation", "use_bias")
        return keras.layers.DepthwiseConv2D(**{option: config[option] for option in same})
    return layer.__class__.from_config(config)
