"""A last, linear layer behind the embedding of a trained network."""

import keras

from model.reducer import Array


def append_projection(model: keras.Model, components: Array) -> keras.Model:
    """The same network with `embedding` multiplied by `components` float32 [D, d].

    All other outputs stay. The layers are shared: training either model trains both.
    """
    layer = keras.layers.Dense(
        components.shape[1], use_bias=False, name="projection", dtype="float32"
    )
    out = {**model.output, "embedding": layer(model.output["embedding"])}
    projected = keras.Model(model.input, out, name=model.name)
    layer.set_weights([components])
    return projected
