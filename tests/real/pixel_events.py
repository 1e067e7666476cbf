"""Events as Shopify hands them to a web pixel, with every field that its published types know.

``test_pixel.py`` has the TypeScript compiler hold these against those types. What may never be sent says CANARY.
https://shopify.dev/docs/api/web-pixels-api/standard-events
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
CANARY = "canary"
SHOP = "https://shop.example"
CART = "cart-token-of-shopper-2Slg4"
CHECKOUT = "26c9b1a7f0e34d1d8f4c5a6b7c8d9e0f"
MAIL = f"{CANARY}.doe@mail.example"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
ALLOWED = {
    "analyticsProcessingAllowed": True,
    "marketingAllowed": False,
    "preferencesProcessingAllowed": True,
    "saleOfDataAllowed": False,
}
UNDECIDED = dict.fromkeys(ALLOWED, False)


def money(amount: float) -> Json:
    return {"amount": amount, "currencyCode": "EUR"}


def variant(number: int = 41) -> Json:
    return {
        "id": str(number),
        "image": {"src": f"//cdn.shop.example/{CANARY}.jpg"},
        "price": money(19.5),
        "product": {
            "id": str(number // 10),
            "title": f"{CANARY} shirt",
            "type": CANARY,
            "untranslatedTitle": CANARY,
            "url": f"/products/{CANARY}",
            "vendor": CANARY,
        },
        "sku": CANARY,
        "title": CANARY,
        "untranslatedTitle": CANARY,
    }


def cart() -> Json:
    return {
        "attributes": [{"key": CANARY, "value": CANARY}],
        "cost": {"totalAmount": money(39)},
        "id": f"gid://shopify/Cart/{CART}?key={CANARY}",
        "lines": [cart_line()],
        "totalQuantity": 2,
    }


def cart_line() -> Json:
    return {"cost": {"totalAmount": money(39)}, "merchandise": variant(), "quantity": 2}


def address() -> Json:
    fields = ("address1", "address2", "city", "country", "countryCode", "firstName", "lastName", "phone")
    return dict.fromkeys((*fields, "province", "provinceCode", "zip"), CANARY)


def checkout(order: Json | None = None) -> Json:
    discount = {
        "allocationMethod": "ACROSS",
        "targetSelection": "ALL",
        "targetType": "LINE_ITEM",
        "title": CANARY,
        "type": "MANUAL",
        "value": {"percentage": 10},
    }
    return {
        "attributes": [{"key": CANARY, "value": CANARY}],
        "billingAddress": address(),
        "buyerAcceptsEmailMarketing": True,
        "buyerAcceptsSmsMarketing": False,
        "currencyCode": "EUR",
        "delivery": {
            "selectedDeliveryOptions": [
                {
                    "cost": money(4),
                    "costAfterDiscounts": money(4),
                    "description": CANARY,
                    "handle": CANARY,
                    "title": CANARY,
                    "type": "shipping",
                }
            ]
        },
        "discountApplications": [discount],
        "discountsAmount": money(2),
        "email": MAIL,
        "lineItems": [
            {
                "discountAllocations": [{"amount": money(2), "discountApplication": discount}],
                "finalLinePrice": money(37),
                "id": "7",
                "properties": [{"key": CANARY, "value": CANARY}],
                "quantity": 2,
                "sellingPlanAllocation": {"sellingPlan": {"id": "3", "name": CANARY}},
                "title": CANARY,
                "variant": variant(),
            }
        ],
        "localization": {
            "country": {"isoCode": "DE"},
            "language": {"isoCode": "de"},
            "market": {"handle": CANARY, "id": "gid://shopify/Market/1"},
        },
        "order": order,
        "phone": CANARY,
        "shippingAddress": address(),
        "shippingLine": {"price": money(4)},
        "smsMarketingPhone": CANARY,
        "subtotalPrice": money(37),
        "token": CHECKOUT,
        "totalPrice": money(41),
        "totalTax": money(6.55),
        "transactions": [
            {"amount": money(41), "gateway": CANARY, "paymentMethod": {"name": CANARY, "type": "creditCard"}}
        ],
    }


def location(path: str, query: str = "") -> Json:
    search = f"?{query}" if query else ""
    return {
        "hash": f"#{CANARY}",
        "host": "shop.example",
        "hostname": "shop.example",
        "href": f"{SHOP}{path}{search}#{CANARY}",
        "origin": SHOP,
        "pathname": path,
        "port": "",
        "protocol": "https:",
        "search": search,
    }


def context(path: str, query: str = "", referrer: str = f"https://search.example/{CANARY}?q={CANARY}") -> Json:
    place = location(path, query)
    sizes = ("innerHeight", "innerWidth", "outerHeight", "outerWidth", "pageXOffset", "pageYOffset")
    return {
        "document": {"characterSet": "UTF-8", "location": place, "referrer": referrer, "title": "Shirts – A shop"},
        "navigator": {"cookieEnabled": True, "language": "de-DE", "languages": ["de-DE", "en"], "userAgent": AGENT},
        "window": {
            "location": place,
            "origin": SHOP,
            **dict.fromkeys((*sizes, "screenX", "screenY", "scrollX", "scrollY"), 700),
            "screen": {"height": 900, "width": 1600},
        },
    }


def init(privacy: Json | None = ALLOWED) -> Json:
    """What the pixel is started with: a signed-in customer."""
    person = {"email": MAIL, "firstName": CANARY, "lastName": CANARY, "ordersCount": 3, "phone": CANARY}
    return {
        "context": context("/"),
        "customerPrivacy": privacy,
        "data": {
            "customer": {"id": "gid://shopify/Customer/9007199254740993", **person},
            "cart": cart(),
            "shop": {
                "countryCode": "DE",
                "myshopifyDomain": f"{CANARY}.myshopify.com",
                "name": CANARY,
                "paymentSettings": {"currencyCode": "EUR"},
                "storefrontUrl": SHOP,
            },
            "purchasingCompany": None,
        },
    }


def event(name: str, seq: int, data: Any, place: Json) -> Json:
    stamp = f"2026-11-30T10:00:{seq:02}.125Z"
    about = {
        "clientId": "2a7e4a4f-8f3d-4a4e-9b0f-5d0f3c1b2a90",
        "id": f"sh-{seq:04}-A7B3",
        "seq": seq,
        "timestamp": stamp,
    }
    return {**about, "context": place, "data": data, "name": name}


def standard_events() -> dict[str, Json]:
    """One of each standard event, as of one visit."""
    at_checkout = context(f"/checkouts/cn/{CART}/de/information", f"key={CANARY}", f"{SHOP}/cart/c/{CART}?key={CANARY}")
    bought = {
        "customer": {"id": "9007199254740993", "isFirstOrder": True},
        "id": "gid://shopify/OrderIdentity/5396123456789",
    }
    steps = {
        name: ({"checkout": checkout()}, at_checkout)
        for name in (
            "checkout_started",
            "checkout_contact_info_submitted",
            "checkout_address_info_submitted",
            "checkout_shipping_info_submitted",
            "payment_info_submitted",
        )
    }
    campaign = f"utm_source=news&utm_campaign=autumn%20sale&fbclid={CANARY}&email={MAIL}"
    listed = [variant(number) for number in (41, 52, 63)]
    error = {
        "apiVersion": "2026-10",
        "appId": "1",
        "appName": CANARY,
        "appVersion": "1",
        "extensionName": CANARY,
        "extensionTarget": CANARY,
        "message": CANARY,
        "placementReference": None,
        "trace": CANARY,
        "type": "EXTENSION_USAGE_ERROR",
    }
    events: dict[str, tuple[Json, Json]] = {
        "page_viewed": ({}, context("/fr", campaign)),
        "product_viewed": ({"productVariant": variant()}, context("/products/shirt", f"variant=41&{campaign}")),
        "collection_viewed": (
            {"collection": {"id": "17", "productVariants": listed, "title": "Shirts"}},
            context("/collections/shirts", f"filter.v.option.color=Blau&filter.p.vendor=Acme&sort_by={CANARY}"),
        ),
        "search_submitted": (
            {"searchResult": {"productVariants": listed, "query": f"  blaues\u00a0Hemd {MAIL} "}},
            context("/search", f"q=blaues+Hemd+{MAIL}&type={CANARY}", f"{SHOP}/collections/shirts?page={CANARY}"),
        ),
        "product_added_to_cart": ({"cartLine": cart_line()}, context("/products/shirt")),
        "product_removed_from_cart": ({"cartLine": cart_line()}, context("/cart")),
        "cart_viewed": ({"cart": cart()}, context("/cart", f"discount={CANARY}")),
        **steps,
        "checkout_completed": (
            {"checkout": checkout(bought)},
            context(f"/checkouts/cn/{CART}/de/thank-you", f"key={CANARY}", SHOP),
        ),
        "alert_displayed": (
            {"alert": {"message": CANARY, "target": CANARY, "type": "CONTACT_ERROR", "value": MAIL}},
            at_checkout,
        ),
        "ui_extension_errored": ({"error": error}, at_checkout),
    }
    return {name: event(name, seq, *parts) for seq, (name, parts) in enumerate(events.items(), 1)}


def custom_events() -> dict[str, Json]:
    """What a theme publishes with ``Shopify.analytics.publish('miso:impression', {…})``."""
    shown = [
        {"variant": 41, "product": "gid://shopify/Product/4", "title": CANARY},
        {"product": "5"},
        {"variant": None},
    ]
    found = {}
    for seq, name in enumerate(("miso:impression", "miso:click"), 30):
        data = {
            "items": shown[: 3 if seq == 30 else 1],
            "miso_id": "0a1b2c3d-0000-4000-8000-a1b2c3d4e5f6",
            "note": CANARY,
        }
        one = event(name, seq, None, context("/"))
        del one["data"]
        found[name] = {**one, "customData": data}
    return found
