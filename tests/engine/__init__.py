"""The engine: one bundle, asked by photo, by item or by vector."""
