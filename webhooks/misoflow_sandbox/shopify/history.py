"""Computes the customers and orders that a shop has at the start, the awkward kinds among them."""

from __future__ import annotations

from misoflow_sandbox.shopify.catalog import DAY_MS, FIRST_PRODUCT, Catalog
from misoflow_sandbox.shopify.entities import Entities
from misoflow_sandbox.shopify.things import Customer, Line, Order, Refund, RefundLine
from misoflow_sandbox.shopify.world import ShopSpec, cents, mixed, money, spread

FIRST_CUSTOMER = 6_000_000_000_001
FIRST_ORDER = 5_000_000_000_001
FIRST_LINE = 13_000_000_000_000
FIRST_REFUND = 900_000_000_000
MOST_LINES = 256
"""Ids of lines and of refunds per order."""
GUEST, TEST, CANCELLED, REFUNDED, MONEY_ONLY, CUSTOM, NO_CART, POS, PLAN = 4, 7, 11, 3, 13, 5, 8, 19, 2
"""Of every twenty orders."""
POPULAR = 1000
"""Products that nine of ten lines are of."""
PROVINCES = {"US": ("NY", "New York"), "CA": ("ON", "Toronto"), "DE": (None, "Berlin"), "JP": ("JP-13", "Tokyo")}


class History:
    """Makes the n-th customer or order of a shop."""

    def __init__(self, spec: ShopSpec, now: int, catalog: Catalog) -> None:
        self.spec, self.catalog = spec, catalog
        self._from, self._now = now - spec.history_days * DAY_MS, now - 60_000

    def customers(self) -> Entities[Customer]:
        return Entities(FIRST_CUSTOMER, 1, self.spec.customers, self.customer, self.customer_created)

    def orders(self) -> Entities[Order]:
        return Entities(FIRST_ORDER, 1, self.spec.orders, self.order, self.order_created)

    def customer_created(self, number: int) -> int:
        return spread(self._from, self._now, self.spec.customers, number)

    def order_created(self, number: int) -> int:
        return spread(self._from, self._now, self.spec.orders, number)

    def customer(self, number: int) -> Customer:
        """The n-th, as it was at the start."""
        spec, created = self.spec, self.customer_created(number)
        country = "DE" if spec.traps and number % 6 == 5 else spec.country
        province, city = PROVINCES.get(country, (None, "Springfield"))
        mine = [] if not spec.orders else range(number, spec.orders, spec.customers)
        orders = [self.order(n) for n in mine if self._customer(n) is not None]
        spent = sum(total(order) for order in orders if not order.test)
        bare = spec.traps and number % 10 == 9
        return Customer(
            id=FIRST_CUSTOMER + number,
            first_name=None if bare else f"Pia{number}",
            last_name=None if bare else f"Canaryson{number}",
            email=None if bare else f"pia.canary{number}@example.com",
            phone=None if bare else f"+1555019{number:04d}",
            street=None if bare else f"{number} Canary Lane",
            city=None if bare else city,
            province=None if bare else province,
            country=None if bare else country,
            created_at=created,
            updated_at=created,
            orders_count=len(orders),
            amount_spent=money(spent, spec.currency),
        )

    def _kind(self, number: int) -> int:
        return number % 20 if self.spec.traps else -1

    def _customer(self, number: int) -> int | None:
        if self._kind(number) == GUEST or not self.spec.customers:
            return None
        return FIRST_CUSTOMER + number % self.spec.customers

    def order(self, number: int) -> Order:
        """The n-th, as it was at the start."""
        spec, created, kind = self.spec, self.order_created(number), self._kind(number)
        customer, id_ = self._customer(number), FIRST_ORDER + number
        token = None if kind in (NO_CART, POS) else f"Z2NwLX{mixed(spec.seed, number, 5):08x}{number:08x}"
        found = Order(
            id=id_,
            number=1001 + number,
            created_at=created,
            processed_at=created,
            updated_at=created,
            test=kind == TEST,
            source="pos" if kind == POS else "web",
            customer=customer,
            email=f"pia.canary{number % max(1, spec.customers)}@example.com",
            cart_token=token,
            checkout_token=None if token is None else f"{mixed(spec.seed, number, 6):08x}{number:024x}",
            locale=f"{spec.locale}-{spec.country}",
            landing_site="/?utm_source=news&utm_medium=email&utm_campaign=autumn",
            shipping=money(500, spec.currency),
            lines=self._lines(number, kind),
        )
        self._undo(found, kind)
        return found

    def _lines(self, number: int, kind: int) -> list[Line]:
        count = 1 + mixed(self.spec.seed, number, 2) % 3 if self.spec.products else 0
        lines = [self._line(number, n) for n in range(count)]
        if kind == CUSTOM and lines:
            lines[0].variant = lines[0].product = lines[0].sku = None
        if kind == PLAN and lines:
            lines[0].plan = "Delivered every month"
        return lines

    def _line(self, number: int, n: int) -> Line:
        dice = mixed(self.spec.seed, number * MOST_LINES + n, 3)
        popular = min(self.spec.products, POPULAR) if dice % 10 else self.spec.products
        product = dice // 10 % popular
        variant = self.catalog.variant(product, dice // 7 % self.catalog.count(product))
        price = cents(variant.price)
        return Line(
            id=line_id(FIRST_ORDER + number, n),
            variant=variant.id,
            product=FIRST_PRODUCT + product,
            title=self.catalog.title(product),
            variant_title=variant.title,
            sku=variant.sku,
            quantity=1 + dice % 3,
            price=variant.price,
            discount=money(price // 10, self.spec.currency) if dice % 6 == 0 else money(0, self.spec.currency),
            gift_card=self.catalog.gift_card(product),
        )

    def _undo(self, order: Order, kind: int) -> None:
        """Refunds and cancellations, a day after the order where that is past."""
        if kind not in (CANCELLED, REFUNDED, MONEY_ONLY) or not order.lines:
            return
        at = order.updated_at = min(self._now, order.created_at + DAY_MS) // 1000 * 1000
        first, currency = order.lines[0], self.spec.currency
        lines = [] if kind == MONEY_ONLY else [RefundLine(line=first.id, quantity=1)]
        if kind == CANCELLED:
            lines = [RefundLine(line=line.id, quantity=line.quantity) for line in order.lines]
            order.cancelled_at = at
        worth = sum(unit(order, one.line) * one.quantity for one in lines) or 100
        order.refunds = [Refund(id=refund_id(order), created_at=at, lines=lines, amount=money(worth, currency))]


def line_id(order: int, n: int) -> int:
    """Of the n-th line of an order."""
    return FIRST_LINE + (order - FIRST_ORDER) * MOST_LINES + n


def refund_id(order: Order) -> int:
    """Of the next refund of an order."""
    return FIRST_REFUND + (order.id - FIRST_ORDER) * MOST_LINES + len(order.refunds)


def order_of_refund(refund: int) -> int:
    return FIRST_ORDER + (refund - FIRST_REFUND) // MOST_LINES


def unit(order: Order, line: int) -> int:
    """Price of one unit after discounts, in hundredths."""
    return next(line_total(one) // one.quantity for one in order.lines if one.id == line)


def line_total(line: Line) -> int:
    """After discounts, in hundredths."""
    return cents(line.price) * line.quantity - cents(line.discount)


def total(order: Order) -> int:
    """Of lines and shipping, before refunds, in hundredths."""
    return sum(line_total(line) for line in order.lines) + cents(order.shipping)
