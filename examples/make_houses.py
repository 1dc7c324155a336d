"""Write houses.csv: made-up houses, with a column of text and some empty fields, as tables are."""

import csv
import random
from pathlib import Path

WORTH = {"town": 4.0, "suburb": 3.0, "village": 2.2}

draw = random.Random(0)
with Path(__file__).with_name("houses.csv").open("w", newline="") as file:
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(["area_m2", "rooms", "built", "place", "price"])
    for _ in range(400):
        area, place, built = round(draw.uniform(30, 200)), draw.choice(list(WORTH)), draw.randint(1900, 2020)
        rooms = max(1, round(area / 28 + draw.gauss(0, 0.6)))
        price = round(WORTH[place] * area * (0.8 + 0.2 * (built - 1900) / 120) * draw.lognormvariate(0, 0.1))
        lines.writerow([area, "" if draw.random() < 0.1 else rooms, built, place, price])
