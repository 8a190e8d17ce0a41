"""What one request may ask for, and how many are served at once."""

import os

from model.pixels import MAX_IMAGE_BYTES

MAX_MULTIPART_BYTES = MAX_IMAGE_BYTES + 64_000  # boundaries, part headers, a few small fields
MAX_MULTIPART_FIELDS = 8
MAX_JSON_BYTES = 1_000_000
MAX_HEAD_BYTES = 65_536  # path, query and headers of one request
HEAD_SECONDS = 10  # for them to arrive
UPLOAD_SECONDS = 15  # for the body of one request to arrive
ANSWER_SECONDS = 60  # for a client to read what was sent
KEEP_ALIVE_SECONDS = 75  # for its next request; longer than balancers keep a connection, 60 s
DEFAULT_K, MAX_K = 12, 200
MAX_BATCH = 64  # questions in one request
DEFAULT_SAMPLE, MAX_SAMPLE = 12, 100
MAX_FILTER_VALUES = 32  # of one parameter
MAX_FILTER_TEXT = 1000  # characters
CORES = len(os.sched_getaffinity(0))
DECODE_THREADS = min(8, CORES)
EMBED_THREADS = min(8, CORES)
EMBED_BATCH = 16
SEARCH_BATCH = 64
MAX_PHOTOS = 32 + DECODE_THREADS  # requests with a photo at a time; one more is turned away
MAX_SEARCHES = 512  # questions that wait for the index; one more is turned away
QUERY_PHOTOS_A_DAY = 1000  # that are kept, where sampling is on
QUERY_PHOTO_DAYS = 30  # and for how long
SIGN_INS_PER_SECOND, SIGN_IN_BURST = 1, 20  # of one address, whether or not the key is right
RETRY_AFTER_SECONDS = 1
SHED_CODES = ("overloaded", "deadline", "rate_limited")
