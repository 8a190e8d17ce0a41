"""The sample's category tree: every leaf with its silhouette, materials, noun and price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.sample import (
    accessories,
    electronics,
    fashion,
    footwear,
    home,
    kitchen,
    leisure,
)
from pipelines.sample.sketch import Sketch

Draw = Callable[[Sketch], None]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf of the tree."""

    path: str
    draw: Draw
    family: str  # key of palette.MATERIALS
    noun: str
    price: float  # median, in CURRENCY
    stands: bool  # on the floor or a table; otherwise photographed lying or hanging

    @property
    def slug(self) -> str:
        """The leaf's name as a folder name."""
        return self.path.rsplit(" > ", 1)[-1].lower().replace(" ", "-")


# department > group -> (family, stands, leaves as (name, draw, noun, median price))
_TREE: dict[str, tuple[str, bool, list[tuple[str, Draw, str, float]]]] = {
    "Fashion > Tops": ("cloth", False, [
        ("T-Shirts", fashion.t_shirt, "T-shirt", 18),
        ("Knitwear", fashion.knitwear, "V-neck jumper", 52),
        ("Shirts", fashion.shirt, "shirt", 44),
    ]),
    "Fashion > Outerwear": ("cloth", False, [
        ("Hoodies", fashion.hoodie, "hoodie", 48),
        ("Coats", fashion.coat, "coat", 140),
    ]),
    "Fashion > Bottoms": ("cloth", False, [
        ("Trousers", fashion.trousers, "trousers", 56),
        ("Shorts", fashion.shorts, "shorts", 28),
        ("Dungarees", fashion.dungarees, "dungarees", 64),
    ]),
    "Fashion > Dresses and Skirts": ("cloth", False, [
        ("Skater Dresses", fashion.skater_dress, "skater dress", 58),
        ("Gowns", fashion.gown, "gown", 160),
        ("Skirts", fashion.skirt, "pleated skirt", 38),
    ]),
    "Accessories > Footwear": ("hide", True, [
        ("Trainers", footwear.trainer, "trainers", 79),
        ("Heels", footwear.heel, "heels", 85),
        ("Ankle Boots", footwear.ankle_boot, "ankle boots", 110),
        ("Wellingtons", footwear.wellington, "wellingtons", 55),
    ]),
    "Accessories > Hats": ("cloth", True, [
        ("Caps", accessories.cap, "cap", 22),
        ("Beanies", accessories.beanie, "beanie", 19),
        ("Fedoras", accessories.fedora, "fedora", 45),
    ]),
    "Accessories > Bags": ("hide", True, [
        ("Totes", accessories.tote, "tote", 60),
        ("Backpacks", accessories.backpack, "backpack", 75),
        ("Handbags", accessories.handbag, "handbag", 120),
        ("Suitcases", accessories.suitcase, "suitcase", 135),
    ]),
    "Accessories > Eyewear": ("shell", False, [
        ("Round Glasses", accessories.round_glasses, "round glasses", 95),
        ("Aviators", accessories.aviators, "aviators", 105),
    ]),
    "Accessories > Watches": ("hide", False, [
        ("Dress Watches", accessories.round_watch, "dress watch", 180),
        ("Smartwatches", accessories.square_watch, "smartwatch", 220),
    ]),
    "Kitchen > Drinkware": ("ware", True, [
        ("Mugs", kitchen.mug, "mug", 14),
        ("Tumblers", kitchen.tumbler, "tumbler", 9),
        ("Wine Glasses", kitchen.wine_glass, "wine glass", 12),
        ("Teacups", kitchen.teacup, "teacup", 16),
    ]),
    "Kitchen > Tea and Coffee": ("ware", True, [
        ("Teapots", kitchen.teapot, "teapot", 38),
        ("Kettles", kitchen.kettle, "kettle", 49),
        ("Cafetieres", kitchen.cafetiere, "cafetiere", 32),
    ]),
    "Kitchen > Cookware": ("ware", True, [
        ("Frying Pans", kitchen.frying_pan, "frying pan", 36),
        ("Saucepans", kitchen.saucepan, "saucepan", 42),
        ("Casseroles", kitchen.casserole, "casserole", 89),
    ]),
    "Kitchen > Tableware": ("ware", True, [
        ("Bowls", kitchen.bowl, "bowl", 15),
        ("Jugs", kitchen.jug, "jug", 26),
        ("Bottles", kitchen.bottle, "bottle", 20),
        ("Plates", kitchen.plate, "plate", 13),
    ]),
    "Home > Seating": ("board", True, [
        ("Chairs", home.chair, "chair", 115),
        ("Stools", home.stool, "stool", 69),
        ("Armchairs", home.armchair, "armchair", 420),
        ("Sofas", home.sofa, "sofa", 880),
    ]),
    "Home > Tables and Storage": ("board", True, [
        ("Side Tables", home.side_table, "side table", 98),
        ("Desks", home.desk, "desk", 260),
        ("Bookcases", home.bookcase, "bookcase", 190),
        ("Drawers", home.drawers, "chest of drawers", 240),
    ]),
    "Home > Lighting": ("shell", True, [
        ("Table Lamps", home.table_lamp, "table lamp", 58),
        ("Floor Lamps", home.floor_lamp, "floor lamp", 125),
        ("Pendants", home.pendant, "pendant lamp", 84),
        ("Desk Lamps", home.desk_lamp, "desk lamp", 66),
    ]),
    "Home > Decor": ("ware", True, [
        ("Vases", home.vase, "vase", 34),
        ("Plant Pots", home.plant_pot, "plant pot", 24),
        ("Wall Clocks", home.wall_clock, "wall clock", 46),
        ("Cushions", home.cushion, "cushion", 25),
    ]),
    "Electronics > Audio": ("shell", True, [
        ("Headphones", electronics.headphones, "headphones", 130),
        ("Speakers", electronics.speaker, "speaker", 170),
    ]),
    "Electronics > Devices": ("shell", True, [
        ("Laptops", electronics.laptop, "laptop", 940),
        ("Phones", electronics.phone, "phone", 620),
        ("Cameras", electronics.camera, "camera", 540),
    ]),
    "Leisure > Instruments": ("board", True, [
        ("Acoustic Guitars", leisure.guitar, "acoustic guitar", 210),
        ("Electric Guitars", leisure.electric_guitar, "electric guitar", 390),
        ("Drums", leisure.drum, "snare drum", 160),
    ]),
    "Leisure > Balls": ("hide", True, [
        ("Footballs", leisure.football, "football", 24),
        ("Basketballs", leisure.basketball, "basketball", 27),
        ("Rugby Balls", leisure.rugby_ball, "rugby ball", 26),
    ]),
    "Leisure > Sports": ("shell", True, [
        ("Rackets", leisure.racket, "racket", 88),
        ("Skateboards", leisure.skateboard, "skateboard", 72),
        ("Dumbbells", leisure.dumbbell, "dumbbell", 35),
    ]),
    "Leisure > Toys": ("shell", True, [
        ("Teddy Bears", leisure.teddy, "teddy bear", 21),
        ("Toy Cars", leisure.toy_car, "toy car", 17),
        ("Rubber Ducks", leisure.duck, "bath duck", 8),
        ("Toy Rockets", leisure.rocket, "toy rocket", 23),
    ]),
}  # fmt: skip
# What single leaves do unlike their group.
_FAMILY = {
    "Wine Glasses": "clear", "Tumblers": "clear", "Bottles": "clear", "Cushions": "cloth",
    "Armchairs": "cloth", "Sofas": "cloth", "Teddy Bears": "cloth", "Wall Clocks": "board",
}  # fmt: skip
_LYING = {"Frying Pans", "Plates", "Wall Clocks", "Cushions", "Pendants", "Rackets"}
_LYING |= {"Acoustic Guitars", "Electric Guitars", "Dumbbells"}


def _leaves() -> tuple[Leaf, ...]:
    out = []
    for group, (family, stands, leaves) in _TREE.items():
        for name, draw, noun, price in leaves:
            own = _FAMILY.get(name, family)
            up = stands and name not in _LYING
            out.append(Leaf(f"{group} > {name}", draw, own, noun, price, up))
    return tuple(out)


LEAVES = _leaves()
# Opens on day 2.
NEW_LEAF = Leaf(
    "Kitchen > Drinkware > Travel Cups", kitchen.travel_cup, "ware", "travel cup", 21, stands=True
)
