"""A generated catalogue, so that a fresh machine needs no download: `write_sample(folder)`."""

from pipelines.sample.write import SampleReport, write_sample

__all__ = ["SampleReport", "write_sample"]
