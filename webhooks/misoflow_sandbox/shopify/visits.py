"""Whole visits, by number: always the same for the same shop, each a little different from the next."""

from __future__ import annotations

from misoflow_sandbox.shopify.catalog import FIRST_PRODUCT
from misoflow_sandbox.shopify.shop import Shop
from misoflow_sandbox.shopify.shopper import Shopper
from misoflow_sandbox.shopify.things import Order, Product
from misoflow_sandbox.shopify.world import mixed


def visit(shopper: Shopper, number: int, *, buys: bool = True) -> Order | None:
    """Home, a collection, a search, two products, the cart, and if it ``buys`` the checkout. Gives the order."""
    shop, dice = shopper.shop, mixed(shopper.shop.spec.seed, number, 9)
    shopper.home()
    if shop.collections:
        shopper.collection(sorted(shop.collections)[dice % len(shop.collections)])
    shopper.search(("boots", "mug", "lamp", "scarf")[dice % 4])
    first, second = buyable(shop, dice), buyable(shop, dice // 7 + 1)
    for product in (first, second):
        shopper.view(product.variants[dice % len(product.variants)].id)
    shopper.add(first.variants[0].id, 1 + dice % 2)
    shopper.add(second.variants[-1].id)
    if dice % 3 == 0 and second.id != first.id:
        shopper.remove(second.variants[-1].id)
    shopper.view_cart()
    if not buys:
        return None
    shopper.checkout()
    return shopper.buy()


def buyable(shop: Shop, n: int) -> Product:
    """The n-th product, or the next that is on sale on the storefront. Raises LookupError."""
    count = max(1, shop.spec.products)
    for step in range(count):
        found = shop.products.get(FIRST_PRODUCT + (n + step) % count)
        if found is not None and found.status == "ACTIVE" and shop.url(found) and found.variants:
            return found
    raise LookupError("the shop has nothing to buy")
