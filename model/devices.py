"""Data parallel training: each device holds the network and takes an equal part of every batch.

`keras.distribution.DataParallel` does nothing on TensorFlow (Keras 3.15), so there it is
TensorFlow's own mirrored strategy. The sums of batch norms and gradients go over all devices: the
loss is that of one device with the whole batch.
"""

from collections.abc import Callable
from typing import Any

import keras

from model.errors import BadInput


def parallel(build: Callable[[], keras.Model], devices: int) -> keras.Model:
    """What `build` builds, on `devices` GPUs, or CPUs where there is none; 0: on all there are.

    The model is compiled and trained under `model.distribute_strategy`. One device costs nothing.
    Raises BadInput when there are not so many, or Keras does not run on TensorFlow.
    """
    if devices == 1:
        return build()
    names = _names(devices)
    if len(names) == 1:
        return build()
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(names).scope():
        model = build()
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
    return model


def clip_the_sum(optimizer: keras.Optimizer) -> None:
    """Clip gradients as one device would: after they are summed over the devices.

    Keras clips what each device adds, which is another direction as soon as clipping sets in.
    """
    clip = optimizer._clip_gradients

    def clip_sum(gradients: list[Any]) -> list[Any]:
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        return list(clip(context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)))

    optimizer._clip_gradients = clip_sum
    optimizer._all_reduce_sum_gradients = lambda pairs: pairs


def _names(devices: int) -> list[str]:
    if keras.backend.backend() != "tensorflow":
        raise BadInput(
            f"Cannot train on {devices or 'all'} devices. Expected Keras on TensorFlow. "
            f"Received: {keras.backend.backend()}. Set `train.devices` to 1."
        )
    kinds = [keras.distribution.list_devices(kind) for kind in ("gpu", "cpu")]
    found = kinds[0] or kinds[1]
    if not 0 <= devices <= len(found):
        raise BadInput(
            f"Cannot train on {devices} devices. Expected at most {len(found)}, or 0 for all of "
            f"them: {', '.join(found)}. Set `train.devices`."
        )
    return list(found[:devices] if devices else found)
