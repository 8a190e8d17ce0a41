"""A query as one page of HTML: photo, pixels, vector, category, neighbours. See pipelines/page.py.

Whatever comes from the feed or the file's name is escaped.
"""

from html import escape

import numpy as np

from model.taxonomy import SEPARATOR
from pipelines.explain import Explained, Neighbour, remark, sentence
from pipelines.page import page, picture

BY = {"given": "the box that was given", "found": "where the localiser found the product"}
HEIGHT = 40  # of the vector's strip, in units of its drawing


def explain_page(explained: Explained) -> str:
    """The whole document."""
    parts = (_head, _ways, _vector, _category, _times, _neighbours)
    manifest = explained.manifest
    served = f"Version {escape(explained.version)} of {escape(manifest['ds'])}"
    return page(
        f"Why these? {explained.name}",
        f'<span class="soft">{served}</span>',
        "".join(part(explained) for part in parts),
        footer=f"""<p>Exact: the product of the two vectors in the space of the index. Index: the
score that it gives itself. Items as near as each other share a rank. What is new is beside the
index, and searched exactly.</p>
<p>Bundle <code>{escape(explained.bundle)}</code>, space <code>{escape(manifest["space_id"])}</code>
</p>
""",
        styles=["explain_page.css"],
    )


def _head(explained: Explained) -> str:
    return f"""<section class="verdict">
<p class="soft name">{escape(explained.name)}</p>
<h1>Why these?</h1>
<p class="lead">The index gave {sentence(explained)}</p>
</section>
"""


def _ways(explained: Explained) -> str:
    """The photo with its box, and what the embedder sees of it."""
    searched = explained.look.searched
    (width, height), box = searched.photo, searched.box
    edges = (box.x / width, box.y / height, box.width / width, box.height / height)
    names = ("left", "top", "width", "height")
    style = ";".join(f"{name}:{100 * e:.2f}%" for name, e in zip(names, edges, strict=True))
    side = explained.look.pixels.shape[0]
    return f"""<section class="ways">
<figure>
<div class="photo"><img src="{picture(explained.photo)}" alt="The photo">\
<i class="box {searched.by}" style="{style}"></i></div>
<figcaption><b>Photo</b><span class="soft">{width} × {height} pixels. Searched: \
{BY.get(searched.by, "the whole of it")}, {box.width} × {box.height} at {box.x}, {box.y}.</span>
</figcaption>
</figure>
<figure>
<img class="pixels" src="{picture(explained.look.pixels, "PNG")}" alt="The pixels">
<figcaption><b>Pixels</b><span class="soft">All that the embedder sees: {side} × {side}, by
<code>{escape(explained.manifest["pixel_spec"])}</code>.</span></figcaption>
</figure>
</section>
"""


def _vector(explained: Explained) -> str:
    vector, space = explained.vector, escape(explained.manifest["space_id"])
    largest = max(float(np.abs(vector).max()), 1e-9)
    bars = "".join(
        f'<rect class="{"up" if x >= 0 else "down"}" x="{n + 0.1:.1f}" width="0.8" '
        f'y="{(HEIGHT / 2) * (1 - max(x, 0) / largest):.2f}" '
        f'height="{(HEIGHT / 2) * abs(x) / largest:.2f}"/>'
        for n, x in enumerate(vector.tolist())
    )
    return f"""<section>
<h2>Vector</h2>
<p class="note">{len(vector)} numbers of space <code>{space}</code>,
length {np.linalg.norm(vector):.4f}, from {vector.min():.3f} to {vector.max():.3f}.</p>
<svg class="vector" viewBox="0 0 {len(vector)} {HEIGHT}" preserveAspectRatio="none" role="img" \
aria-label="The numbers of the vector as bars">{bars}</svg>
</section>
"""


def _category(explained: Explained) -> str:
    rows = "".join(
        f'<li><span class="step">{escape(level["path"].rpartition(SEPARATOR)[2])}</span>'
        f'<span class="bar"><i style="width:{100 * level["confidence"]:.1f}%"></i></span>'
        f"<span>{level['confidence']:.1%}</span></li>\n"
        for level in explained.levels
    )
    others = ", ".join(
        f"{escape(guess['path'])} {guess['confidence']:.1%}" for guess in explained.guesses
    )
    brand = ""
    if explained.brand:
        brand = (
            f" By the neighbours the brand is <b>{escape(explained.brand['name'])}</b>, "
            f"{explained.brand['confidence']:.0%} of their votes."
        )
    return f"""<section>
<h2>Category</h2>
<p class="note">Level by level, each with all that is below it.{brand}</p>
<ul class="levels">
{rows}</ul>
<p class="note">Likeliest leaves: {others}.</p>
</section>
"""


def _times(explained: Explained) -> str:
    notes = {
        "decode": "bytes to pixels, the box found",
        "embed": "pixels to the vector",
        "search": _index(explained),
        "exact search": "only here, to compare",
    }
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{1000 * spent:.2f} ms</dd>"
        f"<dd class='soft'>{notes[name]}</dd></div>\n"
        for name, spent in explained.seconds.items()
    )
    return f'<section>\n<h2>Time</h2>\n<dl class="figures">\n{cells}</dl>\n</section>\n'


def _index(explained: Explained) -> str:
    index = explained.manifest["index"]
    effort = ", ".join(f"{name} {value}" for name, value in index["effort"].items())
    return escape(", ".join(filter(None, (index["engine"], index["form"], effort))))


def _neighbours(explained: Explained) -> str:
    tiles = "".join(map(_tile, explained.neighbours))
    return f"""<section>
<h2>Neighbours</h2>
<p class="note">In the order of an exact search over all items, each with the rank that the index
gave it. <em class="missed">Framed</em>: near, and not given. <em class="instead">Framed</em>:
given instead.</p>
<ol class="tiles">
{tiles}</ol>
</section>
"""


def _tile(each: Neighbour) -> str:
    state = "missed" if each.missed else "instead" if each.instead else ""
    item = each.item
    title = escape(item["title"] or item["item_id"])
    photo = '<span class="gone">photo gone</span>'
    if each.photo is not None:
        photo = f'<img src="{picture(each.photo)}" alt="{title}">'
    given = "not given" if each.given_rank is None else f"#{each.given_rank}"
    score = "–" if each.given_score is None else f"{each.given_score:.4f}"
    word = remark(each)
    mark = f'<span class="mark">{word}</span>' if word else ""
    return f"""<li class="{state}">
{photo}
<b>{title}</b>
<span class="soft path">{escape(item["category"])}</span>
<dl>
<div><dt>exact</dt><dd>#{each.rank}</dd><dd>{each.score:.4f}</dd></div>
<div><dt>index</dt><dd>{given}</dd><dd>{score}</dd></div>
</dl>
{mark}
</li>
"""
