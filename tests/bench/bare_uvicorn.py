"""The limit of `make bench NAME=serve`: the same routes on uvicorn alone.

python -m tests.bench.bare_uvicorn --port 8000
"""

import sys

import uvicorn

from serving.champion import Champion
from serving.routes import create_app
from serving.settings import load_serve_settings


def main() -> None:
    champion = Champion(load_serve_settings())
    champion.start()
    uvicorn.run(create_app(champion), port=int(sys.argv[-1]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
