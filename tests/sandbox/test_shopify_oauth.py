"""Installing in Shopify's stand-in: the merchant's pages, the four grants, and how tokens live and end."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import httpx
import jwt
import pytest
import shopify as official
from misoflow_sandbox.shopify import App, Options, ShopifySandbox, ShopifyWorld, ShopSpec, shopify_thread
from misoflow_sandbox.shopify.oauth import EXCHANGE, ID_TOKEN, OFFLINE

from tests.sandbox.shopify_calls import CLIENT, START

BACK = "http://127.0.0.1:1/install/shop/callback"
DOMAIN = "demo-shop.myshopify.com"
DAY = 86_400


@pytest.fixture
def shopify() -> Iterator[ShopifySandbox]:
    spec = ShopSpec(products=2, orders=2, withheld=("read_customers",))
    app = App(app_url="http://127.0.0.1:1/install/shop", redirect_urls=[BACK])
    with shopify_thread(ShopifyWorld(shops=(spec,), start=START), Options(speed=0), app) as found:
        yield found


@pytest.fixture
def client(shopify: ShopifySandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{shopify.url}/{DOMAIN}", timeout=10) as found:
        yield found


def query_of(answer: httpx.Response) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def agreed(client: httpx.Client, **values: str) -> httpx.Response:
    asked = {"client_id": "sandbox-client", "redirect_uri": BACK, "state": "n0nce", **values}
    return client.post("/admin/oauth/authorize", data=asked)


def token(client: httpx.Client, **values: object) -> httpx.Response:
    return client.post("/admin/oauth/access_token", json={**CLIENT, **values})


def works(client: httpx.Client, access: str) -> bool:
    headers = {"X-Shopify-Access-Token": access}
    answer = client.post("/admin/api/2026-10/graphql.json", json={"query": "{ shop { name } }"}, headers=headers)
    return answer.status_code == 200


def official_hmac(values: dict[str, str]) -> str:
    official.Session.setup(api_key="sandbox-client", secret="sandbox-secret")
    found: str = official.Session.calculate_hmac(values)
    return found


def test_a_merchant_goes_from_the_store_to_the_app_and_back(client: httpx.Client) -> None:
    assert "href='/demo-shop.myshopify.com/install'>Install<" in client.get("/").text
    opened = query_of(client.get("/install"))
    assert opened["shop"] == DOMAIN
    assert opened["hmac"] == official_hmac(opened)
    page = client.get(
        "/admin/oauth/authorize",
        params={
            "client_id": "sandbox-client",
            "redirect_uri": BACK,
            "state": "<&'>",
            "scope": "read_orders,read_themes",
        },
    )
    assert "Install app</button>" in page.text
    assert "<code>read_themes</code>" in page.text
    assert "&lt;&amp;&#x27;&gt;" in page.text
    back = query_of(agreed(client))
    assert set(back) == {"code", "hmac", "host", "shop", "state", "timestamp"}
    assert (back["state"], back["timestamp"]) == ("n0nce", str(START // 1000))
    assert back["hmac"] == official_hmac(back)


def test_only_known_apps_and_addresses_are_sent_back_to(client: httpx.Client) -> None:
    assert agreed(client, client_id="other").status_code == 400
    assert agreed(client, redirect_uri="http://127.0.0.1:2/elsewhere").status_code == 400


def test_a_code_is_good_once_for_one_shop_for_ten_minutes(shopify: ShopifySandbox, client: httpx.Client) -> None:
    code = query_of(agreed(client))["code"]
    assert token(client, code="made-up").json()["error"] == "invalid_request"
    first = token(client, code=code, expiring=1).json()
    assert works(client, first["access_token"])
    assert token(client, code=code, expiring=1).status_code == 400
    late = query_of(agreed(client))["code"]
    shopify.clock.advance(601)
    assert token(client, code=late).status_code == 400


def test_the_merchant_may_grant_less(shopify: ShopifySandbox, client: httpx.Client) -> None:
    scopes = "read_products,read_customers,read_all_orders"
    body = token(client, code=query_of(agreed(client, scope=scopes))["code"]).json()
    assert body == {"access_token": body["access_token"], "scope": "read_products"}
    shopify.app_config.all_orders = True
    body = token(client, code=query_of(agreed(client, scope=scopes))["code"]).json()
    assert body["scope"] == "read_products,read_all_orders"


def test_wrong_credentials_are_no_client(client: httpx.Client) -> None:
    answer = token(client, client_secret="wrong", code="x")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_tokens_expire_only_if_it_was_asked_for(shopify: ShopifySandbox, client: httpx.Client) -> None:
    lasting = token(client, code=query_of(agreed(client))["code"]).json()
    expiring = token(client, code=query_of(agreed(client))["code"], expiring="1").json()
    assert "refresh_token" not in lasting
    assert (expiring["expires_in"], expiring["refresh_token_expires_in"]) == (3600, 90 * DAY)
    shopify.clock.advance(3601)
    assert works(client, lasting["access_token"])
    assert not works(client, expiring["access_token"])


def refreshed(client: httpx.Client, given: str) -> dict[str, str] | None:
    answer = token(client, grant_type="refresh_token", refresh_token=given)
    if answer.status_code == 400:
        assert answer.json()["error"] == "invalid_grant"
        return None
    found: dict[str, str] = answer.json()
    return found


def test_a_refresh_token_works_until_its_successor_is_used(shopify: ShopifySandbox, client: httpx.Client) -> None:
    first = token(client, code=query_of(agreed(client))["code"], expiring=1).json()["refresh_token"]
    lost = refreshed(client, first)
    shopify.clock.advance(29 * DAY)
    again = refreshed(client, first)
    assert lost
    assert again
    assert lost["refresh_token"] != again["refresh_token"]
    assert works(client, again["access_token"])
    assert refreshed(client, again["refresh_token"])
    assert refreshed(client, first) is None


def test_a_used_refresh_token_ends_thirty_days_later(shopify: ShopifySandbox, client: httpx.Client) -> None:
    first = token(client, code=query_of(agreed(client))["code"], expiring=1).json()["refresh_token"]
    assert refreshed(client, first)
    shopify.clock.advance(30 * DAY)
    assert refreshed(client, first) is None


def test_an_idle_refresh_token_ends_after_ninety_days(shopify: ShopifySandbox, client: httpx.Client) -> None:
    first = token(client, code=query_of(agreed(client))["code"], expiring=1).json()["refresh_token"]
    shopify.clock.advance(90 * DAY)
    assert refreshed(client, first) is None


def exchange(client: httpx.Client, subject: str, kind: str = ID_TOKEN) -> httpx.Response:
    return token(
        client,
        grant_type=EXCHANGE,
        subject_token=subject,
        subject_token_type=kind,
        requested_token_type=OFFLINE,
        expiring=1,
    )


def test_an_id_token_is_exchanged_within_its_minute(shopify: ShopifySandbox, client: httpx.Client) -> None:
    shopify.app_config.managed = True
    shop = shopify.shop()
    given = shopify.oauth.id_token(shop)
    claims = jwt.decode(
        given,
        "sandbox-secret",
        ["HS256"],
        audience="sandbox-client",
        options={"verify_exp": False, "verify_nbf": False},
    )
    assert (claims["iss"], claims["dest"]) == (f"https://{DOMAIN}/admin", f"https://{DOMAIN}")
    assert works(client, exchange(client, given).json()["access_token"])
    for wrong in (given[:-2] + "xx", shopify.oauth.id_token(shop, dest="https://other.myshopify.com"), "a.b.c", ""):
        assert exchange(client, wrong).json()["error"] == "invalid_subject_token"
    shopify.clock.advance(75)
    assert exchange(client, given).json()["error"] == "invalid_subject_token"


def test_a_lasting_token_is_exchanged_once(client: httpx.Client) -> None:
    old = token(client, code=query_of(agreed(client))["code"]).json()["access_token"]
    new = exchange(client, old, OFFLINE).json()
    assert works(client, new["access_token"])
    assert not works(client, old)
    assert exchange(client, old, OFFLINE).status_code == 400


def test_a_managed_app_is_opened_with_an_id_token(shopify: ShopifySandbox, client: httpx.Client) -> None:
    shopify.app_config.managed = True
    opened = query_of(client.get("/install"))
    assert shopify.shop().installed_at == START
    assert opened["hmac"] == official_hmac(opened)
    assert "access_token" in exchange(client, opened["id_token"]).json()
    assert "<iframe" in client.get("/admin/apps/misoflow").text


def test_client_credentials_are_for_custom_apps(shopify: ShopifySandbox, client: httpx.Client) -> None:
    shopify.installs.install(DOMAIN)
    assert token(client, grant_type="client_credentials").json()["error"] == "shop_not_permitted"
    shopify.app_config.custom = True
    body = token(client, grant_type="client_credentials").json()
    assert body["expires_in"] == 86_399
    assert "refresh_token" not in body
    assert works(client, body["access_token"])


def test_uninstalling_ends_every_token(shopify: ShopifySandbox, client: httpx.Client) -> None:
    body = token(client, code=query_of(agreed(client))["code"], expiring=1).json()
    shopify.installs.uninstall(DOMAIN)
    assert not works(client, body["access_token"])
    assert refreshed(client, body["refresh_token"]) is None


def test_revoking_a_secret_ends_the_tokens_of_it(shopify: ShopifySandbox, client: httpx.Client) -> None:
    old = token(client, code=query_of(agreed(client))["code"], expiring=1).json()
    kept = token(client, code=query_of(agreed(client))["code"], expiring=1).json()
    shopify.installs.rotate_secret("newer")
    moved = token(client, client_secret="newer", grant_type="refresh_token", refresh_token=kept["refresh_token"]).json()
    shopify.installs.revoke_secret("sandbox-secret")
    assert not works(client, old["access_token"])
    assert works(client, moved["access_token"])
    dead = token(client, client_secret="newer", grant_type="refresh_token", refresh_token=old["refresh_token"])
    assert dead.json()["error"] == "invalid_grant"
    assert token(client, code="x").status_code == 401
