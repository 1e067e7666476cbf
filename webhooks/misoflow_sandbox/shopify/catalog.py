"""Computes the products and collections of a shop, the awkward kinds among them."""

from __future__ import annotations

from misoflow_sandbox.shopify.entities import Entities
from misoflow_sandbox.shopify.things import Collection, Metafield, Product, Variant
from misoflow_sandbox.shopify.world import DECIMALS, ShopSpec, mixed, money, pair, spread

FIRST_PRODUCT = 7_000_000_000_001
FIRST_VARIANT = 42_000_000_000_000
MOST_VARIANTS = 4096
"""Ids per product; a product has at most 2,048: https://shopify.dev/changelog (2025-10)."""
FIRST_COLLECTION = 300_000_000_001
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOUNS = ("Boots", "Jacket", "Scarf", "Mug", "Lamp", "Backpack", "Shirt", "Blanket")
ADJECTIVES = ("Red", "Warm", "Light", "Classic", "Wild", "Quiet", "Bright")
TAGS = ("sale", "new", "winter", "summer", "gift")
SIZES = ("S", "M", "L", "XL", "XXL")
COLORS = ("black", "white", "red", "green", "blue", "sand", "rust")
CATEGORIES = (
    "Apparel & Accessories > Clothing > Outerwear > Coats & Jackets",
    "Home & Garden > Kitchen & Dining > Tableware > Drinkware > Mugs",
    "Luggage & Bags > Backpacks",
)
STATUS = {13: "DRAFT", 14: "ARCHIVED", 15: "UNLISTED"}
"""Of every twenty products."""
HIDDEN, GIFT_CARD, BARE = 16, 17, 18


class Catalog:
    """Makes the n-th product of a shop, and knows the ids of its variants."""

    def __init__(self, spec: ShopSpec, now: int) -> None:
        self.spec = spec
        self._from, self._now = now - 2 * spec.history_days * DAY_MS, now - DAY_MS

    def entities(self) -> Entities[Product]:
        return Entities(FIRST_PRODUCT, 1, self.spec.products, self.product, self.created)

    def created(self, number: int) -> int:
        return spread(self._from, self._now, self.spec.products, number)

    def product(self, number: int) -> Product:
        """The n-th, as it was at the start."""
        spec, dice, created = self.spec, mixed(self.spec.seed, number), self.created(number)
        kind = number % 20 if spec.traps else 0
        title = self.title(number)
        options = ["Title"] if self.single(number) else _option_names(number, spec)
        bare = kind == BARE
        manual = [FIRST_COLLECTION + 2 * n for n in range((spec.collections + 1) // 2) if (number + n) % 3 == 0]
        updated = min(self._now, created + dice % (5 * DAY_MS)) // 1000 * 1000
        return Product(
            id=FIRST_PRODUCT + number,
            title=title,
            body_html=None
            if bare
            else f"<p>The <b>{title}</b> &amp; nothing else.</p><p>Made in {1990 + dice % 30}.</p>",
            vendor=("Acme", "Globex", "Initech")[dice % 3],
            product_type="" if bare else NOUNS[dice // 7 % 8],
            handle=f"{title.lower().replace(' ', '-')}",
            status=STATUS.get(kind, "ACTIVE"),
            published_at=None if kind in STATUS or kind == HIDDEN else created,
            created_at=created,
            updated_at=max(created, updated),
            tags=[] if bare else sorted({TAGS[dice % 5], TAGS[dice // 5 % 5]}),
            image=None if bare else f"https://cdn.shopify.com/s/files/1/0001/products/{number}.jpg?v=1",
            category=None if bare else CATEGORIES[dice % 3],
            gift_card=self.gift_card(number),
            options=options,
            metafields=[] if bare else _metafields(number, dice),
            collections=manual,
            variants=self._variants(number),
        )

    def title(self, number: int) -> str:
        dice = mixed(self.spec.seed, number)
        return f"{ADJECTIVES[dice % 7]} {NOUNS[dice // 7 % 8]} {number}"

    def gift_card(self, number: int) -> bool:
        return self.spec.traps and number % 20 == GIFT_CARD

    def single(self, number: int) -> bool:
        """Whether a product has its default variant only."""
        return number % 4 == 0 or self.gift_card(number)

    def count(self, number: int) -> int:
        """Of its variants."""
        most = self.spec.most_variants if number == 1 and self.spec.most_variants else self.spec.variants
        return 1 if self.single(number) else most

    def _variants(self, number: int) -> list[Variant]:
        return [self.variant(number, n) for n in range(self.count(number))]

    def variant(self, number: int, n: int) -> Variant:
        """The n-th variant of a product, as it was at the start."""
        spec, dice = self.spec, mixed(self.spec.seed, number * MOST_VARIANTS + n, 1)
        created = self.created(number)
        a, b = pair(n, self.count(number))
        values = ["Default Title"] if self.single(number) else [_label(SIZES, a), _label(COLORS, b)]
        price = (999 + dice % 9000) * (100 if DECIMALS.get(spec.currency) == 0 else 1)
        before = (None, money(price + price // 4, spec.currency), "0.00", money(price // 2, spec.currency), None)
        return Variant(
            id=variant_id(FIRST_PRODUCT + number, n),
            title=" / ".join(values),
            sku=None if dice % 11 == 0 else f"SKU-{number}-{n}",
            barcode=None if dice % 3 else f"40{number:08d}{n:03d}",
            price=money(price, spec.currency),
            compare_at_price=before[number % 5] if spec.traps else before[number % 2],
            options=values,
            quantity=0 if dice % 9 == 0 else dice % 50,
            tracked=dice % 13 != 0,
            oversell=dice % 17 == 0,
            image=f"https://cdn.shopify.com/s/files/1/0001/products/{number}-{n}.jpg?v=1" if dice % 4 == 0 else None,
            cost=money(price // 2, spec.currency) if dice % 5 else None,
            created_at=created,
            updated_at=created,
        )


def variant_id(product: int, n: int) -> int:
    """Of the n-th variant of a product."""
    return FIRST_VARIANT + (product - FIRST_PRODUCT) * MOST_VARIANTS + n


def product_of_variant(variant: int) -> int:
    return FIRST_PRODUCT + (variant - FIRST_VARIANT) // MOST_VARIANTS


def collections_of(spec: ShopSpec, now: int) -> dict[int, Collection]:
    """Manual and smart ones by turns."""
    found = {}
    for n in range(spec.collections):
        tag = TAGS[n // 2 % 5] if n % 2 else None
        title = f"Everything {tag}" if tag else f"Choice {n}"
        id_ = FIRST_COLLECTION + n
        found[id_] = Collection(id=id_, handle=title.lower().replace(" ", "-"), title=title, tag=tag, updated_at=now)
    return found


def _option_names(number: int, spec: ShopSpec) -> list[str]:
    return ["Größe", "Farbe"] if spec.traps and number % 9 == 2 else ["Size", "Color"]


def _label(labels: tuple[str, ...], n: int) -> str:
    return labels[n % len(labels)] + (f"-{n // len(labels)}" if n >= len(labels) else "")


def _metafields(number: int, dice: int) -> list[Metafield]:
    """Of changing types where no definition holds them."""
    weight = ("number_integer", str(dice % 900)) if number % 7 != 3 else ("single_line_text_field", "heavy")
    return [
        Metafield(namespace="custom", key="colors", type="list.single_line_text_field", value='["red","blue"]'),
        Metafield(namespace="custom", key="material", type="single_line_text_field", value=("wool", "oak")[dice % 2]),
        Metafield(namespace="custom", key="weight", type=weight[0], value=weight[1], defined=False),
    ]
